"""The control plane of a simulation: collective calls that take no simulated time.

A collective call: each rank hands in a value and waits for the others, the last one combines the values, and all go on
at their own times. Communicators are split and duplicated so, and a harness aligns and gathers so beside the network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.carrier import Carrier
from emulator.comm.members import Members
from emulator.errors import UsageError
from emulator.sim.engine import SimulatedEngine
from emulator.sim.groups import SimulatedGroup
from emulator.sim.joint import JointCall, JointRequest
from emulator.sim.ulfm.fault_tolerance import FaultTolerance

Combine = Callable[[list[Any]], Any]


class Aborted(SystemExit):
    """Raised when a rank has called Abort, which ends all ranks."""


_SELF = MPI.COMM_SELF  # a program on simulated ranks has another one


class ControlCollective(JointCall):
    """A collective call of the control plane, complete when every rank has entered it.

    It ends with an error if a rank is dead that has not entered, or the communicator was revoked.

    Attributes
    ----------
    entered : place and engine of each rank that has
    """

    purpose = "in a collective call that makes a communicator or belongs to the control plane"

    def __init__(self, shared: Shared, size: int) -> None:
        self._shared = shared
        self.values: list[Any] = [None] * size
        self.entered: list[tuple[int, SimulatedEngine]] = []

    @property
    def missing(self) -> list[int]:
        here = {engine.rank for _, engine in self.entered}
        return [rank for rank in self._shared.ranks if rank not in here]

    def poll(self) -> bool:
        if self.complete:
            return True
        first = self.entered[0][1]
        if self._shared.revoked:
            self.error = MPI.ERR_REVOKED
        elif first.dead and not first.dead.isdisjoint(self.missing):
            self.error = MPI.ERR_PROC_FAILED
        return self.error != 0


class Shared:
    """What all ranks of a communicator share: its members and the collective calls in progress.

    Attributes
    ----------
    revoked : ranks of the engine on which it is revoked
    lockstep : the collective that ranks are beginning at this instant, see `emulator.sim.collectives.lockstep`
    """

    def __init__(self, ranks: Sequence[int], members: Members | None = None) -> None:
        self.ranks = ranks
        self.members = Members(ranks) if members is None else members
        self.under_way: dict[Any, Any] = {}
        self.lockstep: Any = None
        self.revoked: set[int] = set()


class Control(FaultTolerance):
    """One rank's control plane of a communicator, in place of the MPI communicator of an emulated one."""

    def __init__(self, shared: Shared, rank: int, engine: SimulatedEngine) -> None:
        self.shared, self.rank, self.engine = shared, rank, engine
        self.size = len(shared.ranks)
        self._met = 0
        self._groups: dict[tuple[int, ...], int] = {}
        self._local: MPI.Intracomm | None = None  # keeps attributes, name, info and error handler
        self._begin_tolerance()
        self.carrier = ControlCarrier(self)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if not hasattr(MPI.Intracomm, name):
            raise AttributeError(name)
        raise UsageError(f"{name} is not simulated: run the program with real ranks (mpirun) for it")

    def _meet(self, value: Any, combine: Combine, size: int | None = None, key: Any = None) -> Any:
        """Enter a value, wait for all others, and return what the last rank computed from all values."""
        call = self._join(value, combine, size, key)
        if not call.complete:
            self.engine.wait(call)
        if call.error:
            raise MPI.Exception(call.error)
        return call.result

    def _join(self, value: Any, combine: Combine, size: int | None = None, key: Any = None) -> ControlCollective:
        """Enter a value; the last rank to do so combines the values and lets the others continue."""
        shared, engine = self.shared, self.engine
        if key is None:
            key = self._met
            self._met += 1
        size = self.size if size is None else size
        call = shared.under_way.get(key)
        if call is None:
            call = shared.under_way[key] = ControlCollective(shared, size)
        place = len(call.entered) if size != self.size else self.rank
        call.values[place] = value
        call.entered.append((place, engine))
        if len(call.entered) == size:
            del shared.under_way[key]
            call.result = combine(call.values)
            call.complete = True
            for _, other in call.entered[:-1]:
                engine.loop.wake(other, other.since)
            engine.sleep(engine.loop.now)  # ranks that are behind go first
        return call

    # -- collectives

    def Barrier(self) -> None:
        self._meet(None, _nothing)

    barrier = Barrier

    def Ibarrier(self) -> Any:
        return JointRequest(self.engine, self._join(None, _nothing))

    def allgather(self, sendobj: Any) -> list[Any]:
        return list(self._meet(sendobj, _as_they_are))

    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        found = self._meet(sendobj, _as_they_are)
        return list(found) if self.rank == root else None

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Return the root's object on the root, and a copy of it on every other rank, as a message would."""
        data = MPI.pickle.dumps(obj) if self.rank == root else None
        found = self._meet(data, lambda values: values[root])
        return obj if self.rank == root else MPI.pickle.loads(found)

    def scatter(self, sendobj: Sequence[Any] | None, root: int = 0) -> Any:
        return self._meet(sendobj, lambda values: values[root])[self.rank]

    def allreduce(self, sendobj: Any, op: Any = MPI.SUM) -> Any:
        return self._meet(sendobj, lambda values: functools.reduce(op, values))

    def reduce(self, sendobj: Any, op: Any = MPI.SUM, root: int = 0) -> Any:
        found = self.allreduce(sendobj, op)
        return found if self.rank == root else None

    def Bcast(self, buf: Any, root: int = 0) -> None:
        found = self._meet(np.array(buf) if self.rank == root else None, lambda values: values[root])
        if self.rank != root:
            buf[...] = found

    def Gather(self, sendbuf: Any, recvbuf: Any, root: int = 0) -> None:
        found = self._meet(np.array(sendbuf), _as_they_are)
        if self.rank == root:
            recvbuf.reshape(self.size, -1)[...] = np.reshape(found, (self.size, -1))

    def Reduce(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM, root: int = 0) -> None:
        found = self.allreduce(np.array(sendbuf), op)
        if self.rank == root:
            recvbuf[...] = found

    def Allreduce(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM) -> None:
        recvbuf[...] = self.allreduce(np.array(recvbuf if sendbuf is MPI.IN_PLACE else sendbuf), op)

    # -- communicators

    def Get_rank(self) -> int:
        return self.rank

    def Get_size(self) -> int:
        return self.size

    def Get_group(self) -> SimulatedGroup:
        return SimulatedGroup(self.shared.ranks, self.engine.rank)

    group = property(Get_group)

    def Dup(self, info: Any = None) -> Control:
        made = Control(
            self._meet(None, lambda values: Shared(self.shared.ranks, self.shared.members)), self.rank, self.engine
        )
        if self._local is not None:
            made._local = self._local.Dup()
        return made

    def Split(self, color: int = 0, key: int = 0) -> Any:
        return self._child(self._meet((color, key), self._divide))

    def _divide(self, asked: list[tuple[int, int]]) -> dict[int, Shared]:
        """Make the shared state of each color's communicator."""
        colors: dict[int, list[tuple[int, int]]] = {}
        for rank, (color, key) in enumerate(asked):
            if color != MPI.UNDEFINED:
                colors.setdefault(color, []).append((key, rank))
        return _shared_by([self.shared.ranks[rank] for _, rank in sorted(rows)] for rows in colors.values())

    def _child(self, made: dict[int, Shared]) -> Any:
        shared = made.get(self.engine.rank)
        if shared is None:
            return MPI.COMM_NULL
        return Control(shared, shared.members.place(self.engine.rank), self.engine)

    def Split_type(self, split_type: int, key: int = 0, info: Any = MPI.INFO_NULL) -> Any:
        return self.Split(self.engine.host if split_type != MPI.UNDEFINED else MPI.UNDEFINED, key)

    def Create(self, group: SimulatedGroup) -> Any:
        return self._child(self._meet(tuple(group.ranks), lambda asked: _shared_by(dict.fromkeys(asked))))

    def Create_group(self, group: SimulatedGroup, tag: int = 0) -> Any:
        ranks = tuple(group.ranks)
        count = self._groups[ranks] = self._groups.get(ranks, 0) + 1
        made = self._meet(ranks, lambda values: dict.fromkeys(ranks, Shared(ranks)), len(ranks), (ranks, tag, count))
        return self._child(made)

    def Compare(self, other: Any) -> int:
        ours, theirs = list(self.shared.ranks), list(other.shared.ranks)
        if self.shared is other.shared:
            return MPI.IDENT
        return MPI.CONGRUENT if ours == theirs else MPI.SIMILAR if set(ours) == set(theirs) else MPI.UNEQUAL

    def Free(self) -> None:
        self.carrier.free()
        if self._local is not None:
            self._local.Free()
            self._local = None

    Disconnect = Free

    # -- failures and errors

    def Abort(self, errorcode: int = 0) -> None:
        raise Aborted(errorcode)

    def Call_errhandler(self, code: int) -> None:
        """Call the error handler; without one of its own a communicator raises exceptions."""
        if self._local is not None:
            self._local.Call_errhandler(code)

    def Set_errhandler(self, errhandler: MPI.Errhandler) -> None:
        if self._local is not None or errhandler != MPI.ERRORS_RETURN:  # which is how a communicator begins
            self.alone.Set_errhandler(errhandler)

    @property
    def alone(self) -> MPI.Intracomm:
        """A communicator of MPI over this process only, for this rank."""
        if self._local is None:
            self._local = _SELF.Dup()
        return self._local


def _kept_locally(name: str) -> Any:
    """Make a method that runs on a communicator of MPI over this process only."""

    def method(self: Control, *arguments: Any, **named: Any) -> Any:
        return getattr(self.alone, name)(*arguments, **named)

    method.__name__ = name
    return method


_LOCAL = "Get_attr Set_attr Delete_attr Get_errhandler Get_info Set_info Get_name Set_name"
for _name in _LOCAL.split():
    setattr(Control, _name, _kept_locally(_name))


def _nothing(values: list[Any]) -> None:
    return None


def _as_they_are(values: list[Any]) -> list[Any]:
    return values


def _shared_by(groups: Iterable[Sequence[int]]) -> dict[int, Shared]:
    """Make the shared state of each group's communicator, by rank; a rank in several groups gets the last one's."""
    made: dict[int, Shared] = {}
    for ranks in groups:
        made |= dict.fromkeys(ranks, Shared(ranks))
    return made


class ControlCarrier(Carrier):
    """The carrier of a control plane: simulated time, and waiting in the rank's engine."""

    timed = True

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self.comm.engine.exact

    def now(self) -> float:
        return self.comm.engine.now()
