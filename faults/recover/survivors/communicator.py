"""A communicator of the working ranks that is not built in MPI: it maps their ranks to those of the parent.

    program's rank   0   1   2   3   4   5   6         (7 survivors)
    parent's rank    0   1   2   4   5   6   7         (3 is dead)

`SurvivorComm` has mpi4py's methods over the communicator in use (its `parent`, bare or emulated): `Send(buffer, 3)`
goes to the parent's rank 4. Its collectives are made of messages by the algorithms of `primitives`, on a communicator
beside that one, whose tags also tell apart what `Split` and `Dup` make (`faults.recover.survivors.tag_ranges`). Its MPI
handle is null on purpose: what reaches past its methods would meet dead and waiting processes, and fails at once
instead.

Every blocking call notes on the status board which rank it waits for, so that a watchdog can say who waited for whom.
`emulator.carrier.of` answers for it with `faults.recover.survivors.carrier`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.comm.object_collectives import ObjectCollectives
from emulator.comm.refused import REFUSED, NoHandle
from emulator.errors import UsageError
from faults.recover.survivors.carrier import SurvivorCarrier
from faults.recover.survivors.messages import SurvivorMessages, ignore
from faults.recover.survivors.requests import Note
from faults.recover.survivors.tag_ranges import BETWEEN_STEPS, BITS, TagRanges

COPES = "copes"
"""In the carrier's state: what this step does goes on when a rank dies, so that a death is no reason to do it again."""


class SurvivorComm(SurvivorMessages, ObjectCollectives, NoHandle, MPI.Intracomm):
    """The processes `members[0], members[1], ...` of `parent` as ranks 0, 1, ...

    Messages received from any source report the sender's rank among the survivors.

    Parameters
    ----------
    parent : a communicator over all processes, bare or emulated
    members : the parent's rank of each rank
    note : called with a rank of the parent before waiting for it, with `NO_RANK` after
    beside : ranges of tags on another communicator over all processes, for what is made from this one; without it there
        are no collectives, and no `Split`
    part : the range of tags of this communicator's messages, where the parent is that other communicator; 0: all tags

    Attributes
    ----------
    asked : whether the program has read its rank or its size
    """

    def __new__(cls, *arguments: Any, **named: Any) -> SurvivorComm:
        return super().__new__(cls)

    def __init__(
        self,
        parent: MPI.Intracomm,
        members: Sequence[int],
        note: Note | None = None,
        beside: TagRanges | None = None,
        part: int = 0,
    ) -> None:
        self.parent = parent
        self.members: Any = list(members)
        self._ranks = {member: rank for rank, member in enumerate(self.members)}
        self._rank, self._size = self._ranks.get(parent.Get_rank(), MPI.UNDEFINED), len(self.members)
        self.note = note or ignore
        self._beside, self._part, self._first_tag = beside, part, part << BITS
        self.asked = False
        self._members: MPI.Group | None = None
        self._hidden: SurvivorComm | None = None
        self._release: Callable[[], object] = _nothing
        self.carrier = SurvivorCarrier(self)
        if beside is not None:
            beside.watch(self)

    def Get_rank(self) -> int:
        self.asked = True
        return self._rank

    def Get_size(self) -> int:
        self.asked = True
        return self._size

    rank = property(Get_rank)
    size = property(Get_size)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<SurvivorComm rank {self._rank} of {self._size}>"

    def raise_error(self, code: int) -> None:
        """Raise an MPI error of this class."""
        raise MPI.Exception(code)

    # -- collectives, and communicators of some of these ranks
    @property
    def hidden(self) -> Any:
        """The communicator of the collectives: the same ranks, other tags."""
        len(self.members)  # refused where it carries nothing now
        if self._hidden is None:
            if self._beside is None:
                raise UsageError("this communicator carries messages between two ranks, not collectives")
            self._hidden = SurvivorComm(self._beside.comm, self.members, self.note, self._beside, self._part + 1)
        return self._hidden

    @property
    def _a(self) -> Any:
        from primitives import collectives  # the ranks that use none do not wait for the import

        return collectives

    def _check_root(self, root: int) -> int:
        if not 0 <= root < self._size:
            raise MPI.Exception(MPI.ERR_ROOT)
        return int(root)

    def Split(self, color: int = 0, key: int = 0) -> Any:
        mine = np.concatenate(([color, key], self.hidden._beside.offered())).astype(np.int64)
        rows = np.empty((self._size, mine.size), np.int64)
        self.Allgather(mine, rows)
        if color == MPI.UNDEFINED:
            return MPI.COMM_NULL
        ranks = sorted(np.flatnonzero(rows[:, 0] == color).tolist(), key=lambda rank: (rows[rank, 1], rank))
        return self._made([self.members[rank] for rank in ranks], rows[:, 2:].min(axis=0))

    def Dup(self, info: MPI.Info | None = None) -> Any:
        return self.Split(0, self._rank)

    Dup_with_info = Clone = Dup

    def Create(self, group: MPI.Group) -> Any:
        (place,) = self.Get_group().Translate_ranks([self._rank], group)
        return self.Split(0 if place >= 0 else MPI.UNDEFINED, place)

    def _made(self, members: list[int], free: np.ndarray) -> SurvivorComm:
        beside = self._beside
        assert beside is not None
        pair = beside.first(free)
        made = SurvivorComm(beside.comm, members, self.note, beside, 2 * pair)
        made._release = beside.take(pair, made)
        return made

    def Get_group(self) -> MPI.Group:
        whole = self.parent.Get_group()
        try:
            return whole.Incl(list(self.members))
        finally:
            whole.Free()

    group = property(Get_group)

    def Free(self) -> None:
        """Release the tags for another communicator; `job.comm` itself is freed by its job."""
        self.carrier.free()
        self._release()

    Disconnect = free = Free

    def Compare(self, comm: Any) -> int:
        if comm is self or not isinstance(comm, SurvivorComm):
            return MPI.IDENT if comm is self else MPI.UNEQUAL
        if self.members == comm.members:
            return MPI.CONGRUENT
        return MPI.SIMILAR if set(self.members) == set(comm.members) else MPI.UNEQUAL

    def Abort(self, errorcode: int = 0) -> Any:
        MPI.COMM_WORLD.Abort(errorcode)

    def close(self) -> None:
        """Refuse messages until `open`, because the program's other ranks may not be in the same step."""
        self._open_members, self.members = self.members, BETWEEN_STEPS

    def open(self) -> None:
        """Carry messages again."""
        if self.members is BETWEEN_STEPS:
            self.members = self._open_members

    def expire(self) -> None:
        """Refuse all later use, also of communicators made from it: a recovery has replaced it."""
        if self._beside is not None:
            self._beside.expire()

    def refusal(self, method: str, instead: str) -> UsageError:
        """The error of a call, such as Win.Create, that takes only communicators of MPI itself."""
        return UsageError(f"{method} takes no job.comm, which MPI does not know: {_OTHERWISE}")

    def Is_inter(self) -> bool:
        return False

    def Is_intra(self) -> bool:
        return True

    def Get_topology(self) -> int:
        return MPI.UNDEFINED

    is_inter, is_intra, is_topo, topology = False, True, False, MPI.UNDEFINED


