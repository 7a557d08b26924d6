"""The path of a message between two ranks: the cards and shared links that it passes, each a queue.

A message of n bytes that is sent at time t passes one resource after another, each serving one message at a time::

    start = max(t, free)        free  = start + max(gap, n beta)     of the sender's card
    start = max(start, free)    free  = start + n beta               of each link that hosts share
    first = start + alpha
    due   = max(first, free) + n beta = free                         of the receiver's card

A link serves messages in the order in which they come to it; those of one instant by their source.
"""

from __future__ import annotations

import functools
import sys
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
    """The path from one rank to another.

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
        """All cards and links on the path."""
        return (self.out, *self.links, self.into)


class Ways:
    """The paths between all ranks, each made when it is first requested.

    Parameters
    ----------
    make : gives the way from one rank to another
    slowdown : how many times slower the host of a rank computes

    Attributes
    ----------
    between : `make`, with the ways that it has made kept
    """

    def __init__(self, make: Callable[[int, int], Way], slowdown: Callable[[int], float] = lambda rank: 1.0) -> None:
        self.between: Callable[[int, int], Way] = functools.cache(make)
        self.slowdown = slowdown


def alike(alpha: float, beta: float) -> Ways:
    """Equal paths between ranks on hosts of their own."""
    out = functools.cache(lambda rank: Station(("out", rank), beta))
    into = functools.cache(lambda rank: Station(("into", rank), beta))
    return Ways(lambda source, target: Way(alpha, out(source), (), into(target)))


class Queues:
    """The times at which each card or link is free."""

    def __init__(self) -> None:
        self.free: dict[Hashable, float] = {}

    def take(self, station: Station, asked: float, size: float) -> float:
        """Occupy a card or link for `size` bytes from `asked` on; returns the start."""
        start = max(asked, self.free.get(station.name, 0.0))
        self.free[station.name] = start + max(station.gap, size * station.beta)
        return start


_ARRIVES = True
_BEHIND = sys.maxsize  # at one instant links are asked after all ranks
_Event = tuple[float, int, bool, int, int, int, float, Any, Way]
"""When, the rank at whose card (at a link: after them), whether it arrives there, source, number, target, bytes,
the content, at a link with the links that it has passed, and the way."""


class Traffic:
    """Messages under way, followed in the order of time, and at one instant of the ranks at whose cards they are.

    Parameters
    ----------
    ways : the ways between the ranks
    left : called with a rank when all that it has sent has left a card which others use as well
    """

    def __init__(self, ways: Ways, ranks: int, left: Callable[[int], None] = lambda rank: None) -> None:
        self.queues, self.sent = Queues(), 0
        self.gone = [0.0] * ranks  # when the last byte that a rank has sent leaves its card
        self.leaving = [0] * ranks  # messages that wait for a card which others use as well
        self._left, self._way, self._free = left, ways.between, self.queues.free
        self._flying: list[_Event] = []

    def send(self, time: float, source: int, target: int, size: float, content: Any = None) -> None:
        """Send a message from a rank at `time`, which is no earlier than the latest arrival."""
        self.sent += 1
        way = self._way(source, target)
        # What other ranks use as well is taken in the order of time, and a rank's messages leave one after another.
        if way.shared or self.leaving[source]:
            self.leaving[source] += 1
            heappush(self._flying, (time, source, not _ARRIVES, source, self.sent, target, size, content, way))
        else:
            self._leave(time, source, self.sent, target, size, content, way)

    def next(self) -> tuple[float, int, int, Any] | None:
        """The next message to arrive: when its last byte is there, source, target, content; None if none is left."""
        while self._flying:
            time, place, arrives, source, number, target, size, content, way = heappop(self._flying)
            if arrives:
                # As `Queues.take` does, here and in `_leave`: a call less for every card of every message.
                into = way.into
                work = size * into.beta
                start = max(time, self._free.get(into.name, 0.0))
                self._free[into.name] = start + max(into.gap, work)
                return start + work, source, target, content
            if place == _BEHIND:
                self._cross(time, source, number, target, size, content, way)
                continue
            self._leave(time, source, number, target, size, content, way)
            self.leaving[source] -= 1
            if not self.leaving[source]:
                self._left(source)
        return None

    def _leave(
        self, time: float, source: int, number: int, target: int, size: float, content: Any, way: Way
    ) -> None:  # fmt: skip
        """Move a message from its sender's card to the first link or to the receiver's card."""
        out = way.out
        start = max(time, self._free.get(out.name, 0.0))
        free = self._free[out.name] = start + max(out.gap, size * out.beta)
        self.gone[source] = max(self.gone[source], free)
        if way.links:
            heappush(
                self._flying, (start, _BEHIND, not _ARRIVES, source, number, target, size, (content, 0), way)
            )  # fmt: skip
        else:
            heappush(self._flying, (start + way.alpha, target, _ARRIVES, source, number, target, size, content, way))

    def _cross(
        self, now: float, source: int, number: int, target: int, size: float, content: tuple[Any, int], way: Way
    ) -> None:  # fmt: skip
        """Queue a message at its links one after another; where it must wait, it continues when that link serves it."""
        (inner, passed), at = content, now
        while passed < len(way.links) and at <= now:
            at = self.queues.take(way.links[passed], at, size)
            passed += 1
        if passed < len(way.links):
            kept = (at, _BEHIND, not _ARRIVES, source, number, target, size, (inner, passed), way)
            heappush(self._flying, kept)
        else:
            heappush(self._flying, (at + way.alpha, target, _ARRIVES, source, number, target, size, inner, way))
