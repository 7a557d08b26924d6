"""Preemption notices: a rank is told to leave, and leaves at the end of a step without losing one.

    notice ─► the step is finished ─► all agree that the rank leaves ─► it ends; the others go on by their policy

If all ranks that have the state are told at once, and others wait or are to be spawned, the coordinator leaves last.
The notice is a signal to the process, a file (all ranks that see it leave) or a callable; a cloud gives one some
seconds or minutes before it takes a machine away. A rank leaves when all agree next (``every``): if its time is over
before that, its end is a death like any other.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from emulator.errors import UsageError
from faults.platform import Executioner

Notice = Callable[[], bool] | signal.Signals | str | os.PathLike[str] | None


def never() -> bool:
    """Return False: no notice comes."""
    return False


def listening(notice: Notice, executioner: Executioner) -> Callable[[], bool]:
    """Make the test whether the notice has come; a signal is then recorded instead of ending the process.

    Raises
    ------
    UsageError
        It is none of the kinds of notices.
    """
    if notice is None:
        return never
    if isinstance(notice, signal.Signals) and notice not in (signal.SIGKILL, signal.SIGSTOP):
        return executioner.heed(notice)
    if isinstance(notice, str | os.PathLike) and notice not in signal.Signals.__members__:  # a signal's name is no file
        path = notice
        return lambda: os.path.exists(path)
    if not callable(notice):
        raise UsageError(
            f"notice is a signal that a process can handle, such as signal.SIGTERM, the path of a file or a callable, "
            f"got {notice!r}"
        )
    return notice
