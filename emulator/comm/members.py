"""The ranks of a communicator: one object for all duplicates of a communicator, whoever made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Members:
    """Ranks of the engine in the order of the communicator's ranks.

    Attributes
    ----------
    ranks : rank of the engine of each rank of the communicator
    slowest : what `Network.slowest_path` says of them, once somebody has asked
    """

    __slots__ = ("_places", "ranks", "slowest")

    def __init__(self, ranks: Sequence[int]) -> None:
        everybody = range(len(ranks))
        self.ranks: Sequence[int]
        self._places: Sequence[int] | Mapping[int, int]
        if list(ranks) == list(everybody):  # the usual case, which needs no memory
            self.ranks = self._places = everybody
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
