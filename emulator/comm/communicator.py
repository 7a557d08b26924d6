"""EmulatedComm: an MPI.Intracomm whose messages take the time given by an emulated network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.comm import algorithms
from emulator.comm.carrier import EmulatedCarrier
from emulator.comm.management import Management, context_number
from emulator.comm.members import Members, as_c_int
from emulator.comm.object_collectives import ObjectCollectives
from emulator.comm.pickled import Pickled
from emulator.comm.probes import Probes
from emulator.comm.refused import Refused
from emulator.core import traffic
from emulator.core.dissemination import largest
from emulator.core.instruments import NO_PEER, Wait
from emulator.units import check_compute

if TYPE_CHECKING:
    from emulator.core.engine import Engine
    from emulator.core.network_changes import NetworkState


class EmulatedComm(Probes, Pickled, ObjectCollectives, Management, Refused, MPI.Intracomm):  # type: ignore[misc]
    """The processes of a real communicator on an emulated network; made by `emulator.emulate`.

    It has mpi4py's methods. A send completes locally when its last byte has left the sender's card, whatever its
    size; a synchronous one when its match has been acknowledged. A receive completes when the last byte has
    passed the receiver's card. Making communicators and agreeing on failures cost no emulated time.

    Its MPI handle is null on purpose: whatever reaches past the methods of this class (a C library, one-sided
    communication, parallel I/O) fails at once, instead of silently running at the machine's own speed.

    Parameters
    ----------
    engine : this rank's engine, which every communicator of the emulated cluster shares
    real : the control plane, which makes communicators, agrees on failures and aligns clocks at no emulated time: a
        communicator of MPI
    context : number that keeps this communicator's messages apart
    algorithms : the module with the algorithms of the collectives, or its name; None: what the entry point group names
    members : those of a communicator that has the same ranks, if there is one

    Attributes
    ----------
    notice : what the user should know before the run (of the pace that was found); None if nothing
    """

    notice: str | None = None

    def __new__(cls, *arguments: Any, **named: Any) -> EmulatedComm:
        return super().__new__(cls)

    def __init__(
        self,
        engine: Engine,
        real: MPI.Intracomm,
        context: int,
        algorithms: Any = None,
        members: Members | None = None,
    ) -> None:
        self.engine, self._real, self.context = engine, real, context
        if members is None:
            members = self._find_members()
        self._members, self.members = members, members.ranks
        self._rank, self._size = real.Get_rank(), real.Get_size()
        self._acknowledged: set[int] = set()
        self._made = 0
        self._groups: dict[tuple[int, ...], int] = {}
        self._hidden: Any = None
        self._algorithms = algorithms
        self._buffer: Any = None
        self._freed = False
        self.carrier = self._make_carrier()

    def _make_carrier(self) -> EmulatedCarrier:
        return EmulatedCarrier(self, self.engine.instruments)

    def _find_members(self) -> Members:
        group = self._real.Get_group()
        try:
            return Members(self.engine.ranks_of(group))
        finally:
            group.Free()

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return self._size

    @property
    def rank(self) -> int:  # type: ignore[override]
        return self._rank

    @property
    def size(self) -> int:  # type: ignore[override]
        return self._size

    def __eq__(self, other: object) -> bool:
        return self is other or (self._freed and type(other) is MPI.Comm and other == MPI.COMM_NULL)

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return not self._freed

    def __repr__(self) -> str:
        return f"<EmulatedComm rank {self._rank} of {self._size} on {self.engine.network.name}>"

    def __reduce__(self) -> Any:
        """Pickle MPI.COMM_WORLD by its name, as mpi4py does; refuse to pickle any other communicator."""
        if self is not MPI.COMM_WORLD:
            raise ValueError(f"cannot serialize {type(self).__name__!r} instance: only MPI.COMM_WORLD has a name")
        return _of_mpi, ("COMM_WORLD",)

    @property
    def control(self) -> MPI.Intracomm:
        """The control plane: a communicator of the same processes, whose calls cost no emulated time."""
        return self._real

    @property
    def native(self) -> MPI.Intracomm:
        """A communicator of MPI itself, for calls that send nothing, such as packing."""
        return self._real

    @cached_property
    def network_state(self) -> NetworkState:
        """The network's properties that faults can change during the job."""
        return self.engine.network_state(self.members)

    # -- what carries the collectives

    @property
    def hidden(self) -> Any:
        """The communicator of this one's collectives: the same processes, another context."""
        if self._hidden is None:
            context = context_number(self.context, "collectives")
            self._hidden = type(self)(self.engine, self._real, context, self._algorithms, self._members)
        return self._hidden

    @property
    def _a(self) -> Any:
        if self._algorithms is None or isinstance(self._algorithms, str):
            # The import is not charged to the program as compute.
            self._enter()
            self._algorithms = algorithms.find(self._algorithms)
            self._leave()
        self.engine.idling = False
        return self._algorithms

    def _check_root(self, root: int) -> int:
        root = as_c_int(root)
        if not 0 <= root < self._size:
            self.raise_error(MPI.ERR_ROOT)
        return root

    # -- emulated time

    def now(self) -> float:
        """This rank's emulated time in seconds."""
        engine = self.engine
        if engine.clock.measured:
            engine.clock.enter()
        now = engine.now()
        self._leave()
        return now

    def slowest_path(self) -> tuple[float, float]:
        """The longest latency (s) and the largest beta (s/B) among the paths between these ranks."""
        members = self._members
        if members.slowest is None:
            members.slowest = self.engine.network.slowest_path(members.ranks)
        return members.slowest

    def compute(self, seconds: float) -> None:
        """Advance this rank's clock by `seconds` of declared compute, times its host's slowdown."""
        check_compute(seconds)
        engine = self.engine
        self._enter()
        engine.clock.t += seconds * engine.clock.slowdown
        engine.hold(engine.clock.t)
        self._leave()

    def align(self, ranks: Sequence[int] | None = None) -> float:
        """Set the clocks of all ranks to the latest of them; collective, costs no emulated time.

        For the start of a repetition. Paced, emulated time is also tied to the wall anew, so that what happened
        before cannot make the repetition late, and an automatic pace may be raised; not where only `ranks` take part
        (see `emulator.carrier.Carrier.align`). Returns the common time in seconds.
        """
        engine = self.engine
        self.now()
        if ranks is None:
            t: float = self._real.allreduce(engine.latest(), MPI.MAX)
        else:
            t = largest(self._real, ranks, engine.latest())
        for waited in engine.instruments.waited:  # of the rank that is last as well: the others waited for it
            waited(Wait.ALIGN, engine.clock.t, t, NO_PEER, 0)
        engine.clock.t = t
        engine.hold(t)
        if ranks is None:
            engine.align(t, self)
        self._leave()
        return t

    # -- what a run has to say about itself

    def fidelity(self) -> dict[str, Any]:
        """Report how accurate emulated time has been so far, over all ranks; collective, costs no emulated time.

        Returns
        -------
        dict
            See `emulator.wire.pacing.summarise`.
        """
        found = self.engine.fidelity(self._real)
        self._leave()
        return found

    def traffic(self) -> traffic.Traffic:
        """Add up messages, bytes and busy times over all ranks; collective, no emulated time."""
        engine = self.engine
        rows = self._real.allgather(traffic.of_rank(engine.clock.t, engine.routes))
        found = traffic.total(engine.network, rows)
        self._leave()
        return found


def _of_mpi(name: str) -> Any:
    return getattr(MPI, name)
