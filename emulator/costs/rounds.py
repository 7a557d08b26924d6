"""Cost of patterns that come in rounds, gossip and federated averaging, on a network of one rank per host.

All messages of a rank leave its card one after another, travel at the same time, and queue at the receiver's card:
a round in which everybody sends d messages of n bytes, laid out so that the k-th ones form a permutation, takes
alpha + d n beta, whatever the number of ranks. Where messages meet at a receiver or ranks run ahead of each other
(a star, a rumour) there is no such form; `timeline` follows the messages one by one instead.

Sources: the time of a message is Hockney's, with a card each way; the rounds of gossip: Xiao and Boyd (2004); of push
rumours: Doerr and Kuennemann (ANALCO 2014), in `costs.rumour_rounds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emulator.costs.replay import Receive, Send, Step, replay

Sends = Sequence[Sequence[tuple[int, int]]]
"""One round: for every rank, its messages (receiver, bytes) in the order in which they leave."""


def gossip_round(degree: int, n: float, alpha: float, beta: float) -> float:
    """Time of a round of `degree` messages of n bytes from every rank: ``alpha + degree n beta`` (0 for none)."""
    return alpha + degree * n * beta if degree else 0.0


def gossip(degrees: Iterable[int], n: float, alpha: float, beta: float) -> float:
    """Time of rounds with these degrees, one after another."""
    return sum(gossip_round(degree, n, alpha, beta) for degree in degrees)


def federated_round(clients: int, n: float, alpha: float, beta: float, training: float = 0.0) -> float:
    """Time of a federated round: ``2 alpha + (clients + 1) n beta + training``.

    The server's card sends one model after another; the k-th client answers k models later, just when the card has
    taken in the (k-1)-th answer.

    Parameters
    ----------
    n
        Bytes of a model with its header.
    training
        Seconds that each client computes.
    """
    return 2 * alpha + (clients + 1) * n * beta + training if clients else 0.0


def timeline(rounds: Iterable[Sends], alpha: float, beta: float, gap: float = 0.0) -> float:
    """Time until the last rank has finished all rounds, following every message; each rank waits for its receives.

    Parameters
    ----------
    rounds
        What is sent in each round; a rank begins its next round when everything sent to it in this one is there.
    gap
        Least time between two messages that leave one card, in seconds.
    """
    programs: list[list[Step]] = []
    for sends in rounds:
        programs = programs or [[] for _ in sends]
        for source, messages in enumerate(sends):
            programs[source] += [Send(target, n) for target, n in messages]
        for source, messages in enumerate(sends):
            for target, _ in messages:
                programs[target].append(Receive(source))
    return max(replay(programs, alpha, beta, gap=gap), default=0.0)
