"""What rank 0 prints with: a rich console that knows where a job's output really goes.

A rank's standard output is a pseudo-terminal of mpirun's, whatever mpirun's own output is; so the question
"is this a terminal?" is put to mpirun's.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from emulator.launch import mpirun

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


def terminal_width() -> int | None:
    """Columns of the terminal that the job's output reaches; None where it reaches a pipe or a file."""
    path = f"/proc/{os.getppid()}/fd/1" if mpirun.inside() else None
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
    """A console that falls silent when its reader (a ``head``, say) leaves: whoever prints goes on, and saves.

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
            discard(sys.stdout)

        def print(self, *objects: Any, **how: Any) -> None:
            try:
                super().print(*objects, **how)
            except OSError:  # a rank's output is a pseudo-terminal of mpirun's, which breaks in another way
                self.on_broken_pipe()

    width = terminal_width()
    asked = os.environ.get("COLUMNS", "")
    columns = int(asked) if asked.isdecimal() and int(asked) else width or width_in_a_pipe
    return Outlasting(width=columns, force_terminal=width is not None, highlight=False, **options)


def discard(stream: IO[Any]) -> None:
    """Send to nowhere what is still written to a standard stream that nobody reads any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextlib.contextmanager
def progress(console: Console | None, total: float, label: str) -> Iterator[Progress]:
    """A bar on a terminal that vanishes when done; nothing elsewhere."""
    if console is None or not console.is_terminal:
        yield Progress()
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, bar.add_task(label, total=total))
