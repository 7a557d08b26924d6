"""Rates of messages that share cards and links: max-min fair, recomputed at each change.

Source: Bertsekas and Gallager, "Data Networks" (1992), section 6.5.2, max-min fair rates by filling.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

Key = tuple[int, int]
"""A message: the rank that sends it, and its token."""
Piece = tuple[float, float, float]
"""From, until, and bytes per second in between."""

_NOTHING = 1e-9  # share of a card that rounding leaves


class Flight:
    """A message that is under way.

    Attributes
    ----------
    key, destination : which message, and the rank that it goes to
    first, size : when its first byte is at the receiver's card, at the earliest; its bytes
    most : bytes per second that it gets when alone
    uses : the resources on its way, by number
    due : when its last byte is there as far as is known; None while that is not worked out
    pieces : its rate up to then
    """

    __slots__ = ("destination", "due", "first", "key", "most", "pieces", "size", "uses")

    def __init__(self, key: Key, destination: int, first: float, size: float, most: float, uses: Sequence[int]) -> None:
        self.key, self.destination, self.first, self.size = key, destination, first, size
        self.most, self.uses = most, uses
        self.due: float | None = None
        self.pieces: list[Piece] = []

    @property
    def stream(self) -> tuple[int, int]:
        """The ranks that the message goes from and to."""
        return self.key[0], self.destination


class FluidModel:
    """The messages that share one group of resources, followed through time.

    Attributes
    ----------
    time : emulated time (s) up to which they have been followed
    """

    def __init__(self, capacity: Sequence[float], through: dict[int, list[Piece]]) -> None:
        self.capacity, self.through = capacity, through
        self.edges = sorted({edge for pieces in through.values() for piece in pieces for edge in piece[:2]})
        self.left: dict[Key, float] = {}
        self.time = 0.0

    def step(self, time: float, following: float, active: Sequence[Flight]) -> list[Flight]:
        """Advance from `time` to the next change, at most to `following`; returns the messages that end there."""
        left, ends = self.left, {}
        rates = max_min(active, self._spare(time, active))
        for each in active:
            rate, remains = rates[each.key], left.get(each.key, each.size)
            if remains <= 0 or rate == math.inf:
                ends[each.key] = time
            elif rate > 0:
                ends[each.key] = time + remains / rate
        after = bisect_right(self.edges, time)
        edge = self.edges[after] if after < len(self.edges) else math.inf
        self.time = until = min([*ends.values(), following, edge])
        ended = []
        for each in active:
            rate = rates[each.key]
            if until > time and rate > 0:
                _lengthen(each.pieces, time, until, rate)
            if ends.get(each.key) == until:
                ended.append(each)
            elif rate < math.inf:
                left[each.key] = left.get(each.key, each.size) - rate * (until - time)
        return ended

    def _spare(self, time: float, active: Sequence[Flight]) -> dict[int, float]:
        """Bytes per second that finished messages leave free of each resource at a time."""
        spare = {}
        for use in {use for each in active for use in each.uses}:
            whole = self.capacity[use]
            free = whole - sum(rate for begin, until, rate in self.through[use] if begin <= time < until)
            spare[use] = free if whole == math.inf or free > whole * _NOTHING else 0.0
        return spare


def _lengthen(pieces: list[Piece], begin: float, until: float, rate: float) -> None:
    """Record a rate, or extend the last record if it continues."""
    if pieces and pieces[-1][1:] == (begin, rate):
        pieces[-1] = pieces[-1][0], until, rate
    else:
        pieces.append((begin, until, rate))


def max_min(flights: Sequence[Flight], spare: dict[int, float]) -> dict[Key, float]:
    """Divide each resource's free bandwidth (B/s) fairly among the messages that use it."""
    rates: dict[Key, float] = {}
    users: defaultdict[int, int] = defaultdict(int)
    for flight in flights:
        for use in flight.uses:
            users[use] += 1
    rest = list(flights)
    while rest:
        shares = {use: spare[use] / users[use] for use in {use for each in rest for use in each.uses}}
        least = min([*shares.values(), *(each.most for each in rest)])
        fixed = [each for each in rest if each.most <= least or any(shares[use] <= least for use in each.uses)]
        for each in fixed:
            rates[each.key] = least
            for use in each.uses:
                users[use] -= 1
                spare[use] = max(0.0, spare[use] - least) if least < math.inf else spare[use]
        rest = [each for each in rest if each.key not in rates]
    return rates
