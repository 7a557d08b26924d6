"""The members of a communicator: their ranks in the engine, the legal tags, and which members have failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.core import message as messages

if TYPE_CHECKING:
    from emulator.core.engine import Engine

_ANY_TAG: int = MPI.ANY_TAG


class Members:
    """Ranks of the engine in the order of the communicator's ranks; duplicates of a communicator share the object.

    Attributes
    ----------
    ranks : rank of the engine of each rank of the communicator
    slowest : what `Network.slowest_path` says of them, once it is known
    """

    __slots__ = ("_places", "ranks", "slowest")

    def __init__(self, ranks: Sequence[int]) -> None:
        self.ranks = tuple(ranks)  # each message looks one up, which takes a third of the time in a range
        whole = range(len(ranks))
        self._places: Sequence[int] | Mapping[int, int] = whole  # the usual case, which needs no memory
        if self.ranks != tuple(whole):
            self._places = {rank: place for place, rank in enumerate(ranks)}
        self.slowest: tuple[float, float] | None = None

    def place(self, rank: int) -> int:
        """The communicator's rank of a rank of the engine."""
        return self._places[rank]

    def among(self, ranks: set[int]) -> set[int]:
        """Those of some engine ranks that are members."""
        return {rank for rank in ranks if rank in self._places}


def as_c_int(number: Any) -> int:
    """Convert a rank, tag or root as mpi4py does: by ``__int__``, with the fraction of a float cut off."""
    if isinstance(number, str | bytes) or not hasattr(type(number), "__int__"):
        raise TypeError("an integer is required")
    value = int(number)
    if not -(2**31) <= value < 2**31:
        raise OverflowError("value too large to convert to int")
    return value


class Addressing:
    """Ranks, tags and failures of a communicator.

    Attributes
    ----------
    engine : this rank's engine, shared by all its emulated communicators
    context : number that keeps this communicator's messages apart
    members : rank of the engine of each rank of the communicator
    """

    engine: Engine
    context: int
    members: Sequence[int]
    _members: Members
    _real: MPI.Intracomm
    _size: int
    _acknowledged: set[int]

    def rank_of(self, member: int) -> int:
        """The rank in this communicator of a rank of the engine."""
        return self._members.place(member)

    def raise_error(self, code: int) -> None:
        """Raise an MPI error through this communicator's error handler."""
        self._real.Call_errhandler(code)
        raise MPI.Exception(code)

    def failure(self, source: int, blocking: bool) -> int:
        """The MPI error with which a wait for engine rank `source` (or ANY_SOURCE) must end; 0 if none."""
        if self._real.Is_revoked():
            return MPI.ERR_REVOKED
        dead = self.engine.dead
        if not dead:
            return 0
        if source == messages.ANY_SOURCE:
            unknown = self._members.among(dead) - self._acknowledged
            return 0 if not unknown else MPI.ERR_PROC_FAILED if blocking else MPI.ERR_PROC_FAILED_PENDING
        return MPI.ERR_PROC_FAILED if source in dead else 0

    def _target(self, rank: int, tag: int) -> tuple[int | None, int]:
        """The engine rank to send to (None for PROC_NULL), and the tag; raises what MPI raises."""
        if type(rank) is not int or type(tag) is not int:
            rank, tag = as_c_int(rank), as_c_int(tag)
        if tag < 0 or not 0 <= rank < self._size:
            if rank == MPI.PROC_NULL:
                return None, tag
            self._refuse(MPI.ERR_TAG if tag < 0 else MPI.ERR_RANK, rank)
        peer = self.members[rank]
        if self._real.Is_revoked() or peer in self.engine.dead:
            self.raise_error(self.failure(peer, blocking=True))
        return peer, tag

    def _accepted(self, rank: int, tag: int) -> tuple[int | None, int]:
        """The source and tag that a receive accepts, as engine ranks; None for PROC_NULL."""
        if type(rank) is not int or type(tag) is not int:
            rank, tag = as_c_int(rank), as_c_int(tag)
        if tag == _ANY_TAG:
            tag = messages.ANY_TAG
        elif tag < 0 and rank != MPI.PROC_NULL:
            self._refuse(MPI.ERR_TAG, rank)
        if 0 <= rank < self._size:
            return self.members[rank], tag
        if rank == MPI.ANY_SOURCE:
            return messages.ANY_SOURCE, tag
        if rank != MPI.PROC_NULL:
            self._refuse(MPI.ERR_RANK, rank)
        return None, tag

    def _refuse(self, code: int, rank: int) -> None:
        """Raise what mpi4py raises for a rank too large for a C int, else this MPI error."""
        as_c_int(rank)
        self.raise_error(code)
