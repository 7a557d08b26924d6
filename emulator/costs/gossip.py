"""Cost of patterns in rounds (gossip, push-sum, rumours) on a network of one rank per host.

All messages of a rank leave its card one after another, travel at the same time, and queue at the receiver's card:
a round in which every rank sends d messages of n bytes, laid out so that the k-th ones form a permutation, takes
alpha + d n beta, whatever the number of ranks. Where messages meet at a receiver or ranks run ahead of each other
(a star, a rumour) there is no such form; `timeline` follows the messages one by one instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from emulator.costs.model import Pattern, Terms, ceil_lg, floor_lg
from emulator.costs.replay import Receive, Send, Step, replay
from emulator.errors import UsageError

Sends = Sequence[Sequence[tuple[int, int]]]
"""One round: for every rank, its messages (receiver, bytes) in the order in which they leave."""


def _gossip(p: int, degrees: Sequence[int], waits: bool) -> Terms:
    return Terms(sum(degree > 0 for degree in degrees) if waits else 0, sum(degrees))


def rumour_rounds(p: int) -> tuple[float, float]:
    """Bounds on the expected rounds of a push rumour among p ranks; each round costs alpha + n beta.

    ``floor(lg p) + ln p - 1.116 <= E <= ceil(lg p) + ln p + 2.765``
    (Doerr and Kuennemann, "Tight analysis of randomized rumor spreading in complete graphs", ANALCO 2014; the upper
    bound up to o(1)).
    """
    if p < 1:
        raise UsageError(f"a rumour spreads among p >= 1 ranks, got {p}")
    return max(0.0, floor_lg(p) + math.log(p) - 1.116), ceil_lg(p) + math.log(p) + 2.765


def _rumour(p: int) -> Terms:
    rounds = rumour_rounds(p)[1] if p > 1 else 0.0
    return Terms(rounds, rounds)


def timeline(rounds: Iterable[Sends], alpha: float, beta: float) -> float:
    """Time in seconds until the last rank has finished all rounds, following every message.

    A rank begins its next round when all that was sent to it in this one has arrived.
    """
    programs: list[list[Step]] = []
    for sends in rounds:
        programs = programs or [[] for _ in sends]
        for source, messages in enumerate(sends):
            programs[source] += [Send(target, n) for target, n in messages]
        for source, messages in enumerate(sends):
            for target, _ in messages:
                programs[target].append(Receive(source))
    return max(replay(programs, alpha, beta), default=0.0)


def _same(volume: float) -> tuple[float, float]:
    return volume, volume


GOSSIP = Pattern(
    "gossip",
    "sum over rounds of alpha + d n beta, d messages of a rank in the round; without waiting for neighbours no alpha",
    "Xiao and Boyd (2004)",
    _gossip, lambda p, degrees, waits: _same(sum(degrees)), {"degrees": (1,), "waits": True},
)  # fmt: skip

ONE_PEER = Pattern(
    "one_peer_gossip",
    "ceil(lg p) (alpha + n beta): exact averages for p = 2^k",
    "Ying et al., Exponential graph is provably efficient for decentralized deep training (2021)",
    lambda p: Terms(ceil_lg(p), ceil_lg(p)), lambda p: _same(ceil_lg(p)),
)  # fmt: skip

PUSH_SUM = Pattern(
    "push_sum",
    "rounds (alpha + n beta), n the bytes of a sum and its weight",
    "Kempe, Dobra and Gehrke (FOCS 2003)",
    lambda p, rounds: Terms(rounds, rounds), lambda p, rounds: _same(rounds), {"rounds": 1},
)  # fmt: skip

RUMOUR = Pattern(
    "rumour",
    "at most (ceil(lg p) + ln p + 2.765) (alpha + n beta), as expected value",
    "Doerr and Kuennemann (ANALCO 2014)",
    _rumour, lambda p: _same(_rumour(p).volume),
)  # fmt: skip
