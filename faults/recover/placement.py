"""Who works where: the table of places, and what each policy makes of it when somebody dies.

A place is a rank's number as the job began, and faults address ranks by it. The program's own ranks count the places
that are filled, in order: after the death of place 3 of 0..7, place 4 is rank 3.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """Base rank of each filled place, and the base ranks that wait for one."""

    places: dict[int, int]
    waiting: tuple[int, ...] = ()

    @property
    def at_work(self) -> list[int]:
        """Base ranks in the order of their places: the program's ranks 0, 1, ..."""
        return [self.places[place] for place in sorted(self.places)]

    def place_of(self, base: int) -> int | None:
        return next((place for place, holder in self.places.items() if holder == base), None)

    def moved(self, new_rank: Collection[int] | list[int]) -> Placement:
        """The same table in other numbers: `new_rank[old]` is a base rank's new number, -1 for gone."""
        number = list(new_rank)
        return Placement(
            {place: number[base] for place, base in self.places.items() if number[base] >= 0},
            tuple(number[base] for base in self.waiting if number[base] >= 0),
        )


def begin(ranks: int, spares: int = 0) -> Placement:
    """Ranks 0 to ranks-1 at work in the places of the same number, the rest waiting."""
    return Placement({rank: rank for rank in range(ranks)}, tuple(range(ranks, ranks + spares)))


def shrink(table: Placement, alive: Collection[int]) -> Placement:
    """The survivors go on with fewer."""
    living = set(alive)
    return Placement(
        {place: base for place, base in table.places.items() if base in living},
        tuple(base for base in table.waiting if base in living),
    )


def spare(table: Placement, alive: Collection[int]) -> Placement:
    """Waiting ranks take the places of the dead, lowest first; when none is left, the survivors go on with fewer."""
    left = shrink(table, alive)
    empty = sorted(set(table.places) - set(left.places))
    called = dict(zip(empty, left.waiting, strict=False))
    return Placement(left.places | called, left.waiting[len(called) :])


Policy = Callable[[Placement, Collection[int]], Placement]

# A respawned process is not in the communicator yet: the survivors shrink first, then let it in.
IN_PLACE: dict[str, Policy] = {"shrink": shrink, "spare": spare, "respawn": shrink}
