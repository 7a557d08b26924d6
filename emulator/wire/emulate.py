"""`emulate`: put the processes of a communicator on an emulated network."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from emulator.comm import algorithms, completion, refused
from emulator.comm.communicator import EmulatedComm
from emulator.comm.management import context_number
from emulator.control import Control
from emulator.errors import UsageError, on_root
from emulator.network import Network, load
from emulator.units import parse_pace
from emulator.wire import threads
from emulator.wire.engine import WireEngine


def emulate(
    comm: MPI.Intracomm,
    network: Network | str,
    pace: float | str | None = "none",
    compute: str = "none",
    seed: int = 0,
    collectives: Any = None,
    tick: Callable[[float], object] = lambda seconds: None,
) -> EmulatedComm:
    """Put the processes of `comm` on an emulated network. Collective over `comm`.

    Parameters
    ----------
    comm : a real communicator
    network : a `Network`, a preset's name or a network file; what rank 0 passes counts
    pace : wall seconds per emulated second; "none" holds nothing back, "auto" finds the smallest that can be kept, and
        goes no slower than 20
    compute : "measured" charges each rank its own CPU time between calls, "none" nothing
    seed : of jitter and loss
    collectives : a module with the algorithms of the collectives; None: what the entry point group names
    tick : of `automatic_pace.find_pace`, for a progress bar

    Raises
    ------
    UsageError
        `comm` is emulated already; pace or compute are not as above; the network cannot be laid out for this job.
    """
    if isinstance(comm, EmulatedComm):
        raise UsageError("a communicator is emulated once, got one that already is: pass MPI.COMM_WORLD")
    if compute not in ("measured", "none"):
        raise UsageError(f"compute is 'measured' or 'none', got {compute!r}")
    factor = 0.0 if pace is None else parse_pace(pace)
    factor = 0.0 if isinstance(factor, str) else factor  # none, or none yet
    completion.install()
    refused.refuse_outside()
    threads.watch()

    def on_one() -> tuple[Network, str | None]:
        loaded = load(network) if isinstance(network, str) else network
        return loaded.sized(comm.Get_size()), algorithms.name() if collectives is None else None

    sized, name = on_root(Control(comm), on_one)
    if name is not None:
        algorithms.pin(name)
        # Paced, to load it at the first collective would make that late.
        collectives = name if pace is None or pace == "none" else algorithms.find(name)
    engine = WireEngine(comm, sized, factor, compute == "measured", seed)
    _drain_before_finalize(engine)
    emulated = EmulatedComm(engine, comm.Dup(), context_number("world"), collectives)
    if pace == "auto":
        _find_pace(engine, emulated, tick)
    emulated.align()
    return emulated


def _find_pace(engine: WireEngine, emulated: EmulatedComm, tick: Callable[[float], object]) -> None:
    """Find the pace, and reset emulated time and the counts of the messages sent for it."""
    from emulator.wire import automatic_pace

    engine.automatic = True
    pace, emulated.notice = automatic_pace.find_pace(emulated, tick)
    engine.set_pace(pace)
    emulated.align()
    engine.reset()


def _drain_before_finalize(engine: WireEngine) -> None:
    """Make this rank receive what others still send before MPI ends, at exit or by MPI.Finalize in the program."""

    def last(comm: Any, keyval: int, value: Any) -> None:
        engine.drain()

    MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=last), engine)
    atexit.register(engine.drain)
