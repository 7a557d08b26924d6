"""The rich console that rank 0 prints with, as wide as the terminal that the job's output reaches.

A rank's standard output is a pseudo-terminal that mpirun made, whatever mpirun's own output is, which is what counts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from emulator.launch import job, streams
from emulator.units import format_time

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_IN_A_PIPE = 150


class Progress:
    """A bar that shows nothing."""

    def advance(self, step: float = 1) -> None:
        """Count `step` more of the total as done."""


class _Bar(Progress):
    def __init__(self, bar: object, task: object) -> None:
        self._bar, self._task = bar, task

    def advance(self, step: float = 1) -> None:
        self._bar.advance(self._task, step)  # type: ignore[attr-defined]


class _Lines(Progress):
    """A thread that prints how much is done, and the time that the rest will take at this rate."""

    def __init__(self, console: Console, total: float, label: str, every_s: float) -> None:
        self._console, self._total, self._label, self._every_s = console, total, label, every_s
        self._done, self._began, self._over = 0.0, time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._print, name="progress", daemon=True)

    def advance(self, step: float = 1) -> None:
        self._done += step

    def _print(self) -> None:
        while not self._over.wait(self._every_s):
            passed = time.monotonic() - self._began
            left = max(0.0, self._total - self._done) * passed / self._done if self._done else None
            rest = "" if left is None else f", about {format_time(float(f'{left:.1g}'))} left"
            done = f"{self._done:g} of {self._total:g} {self._label}"
            self._console.print(f"{done} after {passed:.0f} s{rest}", style="dim")

    def __enter__(self) -> _Lines:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


def terminal_width() -> int | None:
    """Columns of the terminal that the job's output reaches; None where it reaches a pipe or a file."""
    path = f"/proc/{os.getppid()}/fd/1" if job.inside() else None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY) if path else os.dup(sys.stdout.fileno())
    except (OSError, ValueError):
        return None
    try:
        return os.get_terminal_size(descriptor).columns or None if os.isatty(descriptor) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def make(rank: int, quiet: bool = False) -> Console | None:
    """The console of rank 0; None on the other ranks and when nothing shall be printed."""
    return None if rank != 0 or quiet else outlasting()


def outlasting(width_in_a_pipe: int = _WIDTH_IN_A_PIPE, **options: Any) -> Console:
    """A console that prints no more once its reader (a ``head``, say) has left: the run goes on, and saves.

    Parameters
    ----------
    width_in_a_pipe
        Columns where there is no terminal, and COLUMNS says nothing.
    **options
        Of `rich.console.Console`.
    """
    from rich.console import Console

    class Outlasting(Console):
        def on_broken_pipe(self) -> None:  # rich's own exits
            self.quiet = True
            streams.discard(sys.stdout)

        def print(self, *objects: Any, **how: Any) -> None:
            try:
                super().print(*objects, **how)
            except OSError as error:  # a full disk; or a rank's pseudo-terminal, which breaks in another way
                self.quiet = True
                streams.lose(error)

    width = terminal_width()
    asked = os.environ.get("COLUMNS", "")
    columns = int(asked) if asked.isdecimal() and int(asked) else width or width_in_a_pipe
    return Outlasting(width=columns, force_terminal=width is not None, highlight=False, **options)


@contextlib.contextmanager
def progress(
    console: Console | None, total: float, label: str, lines_every_s: float | None = None
) -> Iterator[Progress]:
    """A bar with the remaining time on a terminal, which vanishes when done.

    Parameters
    ----------
    lines_every_s
        Where there is no terminal: print a plain line so often, in seconds; absent: nothing.
    """
    if console is None or (not console.is_terminal and lines_every_s is None):
        yield Progress()
        return
    if not console.is_terminal:
        with _Lines(console, total, label, lines_every_s or 0.0) as lines:
            yield lines
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, bar.add_task(label, total=total))
