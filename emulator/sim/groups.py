"""Groups of simulated ranks, with the methods of ``MPI.Group``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mpi4py import MPI


class SimulatedGroup(MPI.Group):
    """An ordered set of ranks.

    Attributes
    ----------
    ranks : rank of the engine of each member
    """

    def __new__(cls, *arguments: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, ranks: Sequence[int], own: int) -> None:
        self.ranks, self._own = ranks, own

    def _of(self, ranks: Iterable[int]) -> SimulatedGroup:
        return SimulatedGroup(tuple(ranks), self._own)

    def Get_size(self) -> int:
        return len(self.ranks)

    def Get_rank(self) -> int:
        return self.ranks.index(self._own) if self._own in self.ranks else MPI.UNDEFINED

    def Incl(self, ranks: Sequence[int]) -> SimulatedGroup:
        return self._of(self.ranks[place] for place in ranks)

    def Excl(self, ranks: Sequence[int]) -> SimulatedGroup:
        left_out = set(ranks)
        return self._of(rank for place, rank in enumerate(self.ranks) if place not in left_out)

    def Range_incl(self, ranks: Sequence[tuple[int, int, int]]) -> SimulatedGroup:
        return self.Incl(_spread(ranks))

    def Range_excl(self, ranks: Sequence[tuple[int, int, int]]) -> SimulatedGroup:
        return self.Excl(_spread(ranks))

    @classmethod
    def Union(cls, group1: Any, group2: Any) -> SimulatedGroup:
        return group1._of(dict.fromkeys((*group1.ranks, *group2.ranks)))

    @classmethod
    def Intersection(cls, group1: Any, group2: Any) -> SimulatedGroup:
        there = set(group2.ranks)
        return group1._of(rank for rank in group1.ranks if rank in there)

    @classmethod
    def Difference(cls, group1: Any, group2: Any) -> SimulatedGroup:
        there = set(group2.ranks)
        return group1._of(rank for rank in group1.ranks if rank not in there)

    def Compare(self, group: Any) -> int:
        first, second = tuple(self.ranks), tuple(group.ranks)
        return MPI.IDENT if first == second else MPI.SIMILAR if set(first) == set(second) else MPI.UNEQUAL

    def Translate_ranks(self, ranks: Sequence[int] | None = None, group: Any = None) -> list[int]:
        places = {rank: place for place, rank in enumerate(group.ranks)}
        chosen = self.ranks if ranks is None else [self.ranks[place] for place in ranks]
        return [places.get(rank, MPI.UNDEFINED) for rank in chosen]

    def Dup(self) -> SimulatedGroup:
        return self._of(self.ranks)

    def Free(self) -> None:
        """Do nothing: a group holds no resource of MPI."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimulatedGroup) and tuple(self.ranks) == tuple(other.ranks)

    def __hash__(self) -> int:
        return hash(tuple(self.ranks))

    def __bool__(self) -> bool:
        return True


def _spread(ranges: Iterable[tuple[int, int, int]]) -> list[int]:
    return [place for first, last, step in ranges for place in range(first, last + (1 if step > 0 else -1), step)]
