"""S, V and R of a pattern, and what else is known of one."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """Coefficients of alpha, beta n and gamma n.

    Attributes
    ----------
    steps : float
        S(p): messages in sequence.
    volume : float
        V(p): bytes in sequence, as a multiple of n.
    reduced : float
        R(p): bytes reduced in sequence, as a multiple of n.
    """

    steps: float
    volume: float
    reduced: float = 0.0

    def seconds(self, n: float, alpha: float, beta: float, gamma: float = 0.0) -> float:
        """Time of the pattern for n bytes; alpha in seconds, beta and gamma in seconds per byte."""
        return alpha * self.steps + (beta * self.volume + gamma * self.reduced) * n

    def times(self, factor: float) -> "Terms":
        """All three terms, dearer by a factor."""
        return Terms(self.steps * factor, self.volume * factor, self.reduced * factor)


Exact = Callable[[int, int, int, float, float, float], float]


@dataclass(frozen=True)
class Pattern:
    """One pattern: its terms, its bus factor, and its closed form where blocks of whole elements are uneven.

    Attributes
    ----------
    terms : callable
        ``terms(p)`` gives the `Terms`.
    bus : callable
        ``bus(p)``: busbw = algbw * bus(p), as nccl-tests defines it: what the links carried.
    closed : callable or None
        ``closed(p, count, itemsize, alpha, beta, gamma)`` in seconds; None where the terms say it.
    """

    terms: Callable[[int], Terms]
    bus: Callable[[int], float]
    closed: Exact | None = None


def floor_lg(p: int) -> int:
    """Largest k with 2^k <= p."""
    return p.bit_length() - 1


def ceil_lg(p: int) -> int:
    """Smallest k with 2^k >= p."""
    return (p - 1).bit_length()


def is_power_of_two(p: int) -> bool:
    """True for 1, 2, 4, 8, ..."""
    return p & (p - 1) == 0
