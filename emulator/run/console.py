"""The rich console that rank 0 prints with, as wide as the terminal that the job's output reaches.

A rank's standard output is a pseudo-terminal that mpirun made, whatever mpirun's own output is, which is what counts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from emulator.launch import job, streams
from emulator.units import format_time

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_IN_A_PIPE = 150


class Progress:
    """How much of a long task is done."""

    def __init__(self, show: Callable[[float], object] = lambda step: None) -> None:
        self.done, self._show = 0.0, show

    def advance(self, step: float = 1) -> None:
        """Count `step` more of the total as done."""
        self.done += step
        self._show(step)


@contextlib.contextmanager
def _lines(console: Console, total: float, label: str, every_s: float) -> Iterator[Progress]:
    """Print every `every_s` seconds, in a thread, how much is done and how long the rest will take at this rate."""
    progress, began, over = Progress(), time.monotonic(), threading.Event()

    def print_lines() -> None:
        while not over.wait(every_s):
            passed, done = time.monotonic() - began, progress.done
            left = max(0.0, total - done) * passed / done if done else None
            rest = "" if left is None else f", about {format_time(float(f'{left:.1g}'))} left"
            console.print(f"{done:g} of {total:g} {label} after {passed:.0f} s{rest}", style="dim")

    thread = threading.Thread(target=print_lines, name="progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        over.set()
        thread.join()


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


def columns(in_a_pipe: int) -> int:
    """Columns to print in: COLUMNS, else those of the terminal, else `in_a_pipe`."""
    asked = os.environ.get("COLUMNS", "")
    return int(asked) if asked.isdecimal() and int(asked) else terminal_width() or in_a_pipe


def make_console(width_in_a_pipe: int = _WIDTH_IN_A_PIPE, **options: Any) -> Console:
    """A console that stops printing when its reader (a ``head``, say) has closed the pipe; the run goes on and saves.

    Parameters
    ----------
    width_in_a_pipe : columns where there is no terminal and COLUMNS is not set
    **options : further options of `rich.console.Console`
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
    return SafeConsole(width=columns(width_in_a_pipe), force_terminal=on_terminal, highlight=False, **options)


@contextlib.contextmanager
def progress(
    console: Console | None, total: float, label: str, lines_every_s: float | None = None
) -> Iterator[Progress]:
    """A bar with the remaining time on a terminal, which vanishes when done.

    Parameters
    ----------
    lines_every_s : where there is no terminal: seconds between plain lines; None prints nothing
    """
    if console is None or (not console.is_terminal and lines_every_s is None):
        yield Progress()
        return
    if not console.is_terminal:
        with _lines(console, total, label, lines_every_s or 0.0) as lines:
            yield lines
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*shown, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield Progress(lambda step: bar.advance(task, step))
