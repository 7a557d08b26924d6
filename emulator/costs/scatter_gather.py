"""Cost of scatter-gather: of given blocks, requests and tasks, with stragglers and deadlines.

On an idle emulated network of one rank per host a rank's messages leave one after another, n beta each, and pay their
latencies at the same time; arrivals queue in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.costs import waiting
from emulator.costs.model import Pattern, Price, Terms, ceil_lg
from emulator.errors import UsageError


def linear_blocks(blocks: Sequence[float], alpha: float, beta: float, egress: float | None = None) -> float:
    """Time to scatter (or gather) blocks of given bytes, one for each rank, the root's own first, in seconds.

    From the rules of the emulated network: blocks leave the root's card one after another and pay their latency
    together, so the last one begins when the others have left, and takes the path's time itself. In a gather all begin
    at once, and queue at the root's card.

    Parameters
    ----------
    egress : of a scatter: seconds per byte of the root's card, where it is quicker than the paths (a wide-area
        network); absent: `beta`
    """
    if len(blocks) < 2:
        return 0.0
    return alpha + (beta if egress is None else egress) * sum(blocks[1:-1]) + beta * blocks[-1]


def tree_scatter_blocks(blocks: Sequence[float], alpha: float, beta: float) -> float:
    """Time to scatter blocks of given bytes down a binomial tree, in seconds: every message carries a subtree's blocks.

    For p = 2^k equal blocks this is ``lg p alpha + (p-1)/p n beta`` (Thakur, Rabenseifner and Gropp 2005).
    """

    def finish(node: int, end: int, ready: float) -> float:
        last = ready
        while end - node > 1:
            child = node + (1 << ceil_lg(end - node) - 1)
            ready += beta * sum(blocks[child:end])
            last = max(last, finish(child, end, ready + alpha))
            end = child
        return last

    return finish(0, len(blocks), 0.0)


def tree_gather_blocks(blocks: Sequence[float], alpha: float, beta: float) -> float:
    """Time to gather blocks of given bytes up a binomial tree, the root's own first, in seconds.

    For p = 2^k equal blocks as `tree_scatter_blocks`; otherwise a node's subtrees are taken in the order in which their
    messages arrive at its card.
    """

    def complete(node: int, end: int) -> float:
        subtrees, free = [], 0.0
        while end - node > 1:
            child = node + (1 << ceil_lg(end - node) - 1)
            subtrees.append((complete(child, end) + alpha, sum(blocks[child:end])))
            end = child
        for first, size in sorted(subtrees):
            free = max(free, first) + beta * size
        return free

    return complete(0, len(blocks))


def dynamic_tasks(
    batches: int, workers: int, batch_s: float, down: float, up: float, alpha: float, beta: float, prefetch: int = 1
) -> float:
    """Time for a coordinator to have equal batches of tasks run by workers that pull them, in seconds.

    A worker's cycle is ``2 alpha + (down + up) beta + batch_s``. With ``prefetch`` further batches on their way it
    works without a pause if the cycle is no longer than the work that it holds. In either case the coordinator's
    port passes every batch and every report. Derived here: the saturation bound of a closed queueing network, the port
    one of its stations, with ``prefetch + 1`` customers for each worker (Denning and Buzen 1978, operational analysis).

    Parameters
    ----------
    batches, workers : number of batches, and of workers
    batch_s : seconds of work in a batch
    down, up : bytes of a batch's message, and of its report
    alpha, beta : latency in seconds, seconds per byte
    prefetch : batches that a worker holds beside the one that it works on
    """
    if workers < 1 or batches < 0 or prefetch < 0:
        raise UsageError(
            f"tasks need workers >= 1, batches >= 0 and prefetch >= 0, got {workers}, {batches} and {prefetch}"
        )
    if batches == 0:
        return 0.0
    cycle = 2 * alpha + (down + up) * beta + batch_s
    port = workers * max(down, up) * beta
    pause = max(batch_s, cycle / (prefetch + 1), port)
    rounds = -(-batches // workers)
    offset = (batches - 1) % workers * max(down, up) * beta  # the last worker is served last in every round
    return (rounds - 1) * pause + cycle + offset


def answer_time(arrivals: Sequence[float], needed: int, deadline: float) -> float:
    """Seconds until an answer: all have answered, or from the deadline on ``needed`` of them.

    An order statistic: the ``needed``-th arrival, not before the deadline, not after the last one (the "good enough"
    answers of Dean and Barroso, "The Tail at Scale", 2013).

    Parameters
    ----------
    arrivals : when each part arrives, in seconds after the request
    needed : parts that make the quorum
    deadline : seconds after the request; infinite for none
    """
    order = sorted(arrivals)
    if not 0 <= needed <= len(order):
        raise UsageError(f"a quorum is between 0 and all {len(order)} parts, got {needed}")
    enough = order[needed - 1] if needed else 0.0
    return max(enough, min(deadline, order[-1] if order else 0.0))


def _requests(p: int, request: float, **_: Any) -> Terms:
    # The k-th rank has its request k messages after the first, so its answer finds the card just free, unless
    # requests are the longer messages.
    return Terms(2, min(request, 1.0) + p * max(request, 1.0))


@dataclass(frozen=True, eq=False)
class Requests(Pattern):
    """A request to each of p ranks and their answers; the slowest awaited rank sets the time."""

    def price(
        self, alpha: float, beta: float, gamma: float, p: Any, n: float, *, compute: float = 0.0, **options: Any
    ) -> Price:
        """Price a request; it includes the wait for ranks whose `compute` exceeds the mean. See `Pattern.price`."""
        chosen = self.chosen(options)
        base = super().price(alpha, beta, gamma, p, n, compute=compute, **options)
        factor = waiting.slowest(p, chosen["spread"], quorum=chosen["quorum"], backup=chosen["backup"])
        extra = np.minimum(compute * (factor - 1), max(0.0, chosen["deadline"]))
        return Price(base.latency, base.bandwidth, base.reduction, extra, base.sent, base.port)


SCATTER_GATHER = Requests(
    "scatter_gather",
    "2 alpha + (min(r, 1) + p max(r, 1)) n beta, n bytes of an answer and r n of a request; the answer waits for the "
    "q-th of p ranks, or for the deadline",
    "derived here; Dean and Barroso (2013) for quorum and backup requests",
    _requests, lambda p, request, **_: (1.0, p * max(request, 1.0)),
    {"request": 1.0, "spread": 0.0, "quorum": 1.0, "backup": False, "deadline": float("inf")},
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tasks(Pattern):
    """Batches of tasks that p ranks pull from a coordinator."""

    def price(
        self, alpha: float, beta: float, gamma: float, p: Any, n: float, *, compute: float = 0.0, **options: Any
    ) -> Price:
        """Price all batches together; `compute` is that of one batch and not part of the price. See `Pattern.price`."""
        chosen = self.chosen(options)
        batches, down = chosen["batches"], chosen["request"] * n
        took = [dynamic_tasks(batches, int(w), compute, down, n, alpha, beta, chosen["prefetch"]) for w in _each(p)]
        busy = [-(-batches // int(w)) * compute for w in _each(p)]
        rest = [max(0.0, t - b - 2 * alpha - (down + n) * beta) for t, b in zip(took, busy, strict=True)]
        per_rank = [batches / int(w) * max(down, n) for w in _each(p)]
        return Price(2 * alpha, (down + n) * beta, 0.0, _like(p, rest), _like(p, per_rank), batches * max(down, n))


def _each(p: Any) -> list[Any]:
    return p.tolist() if isinstance(p, np.ndarray) else [p]


def _like(p: Any, values: list[float]) -> Any:
    return np.array(values) if isinstance(p, np.ndarray) else values[0]


TASKS = Tasks(
    "tasks",
    "(ceil(b/p) - 1) max(work, cycle / (prefetch + 1), p n beta) + cycle + ((b-1) mod p) n beta, with "
    "cycle = 2 alpha + (1 + r) n beta + work",
    "Denning and Buzen (1978), operational analysis",
    lambda p, batches, request, prefetch: Terms(2, 1 + request), lambda p, batches, request, prefetch: (1.0, batches),
    {"batches": 1, "request": 1.0, "prefetch": 1},
)  # fmt: skip
