"""Make ranks of a job fail, detect it, recover, and measure what the recovery costs.

``python -m faults drill ring -n 8 --fault 'kill 3 @ step 20' --recovery shrink``; in a program of one's own::

    recovering    a loop of steps in a job that goes on: shrink, spare, respawn, rejoin
    restarting    a loop of steps that goes on from its last checkpoint when the job is started again: restart
    routing       a job that leaves the dead out: continue; with a parameter server that has a backup: replicate
    reexecute     tasks of dead ranks are done by others: reexecute, in a step of `recovering`
    run           start such a program, again if need be, until its ranks' status files say that it finished or failed
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import emulator  # noqa: F401 - quiet after Ctrl-C from the first import of a command
from emulator.errors import UsageError
from faults.record import outcome

if TYPE_CHECKING:
    from faults.launch.own_program import run
    from faults.recover.exclusion import Route, routing
    from faults.recover.reexecute import reexecute
    from faults.recover.restart import Restarting, restarting
    from faults.recover.step_loop import Recovering, recovering

__all__ = ["Recovering", "Restarting", "Route", "recovering", "reexecute", "restarting", "routing", "run"]

_IN = {
    "Recovering": "recover.step_loop", "recovering": "recover.step_loop", "Restarting": "recover.restart",
    "restarting": "recover.restart", "Route": "recover.exclusion", "routing": "recover.exclusion",
    "reexecute": "recover.reexecute", "run": "launch.own_program",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: reading plans or results needs no MPI, and a launcher must not start it."""
    if name not in _IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"faults.{_IN[name]}"), name)


def _uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """End a rank with one line, not a traceback, after bad usage or a call before its loop that met a dead rank."""
    if kind.__module__ == "mpi4py.MPI" or issubclass(kind, UsageError):
        from faults.recover.user_loop.program_failure import end_on_exception

        end_on_exception(kind, error, trace)
    sys.__excepthook__(kind, error, trace)


if outcome.folder() is not None:  # `run` started this process; a loop takes care of all exceptions
    sys.excepthook = _uncaught
