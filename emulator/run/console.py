"""The rich console with which rank 0 prints, as wide as the terminal that the job's output reaches.

A rank's standard output is a pseudo-terminal that mpirun made, whatever mpirun's own output is, which is what counts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from emulator.launch import job, streams
from emulator.units import format_time

if TYPE_CHECKING:
    from rich.console import Console

    from emulator.report.model import Table

_DEFAULT_WIDTH = 80  # columns where neither COLUMNS nor a terminal says how many
_LINES_EVERY_S = 10.0


class Progress:
    """The progress of a long task, and what its ranks do meanwhile."""

    def __init__(self, console: Console | None = None) -> None:
        self.done = 0.0
        self.bar: Any = None  # rich's, on a terminal
        self._console = console
        self._table: Callable[[], Table] | None = None
        self._line: Callable[[], str] | None = None

    def advance(self, step: float = 1) -> None:
        """Count `step` more of the total as done."""
        self.done += step
        if self.bar is not None:
            self.bar.advance(self.bar.task_ids[0], step)

    @contextlib.contextmanager
    def beside(self, table: Callable[[], Table], line: Callable[[], str]) -> Iterator[None]:
        """While the block runs, show what `table` returns on a terminal, or `line` in the lines of a pipe."""
        before = self._table, self._line
        self._table, self._line = table, line
        try:
            yield
        finally:
            self._table, self._line = before

    def keep(self, lines: Iterable[str]) -> None:
        """Print lines that stay."""
        if self._console is not None:
            for line in lines:
                self._console.print(line, markup=False, highlight=False)

    def write(self, stream: IO[str], content: bytes) -> None:
        """Forward a job's output: above a bar on a terminal, where rich prints it in whole lines."""
        if self.bar is None:
            streams.write(stream, content)
        else:
            # While a bar is shown, rich stands in for sys.stdout.
            to = sys.stdout if stream in (sys.stdout, sys.__stdout__) else sys.stderr
            to.write(content.decode(errors="replace"))

    def said(self) -> str:
        """The text of `line`."""
        return self._line() if self._line else ""

    def shown(self, width: int) -> Iterator[Any]:
        """The table of `table` as a rich renderable."""
        from emulator.report import terminal

        if self._table is not None:
            yield from terminal.styled([self._table()], width)


def _told(progress: Progress, total: float | None, label: str, passed: float) -> str:
    """A line on how much is done, the time left at this rate, and what the ranks do."""
    found = f"after {passed:.0f} s"
    if total is not None:
        rest = ""
        if progress.done > total:  # a budget that does not suffice: what is left is not known
            rest = ", longer than planned"
        elif progress.done:
            left = (total - progress.done) * passed / progress.done
            rest = f", about {format_time(float(f'{left:.1g}'))} left"
        found = f"{label}{': ' * bool(label)}{round(progress.done, 1):g} of {total:g} {found}{rest}"
    return "; ".join(part for part in (found, progress.said()) if part)


@contextlib.contextmanager
def _lines(console: Console, total: float | None, label: str, every_s: float) -> Iterator[Progress]:
    """Print a line every `every_s` seconds, in a thread."""
    progress, began, over = Progress(console), time.monotonic(), threading.Event()

    def print_lines() -> None:
        while not over.wait(every_s):
            console.print(_told(progress, total, label, time.monotonic() - began), style="dim", markup=False)

    thread = threading.Thread(target=print_lines, name="progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        over.set()
        thread.join()


def terminal_width() -> int | None:
    """Columns of the terminal that the job's output reaches, 80 if it has no size; None for a pipe or a file."""
    path = f"/proc/{os.getppid()}/fd/1" if job.inside() else None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY) if path else os.dup(sys.stdout.fileno())
    except (OSError, ValueError):
        return None
    try:
        return os.get_terminal_size(descriptor).columns or _DEFAULT_WIDTH if os.isatty(descriptor) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def width() -> int:
    """Columns to print in: COLUMNS, else the terminal's, else 80."""
    asked = os.environ.get("COLUMNS", "")
    return int(asked) if asked.isdecimal() and int(asked) else terminal_width() or _DEFAULT_WIDTH


def make_console(**options: Any) -> Console:
    """A console that stops printing when its reader (such as ``head``) has closed the pipe; the run continues.

    Parameters
    ----------
    **options : of `rich.console.Console`
    """
    from rich.console import Console

    class SafeConsole(Console):
        def on_broken_pipe(self) -> None:  # rich's own exits
            self.quiet = True
            streams.discard(sys.stdout)

        def print(self, *objects: Any, **how: Any) -> None:
            try:
                super().print(*objects, **how)
            except OSError as error:  # a full disk; or a rank's pseudo-terminal, which breaks in another way
                self.quiet = True
                streams.lose(error)

    on_terminal = terminal_width() is not None
    if os.environ.get("NO_COLOR"):
        options["color_system"] = None  # rich's own reading of NO_COLOR leaves bold and dim
    return SafeConsole(width=width(), force_terminal=on_terminal, highlight=False, **options)


@contextlib.contextmanager
def progress(
    console: Console | None, total: float | None, label: str = "", lines_every_s: float = _LINES_EVERY_S
) -> Iterator[Progress]:
    """A bar with the remaining time on a terminal, removed at the end; plain lines from time to time in a pipe.

    Parameters
    ----------
    console : where to print; None: nothing is shown
    total : of what is to be done; None where that is not known, so that there is no bar
    lines_every_s : seconds between the lines in a pipe
    """
    if console is None:
        yield Progress()
        return
    if not console.is_terminal:
        with _lines(console, total, label, lines_every_s) as lines:
            yield lines
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    made, width = Progress(console), console.width

    class Bar(RichProgress):
        def get_renderables(self) -> Iterator[Any]:
            yield from super().get_renderables()
            yield from made.shown(width)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=console, transient=True, redirect_stderr=sys.stderr.isatty())
    made.bar = bar
    with bar:
        if total is not None:
            bar.add_task(label, total=total)
        yield made
