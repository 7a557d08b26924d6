"""The emulated cluster and its instruments: a network under mpi4py, clocks, timing, fits, costs, results."""

from __future__ import annotations

import signal
import sys
from typing import Any

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # python -m is importing the packages above a command, ours or one that imports us: until its `main` begins
    # (emulator.run.options), Ctrl-C ends the process without a traceback.
    _module = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv else ""
    if _module.partition(".")[0] in ("emulator", "demos", "faults"):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def now(comm: Any) -> float:
    """Seconds on the clock of `comm`: its emulated clock, or the wall clock on a bare communicator."""
    from emulator.carrier import of

    return of(comm).now()


def compute(comm: Any, seconds: float) -> None:
    """Spend `seconds` of declared compute: on the emulated clock of `comm`, or asleep on a bare communicator."""
    from emulator.carrier import of

    of(comm).compute(seconds)


def emulate(comm: Any, network: Any, **options: Any) -> Any:
    """The processes of `comm` on an emulated network; see `emulator.wire.emulate.emulate`."""
    from emulator.wire.emulate import emulate as build

    return build(comm, network, **options)
