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
from heapq import heappop, heappush
from typing import Any


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


_ARRIVING = -1
_Event = tuple[float, int, int, int, int, float, Any]
"""When, source, number, stage (station that is next, or _ARRIVING at the receiver's card), target, bytes, content."""


class Traffic:
    """Messages on their way, followed in the order of time.

    Parameters
    ----------
    ways : the ways between the ranks
    left : called with a rank when all that it has sent has left a card which others use as well
    """

    def __init__(self, ways: Ways, ranks: int, left: Callable[[int], None] = lambda rank: None) -> None:
        self.ways, self.queues, self.sent = ways, Queues(), 0
        self.gone = [0.0] * ranks  # when the last byte that a rank has sent leaves its card
        self.leaving = [0] * ranks  # messages that wait for a card which others use as well
        self._left = left
        self._flying: list[_Event] = []

    def send(self, time: float, source: int, target: int, size: float, content: Any = None) -> None:
        """A rank sends a message, no earlier than the latest one that has arrived."""
        self.sent += 1
        event = (time, source, self.sent, 0, target, size, content)
        if self.ways(source, target).shared:  # its turn comes with those of the other ranks, in the order of time
            self.leaving[source] += 1
            heappush(self._flying, event)
        else:
            self._leave(event)

    def next(self) -> tuple[float, int, int, Any] | None:
        """The next message that arrives: when its last byte is there, source, target, content; None if none is left."""
        while self._flying:
            event = heappop(self._flying)
            time, source, _, stage, target, size, content = event
            if stage == _ARRIVING:
                into = self.ways(source, target).into
                return self.queues.take(into, time, size) + size * into.beta, source, target, content
            if stage:
                self._go_on(event, self.queues.take(self.ways(source, target).links[stage - 1], time, size))
            else:
                self._leave(event)
                self.leaving[source] -= 1
                if not self.leaving[source]:
                    self._left(source)
        return None

    def _leave(self, event: _Event) -> None:
        """A message leaves its sender's card."""
        time, source, _, _, target, size, _ = event
        out = self.ways(source, target).out
        start = self.queues.take(out, time, size)
        self.gone[source] = max(self.gone[source], start + max(out.gap, size * out.beta))
        self._go_on(event, start)

    def _go_on(self, event: _Event, start: float) -> None:
        """The first byte has passed a station: on to the next link, or to the receiver's card."""
        _, source, number, stage, target, size, content = event
        way = self.ways(source, target)
        if stage < len(way.links):
            heappush(self._flying, (start, source, number, stage + 1, target, size, content))
        else:
            heappush(self._flying, (start + way.alpha, source, number, _ARRIVING, target, size, content))
