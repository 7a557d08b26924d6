"""EmulatedComm: an MPI.Intracomm whose messages take the time that an emulated network says."""

from __future__ import annotations

import atexit
import hashlib
from typing import Any

from mpi4py import MPI

from emulator.comm import completion
from emulator.comm.engine import Engine
from emulator.comm.pacing import summarise
from emulator.comm.point_to_point import PointToPoint
from emulator.errors import UsageError
from emulator.network import Network


def context_number(*parts: Any) -> int:
    """Name a context by how it came about: the same number on every rank, without a message."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


class EmulatedComm(PointToPoint, MPI.Intracomm):
    """The processes of a real communicator on an emulated network.

    Its MPI handle is null on purpose: whatever reaches past the methods of this class (a C library, RMA, parallel
    I/O) fails at once, instead of silently running at the machine's own speed. The real communicator
    behind it carries what costs no emulated time.
    """

    def __new__(cls, *arguments: Any, **named: Any) -> EmulatedComm:
        return super().__new__(cls)

    def __init__(self, engine: Engine, real: MPI.Intracomm, context: int) -> None:
        self.engine, self._real, self.context = engine, real, context
        group = real.Get_group()
        self.members = engine.wire_ranks(group)
        group.Free()
        self._ranks = {wire_rank: rank for rank, wire_rank in enumerate(self.members)}
        self._rank, self._size = real.Get_rank(), real.Get_size()
        self._acknowledged: set[int] = set()
        self._made = 0

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return self._size

    @property
    def rank(self) -> int:
        return self._rank

    @property
    def size(self) -> int:
        return self._size

    # -- emulated time

    def now(self) -> float:
        """Give this rank's emulated time in seconds."""
        now = self.engine.now()
        self._leave()
        return now

    def compute(self, seconds: float) -> None:
        """Declare `seconds` of compute: they pass on this rank's clock, times its host's slowdown."""
        engine = self.engine
        self._enter()
        engine.clock.t += seconds * engine.clock.slowdown
        engine.hold(engine.clock.t)
        self._leave()

    def align(self) -> float:
        """Set the clocks of all ranks to the latest of them; costs no emulated time.

        For the start of a repetition. The wall is tied anew to emulated time as well, so that what happened before
        cannot make the repetition late.

        Returns
        -------
        float
            The common time in seconds.
        """
        engine = self.engine
        t: float = self._real.allreduce(engine.now(), MPI.MAX)
        engine.clock.t = t
        if engine.pacer.pace:
            engine.pacer.hold(t)
            self._real.Barrier()
            if self._rank == 0:
                engine.pacer.restart(t)
            self._real.Barrier()
        self._leave()
        return t

    def fidelity(self) -> dict[str, Any]:
        """Say how well emulated time was kept, over all ranks since the start; collective, no emulated time.

        Returns
        -------
        dict
            See `emulator.comm.pacing.summarise`.
        """
        engine = self.engine
        rows = self._real.allgather((engine.pacer.figures(), engine.inversions()))
        self._leave()
        return summarise([row[0] for row in rows], sum(row[1] for row in rows), engine.pacer.pace)


def emulate(
    comm: MPI.Intracomm,
    network: Network | str,
    pace: float | str | None = "none",
    compute: str = "none",
    seed: int = 0,
) -> EmulatedComm:
    """Put the processes of `comm` on an emulated network. Collective over `comm`.

    Parameters
    ----------
    comm : a real communicator
    network : a `Network`, a preset's name or a network file; what rank 0 passes counts
    pace : wall seconds per emulated second, "none" to hold nothing back, "auto" for the smallest that can be kept
    compute : "measured" charges each rank its own CPU time between calls, "none" nothing
    seed : of jitter and loss

    Raises
    ------
    UsageError
        `comm` is emulated already, or pace or compute are not as above.
    """
    if isinstance(comm, EmulatedComm):
        raise UsageError("a communicator is emulated once, got one that already is: pass MPI.COMM_WORLD")
    if compute not in ("measured", "none"):
        raise UsageError(f"compute is 'measured' or 'none', got {compute!r}")
    automatic = pace == "auto"
    factor = 0.0 if pace in ("none", "auto", None) else float(pace)  # type: ignore[arg-type]
    if factor < 0:
        raise UsageError(f"a pace is a factor > 0, got {pace}: --pace 20 runs 20 times slower")
    completion.install()
    engine = Engine(comm, _laid_out(comm, network), factor, compute == "measured", seed)
    atexit.register(engine.settle)
    emulated = EmulatedComm(engine, comm.Dup(), context_number("world"))
    if automatic:
        pass
    emulated.align()
    return emulated


def _laid_out(comm: MPI.Intracomm, network: Network | str) -> Network:
    """Lay the network out for the job: on rank 0, which tells the others, its errors included."""
    outcome: Network | UsageError
    try:
        if comm.Get_rank() == 0 and isinstance(network, str):
            from emulator.network import load

            network = load(network)
        outcome = network.sized(comm.Get_size()) if isinstance(network, Network) else UsageError("")
    except UsageError as error:
        outcome = error
    outcome = comm.bcast(outcome)
    if isinstance(outcome, UsageError):
        raise outcome
    return outcome
