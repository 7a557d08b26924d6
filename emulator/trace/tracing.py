"""Begin and end the recording of a communicator's ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emulator import carrier
from emulator.errors import UsageError
from emulator.trace.recorder import TRACES, Recorder, default_limit


def begin(
    comm: Any,
    folder: Path,
    *,
    limit: int | None = None,
    clock: str = "emulated",
    member: int | None = None,
    attempt: int = 0,
    **about: Any,
) -> Recorder:
    """Record a rank's events on a communicator and on those that share its instruments.

    Parameters
    ----------
    comm : an emulated or simulated communicator, or one of MPI itself that `emulator.trace.traced_mpi` has wrapped
    folder : the run folder, the same on every rank
    limit : events of each rank that are kept, the last ones; None: what suits the number of ranks
    clock : ``"wall"``, ``"emulated"`` or ``"simulated"``
    member, attempt : number of the process in a drill, and of its launch

    Raises
    ------
    UsageError
        The trace cannot be written.
    """
    own = carrier.of(comm)
    reached = (lambda: float(comm.engine.clock.t)) if own.timed else own.now
    if own.timed:  # to begin takes no emulated time
        comm.engine.clock.leave()
    rank, ranks = (comm.Get_rank() if member is None else member), comm.Get_size()
    path = folder / TRACES / f"{attempt:03d}-{rank:05d}.bin"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"a trace is written to {path.parent}, which failed: {error.strerror or error}") from None
    recorder = Recorder(path, rank, ranks, own.now, limit or default_limit(ranks), reached, clock=clock, **about)
    own.instruments.append(recorder)
    if own.timed:
        comm.engine.clock.leave()
    return recorder


def end(comm: Any, recorder: Recorder) -> None:
    """End the recording of this rank."""
    recorder.close()
    instruments = carrier.of(comm).instruments
    if recorder in instruments:
        instruments.remove(recorder)