def _nothing() -> None:
    """Do nothing: there is nothing to release."""


def _refused(name: str, instead: str) -> Any:
    """Make a method of this name that raises an error with the alternative."""

    def method(self: SurvivorComm, *arguments: Any, **named: Any) -> Any:
        raise UsageError(f"job.comm has no {name}: {instead}")

    method.__name__, method.__doc__ = name, f"Refused: {instead}."
    return property(method) if isinstance(getattr(MPI.Intracomm, name), property) else method


def _complete(cls: type) -> None:
    """Give the class each method of MPI.Intracomm that it lacks, as one that raises an error with the alternative."""
    own = {name for base in cls.__mro__ if base.__module__ != MPI.__name__ for name in vars(base)}
    for name in dir(MPI.Intracomm):
        if name[0] != "_" and name not in own and not _needs_no_comm(name):
            setattr(cls, name, _refused(name, REFUSED.get(name) or _INSTEAD.get(name, _OTHERWISE)))


def _needs_no_comm(name: str) -> bool:
    return isinstance(vars(MPI.Intracomm).get(name, vars(MPI.Comm).get(name)), classmethod | staticmethod)


_OTHERWISE = "use messages, blocking collectives, Split and Dup"
_INSTEAD = {
    name: instead
    for names, instead in {
        "Mprobe Improbe mprobe improbe": "use Probe and Recv",
        "Agree Iagree Shrink": "the step loop agrees and repairs by itself",
        "Create_group Split_type": "use Split, which all ranks call",
    }.items()
    for name in names.split()
}  # fmt: skip
_complete(SurvivorComm)
