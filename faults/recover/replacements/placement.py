"""The placement of a job: which process works in which place, and which processes wait for one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """The process (its rank in the communicator of all) in each filled place, and the waiting processes."""

    places: dict[int, int]
    waiting: tuple[int, ...] = ()

    @classmethod
    def begin(cls, ranks: int, spares: int = 0) -> Placement:
        """Put processes 0 to ranks-1 into the places of the same number; the others wait."""
        return cls({rank: rank for rank in range(ranks)}, tuple(range(ranks, ranks + spares)))

    @property
    def at_work(self) -> list[int]:
        """Processes in the order of their places, which are the program's ranks 0, 1, ..."""
        return [self.places[place] for place in sorted(self.places)]

    def place_of(self, process: int) -> int | None:
        return next((place for place, holder in self.places.items() if holder == process), None)

    def moved(self, new_rank: Sequence[int]) -> Placement:
        """The same placement with new process numbers: `new_rank[old]`, -1 for a process that has gone."""
        return Placement(
            {place: new_rank[process] for place, process in self.places.items() if new_rank[process] >= 0},
            tuple(new_rank[process] for process in self.waiting if new_rank[process] >= 0),
        )

    def survivors(self, alive: Collection[int]) -> Placement:
        """The placement after deaths, with the survivors in their places."""
        living = set(alive)
        return Placement(
            {place: process for place, process in self.places.items() if process in living},
            tuple(process for process in self.waiting if process in living),
        )

    def refilled(self, alive: Collection[int]) -> Placement:
        """The placement after deaths, with waiting processes in the lowest empty places while there are any."""
        left = self.survivors(alive)
        empty = sorted(set(self.places) - set(left.places))
        called = dict(zip(empty, left.waiting, strict=False))
        return Placement(left.places | called, left.waiting[len(called) :])
