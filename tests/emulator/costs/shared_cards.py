"""Closed forms of messages that meet at one card: served whole, one after another, or sharing it packet by packet.

Of k messages of n bytes whose first bytes arrive together, at alpha, the i-th is through at::

    alpha + i n beta      served whole (sharing = "message")
    alpha + k n beta      packet by packet (sharing = "packet"): all at once, when the last one is

What the card has done by then is the same, so that an incast ends at the same time. What waits for the first of several
messages, for a quorum, for a deadline or for a short one beside a long one does not.

Source: processor sharing (Kleinrock, "Queueing Systems", volume 2, 1976, chapter 4), with known sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from emulator.costs.model import ceil_lg
from emulator.costs.servers import check_sharing


def ends(firsts: Sequence[float], sizes: Sequence[float], beta: float, sharing: str = "message") -> list[float]:
    """When each of several messages of different senders has passed a card that they meet at, in seconds.

    Parameters
    ----------
    firsts, sizes : when the first byte of each arrives, in seconds, and its bytes
    beta : seconds per byte of the card
    """
    check_sharing(sharing)
    order = sorted(range(len(firsts)), key=lambda index: (firsts[index], index))
    found = [0.0] * len(order)
    if sharing == "message":
        free = 0.0
        for index in order:
            found[index] = free = max(free, firsts[index]) + sizes[index] * beta
        return found
    time, coming = 0.0, [*order]
    left: dict[int, float] = {}
    while left or coming:
        if not left:
            time = max(time, firsts[coming[0]])
        while coming and firsts[coming[0]] <= time:
            left[coming[0]] = sizes[coming[0]]
            del coming[0]
        least = min(left.values())
        through = time + least * beta * len(left)
        until = min(through, firsts[coming[0]] if coming else math.inf)
        given = least if until == through else (until - time) / (beta * len(left))
        left = {index: size - given for index, size in left.items()}
        for index in [index for index, size in left.items() if until == through and size <= 0]:
            found[index] = until
            del left[index]
        time = until
    return found


def arrived(deadline: float, p: int, n: float, alpha: float, beta: float, sharing: str = "message") -> int:
    """How many of p messages of n bytes that are sent together one receiver has by a deadline, in seconds."""
    check_sharing(sharing)
    if deadline < alpha:
        return 0
    whole = p if not n * beta else min(p, math.floor((deadline - alpha) / (n * beta) * (1 + 1e-12)))
    return whole if sharing == "message" or whole == p else 0


def short_beside_long(n: float, long: float, alpha: float, beta: float, sharing: str = "message") -> float:
    """When n bytes are there that are sent with a longer message of another sender, in seconds."""
    return ends([alpha, alpha], [long, n], beta, sharing)[1]


def binomial_broadcast(p: int, n: float, alpha: float, beta: float, sharing: str = "message") -> float:
    """Time of a broadcast of n bytes down a binomial tree of 2^k ranks, in seconds.

    A rank sends to all its children at once. Packet by packet they share its card, so that even the first of j has all
    its bytes only after j n beta: lg p alpha + lg p (lg p + 1)/2 n beta instead of lg p (alpha + n beta).
    """
    check_sharing(sharing)
    rounds = ceil_lg(p)
    return rounds * alpha + n * beta * (rounds if sharing == "message" else rounds * (rounds + 1) / 2)
