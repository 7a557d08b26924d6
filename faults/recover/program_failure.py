"""How a recovering rank ends when its program fails: so that the others are told."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import TracebackType

from mpi4py import MPI

from emulator.errors import UsageError
from faults.platform import LOCAL
from faults.record import outcome

_PATIENCE_S = 2.0


def guard() -> None:
    """From now on an uncaught exception of this process is noticed by the others."""
    sys.excepthook = die_loudly


def die_loudly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An uncaught exception must look like a crash: a process that exits with an error code is never missed.

    Bad usage that all ranks have found out is no crash: one line, exit status 2.
    """
    outcome.fail()
    if isinstance(error, UsageError) and _all_are_here():
        from emulator.launch.streams import print_error  # every rank pays for an import, and few end here

        print_error(str(error))
        MPI.Finalize()
        os._exit(error.exit_code)
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    LOCAL.executioner.strike(signal.SIGKILL)


def _all_are_here() -> bool:
    """Whether every process of the job ends like this one."""
    try:
        together = MPI.COMM_WORLD.Ibarrier()
        deadline = LOCAL.clock.now() + _PATIENCE_S
        while not together.Test():
            if LOCAL.clock.now() > deadline:
                return False
            LOCAL.clock.sleep(1e-3)
    except MPI.Exception:
        return False
    return True
