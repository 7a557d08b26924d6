"""Histogram of observed staleness: how many iterations behind the reader the slowest worker was in what it read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class StalenessExceeded(AssertionError):
    """A read was staler than its rule allows: a bug in the rule, never a condition to handle."""


class Staleness:
    """Counts of observed values.

    Parameters
    ----------
    bound
        Largest legal value; None: any.
    """

    def __init__(self, bound: int | None = None, counts: Iterable[tuple[int, int]] = ()) -> None:
        self.bound = bound
        self.counts: Counter[int] = Counter()
        for value, times in counts:
            self.counts[value] += times

    def observe(self, value: int) -> None:
        """Count one read.

        Raises
        ------
        StalenessExceeded
            `value` is above the bound.
        """
        if self.bound is not None and value > self.bound:
            raise StalenessExceeded(f"a read was {value} iterations stale, the bound is {self.bound}")
        self.counts[value] += 1

    def __add__(self, other: Staleness) -> Staleness:
        return Staleness(self.bound, [*self.counts.items(), *other.counts.items()])

    @property
    def reads(self) -> int:
        """How many were counted."""
        return self.counts.total()

    @property
    def mean(self) -> float:
        """Mean staleness in iterations; 0 without reads."""
        return sum(value * times for value, times in self.counts.items()) / max(1, self.reads)

    @property
    def largest(self) -> int:
        """Largest staleness seen; 0 without reads."""
        return max(self.counts, default=0)
