"""The cluster and its instruments: an emulated network under mpi4py, clocks, timing, fits, costs, results."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def now(comm: Any) -> float:
    """Seconds on the clock that counts for `comm`: its emulated clock, or the wall's on a bare communicator."""
    from emulator.carrier import of

    return of(comm).now()


def compute(comm: Any, seconds: float) -> None:
    """Spend `seconds` of declared computing: on the emulated clock of `comm`, or asleep on a bare communicator."""
    from emulator.carrier import of

    of(comm).compute(seconds)


def emulate(comm: Any, network: Any, **options: Any) -> Any:
    """The processes of `comm` on an emulated network; see `emulator.wire.emulate.emulate`."""
    from emulator.wire.emulate import emulate as build

    return build(comm, network, **options)
