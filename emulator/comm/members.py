"""The ranks of a communicator: which ranks of the engine they are, which tags they use, and which have failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpi4py import MPI

from emulator.core import message as messages
from emulator.core.engine import Engine

_ANY: int = MPI.ANY_SOURCE
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
        whole = range(len(ranks))
        self.ranks: Sequence[int]
        self._places: Sequence[int] | Mapping[int, int]
        if ranks == whole or list(ranks) == list(whole):  # the usual case, which needs no memory
            self.ranks = self._places = whole
        else:
            self.ranks = tuple(ranks)
            self._places = {rank: place for place, rank in enumerate(ranks)}
        self.slowest: tuple[float, float] | None = None

    def place(self, rank: int) -> int:
        """Give the communicator's rank of a rank of the engine."""
        return self._places[rank]

    def among(self, ranks: set[int]) -> set[int]:
        """Give those of some ranks of the engine that are members."""
        return {rank for rank in ranks if rank in self._places}


def as_c_int(number: Any) -> int:
    """Convert a rank, a tag or a root as mpi4py does: what has ``__int__`` is one, a float is cut off."""
    if isinstance(number, str | bytes) or not hasattr(type(number), "__int__"):
        raise TypeError("an integer is required")
    value = int(number)
    if not -(2**31) <= value < 2**31:
        raise OverflowError("value too large to convert to int")
    return value


class Addressing:
    """The ranks, tags and failures of a communicator.

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
    _acknowledged: set[int]

    def rank_of(self, member: int) -> int:
        """Give the rank in this communicator of a rank of the engine."""
        return self._members.place(member)

    def raise_error(self, code: int) -> None:
        """Raise an MPI error as this communicator's error handler says."""
        self._real.Call_errhandler(code)
        raise MPI.Exception(code)

    def failure(self, source: int, blocking: bool) -> int:
        """Give the MPI error that a wait for rank `source` of the engine (or ANY_SOURCE) must end with, 0 if none."""
        if self._real.Is_revoked():
            return MPI.ERR_REVOKED
        dead = self.engine.dead
        if not dead:
            return 0
        if source == messages.ANY_SOURCE:
            unknown = self._members.among(dead) - self._acknowledged
            return 0 if not unknown else MPI.ERR_PROC_FAILED if blocking else MPI.ERR_PROC_FAILED_PENDING
        return MPI.ERR_PROC_FAILED if source in dead else 0

    def _peer(self, rank: int) -> int:
        """Give the rank of the engine to send to; raises what MPI raises if that is impossible."""
        if not 0 <= rank < len(self.members):
            as_c_int(rank)
            self.raise_error(MPI.ERR_RANK)
        peer = self.members[rank]
        if self._real.Is_revoked() or (self.engine.dead and peer in self.engine.dead):
            self.raise_error(self.failure(peer, blocking=True))
        return peer

    def _origin(self, rank: int) -> int:
        if rank == _ANY:
            return messages.ANY_SOURCE
        if not 0 <= rank < len(self.members):
            as_c_int(rank)
            self.raise_error(MPI.ERR_RANK)
        return self.members[rank]

    def _check_tag(self, tag: int) -> None:
        if tag < 0:
            self.raise_error(MPI.ERR_TAG)

    def _tag_of(self, tag: int) -> int:
        """Give the tag that a receive accepts, in the engine's terms."""
        if tag == _ANY_TAG:
            return messages.ANY_TAG
        self._check_tag(tag)
        return tag
