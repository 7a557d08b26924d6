"""The way of a message between two ranks: the cards and shared links that it passes, each a queue.

A message of n bytes that is sent at time t passes one resource after another, each serving one message at a time::

    start = max(t, free)        free  = start + max(gap, n beta)     of the sender's card
    start = max(start, free)    free  = start + n beta               of each link that hosts share
    first = start + alpha
    due   = max(first, free) + n beta = free                         of the receiver's card
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Station:
    """A card or a link: its name, seconds per byte, and least seconds between two messages."""

    name: Hashable
    beta: float
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class Way:
    """From one rank to another.

    Attributes
    ----------
    alpha : latency in seconds
    out, links, into : what a message passes: the sender's card, links that hosts share, the receiver's card
    shared : messages of other ranks pass the sender's card or one of the links
    """

    alpha: float
    out: Station
    links: tuple[Station, ...]
    into: Station
    shared: bool = False

    @property
    def stations(self) -> tuple[Station, ...]:
        """All that a message passes."""
        return (self.out, *self.links, self.into)


class Ways:
    """The ways between all ranks, each made when it is first asked for.

    Parameters
    ----------
    make : gives the way from one rank to another
    slowdown : how many times slower the host of a rank computes
    """

    def __init__(self, make: Callable[[int, int], Way], slowdown: Callable[[int], float] = lambda rank: 1.0) -> None:
        self._make, self.slowdown = make, slowdown
        self._made: dict[tuple[int, int], Way] = {}

    def __call__(self, source: int, target: int) -> Way:
        found = self._made.get((source, target))
        if found is None:
            found = self._made[source, target] = self._make(source, target)
        return found


def alike(alpha: float, beta: float, egress: float | None = None, gap: float = 0.0) -> Ways:
    """Ways between ranks on hosts of their own, all equal.

    Parameters
    ----------
    alpha, beta : latency in seconds, seconds per byte
    egress : seconds per byte of the sender's card where it is quicker than the path; absent: `beta`
    gap : least seconds between two messages of one sender
    """
    out = beta if egress is None else egress

    def make(source: int, target: int) -> Way:
        return Way(alpha, Station(("out", source), out, gap), (), Station(("into", target), beta))

    return Ways(make)


class Queues:
    """When each station is free."""

    def __init__(self) -> None:
        self._free: dict[Hashable, float] = {}

    def take(self, station: Station, asked: float, size: float) -> float:
        """Occupy a station for `size` bytes from `asked` on; gives the start."""
        start = max(asked, self._free.get(station.name, 0.0))
        self._free[station.name] = start + max(station.gap, size * station.beta)
        return start
