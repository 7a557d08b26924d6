"""Closed-form cost of every communication pattern, in the Hockney model.

A message of n bytes between two idle ranks takes alpha + beta n seconds; reducing n bytes takes gamma n. A pattern
on p ranks then costs

    T(p, n) = alpha S(p) + beta V(p) n + gamma R(p) n

with S the messages that follow one another, V n the bytes that do, and R n the bytes reduced one after another.
`terms` gives S, V and R; they are what `emulator.fit` fits. The idle emulated network can be faster or slower than
the form: it has no integer fraction of an element, and it lets a sender's messages overlap their latencies.
`exact` gives that time, to the last bit of the model, for one rank per host.

Sources: Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH" (2005);
Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms" (2009); Chan, Heimlich, Purkayastha and van de Geijn,
"Collective communication: theory, practice, and experience" (2007).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emulator.errors import UsageError


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
    """One pattern: its terms, its bus factor, and its exact idle time where the terms are not exact.

    Attributes
    ----------
    terms : callable
        ``terms(p)`` gives the `Terms`.
    bus : callable
        ``bus(p)``: busbw = algbw * bus(p), as nccl-tests defines it: what the links carried.
    exact : callable or None
        ``exact(p, count, itemsize, alpha, beta, gamma)`` in seconds; None where the terms are exact.
    """

    terms: Callable[[int], Terms]
    bus: Callable[[int], float]
    exact: Exact | None = None


def floor_lg(p: int) -> int:
    """Largest k with 2^k <= p."""
    return p.bit_length() - 1


def ceil_lg(p: int) -> int:
    """Smallest k with 2^k >= p."""
    return (p - 1).bit_length()


def is_power_of_two(p: int) -> bool:
    """True for 1, 2, 4, 8, ..."""
    return p & (p - 1) == 0


def _all_reduce_bus(p: int) -> float:
    return 2 * (p - 1) / p


def _one_way_bus(p: int) -> float:
    return (p - 1) / p


def _unit_bus(p: int) -> float:
    return 1.0


def largest_block(count: int, p: int) -> int:
    """Elements in the largest of p nearly equal blocks of `count` elements."""
    return -(-count // p)


# Ring (Patarasuk and Yuan 2009). Every step waits for the block that took longest, so the largest block sets the
# pace of the whole ring: where p does not divide the count, n/p becomes the size of the largest block.


def _ring(p: int) -> Terms:
    return Terms(2 * (p - 1), 2 * (p - 1) / p, (p - 1) / p)


def _ring_reduce_scatter(p: int) -> Terms:
    return Terms(p - 1, (p - 1) / p, (p - 1) / p)


def _ring_all_gather(p: int) -> Terms:
    return Terms(p - 1, (p - 1) / p)


def _blockwise(passes: int, reducing: bool) -> Exact:
    def exact(p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
        block = largest_block(count, p) * itemsize
        return (p - 1) * (passes * (alpha + beta * block) + gamma * block * reducing)

    return exact


# All-reduce by doubling and halving (Thakur, Rabenseifner and Gropp 2005). Where p is no power of two, p - 2^k ranks
# first give their vector to a neighbour and at the end get the result back: two more steps of n bytes.


def _recursive_doubling(p: int) -> Terms:
    rounds = floor_lg(p)
    folds = 0 if is_power_of_two(p) else 1
    return Terms(rounds + 2 * folds, rounds + 2 * folds, rounds + folds)


def _rabenseifner(p: int) -> Terms:
    folds = 0 if is_power_of_two(p) else 1
    share = (p - 1) / p
    return Terms(2 * floor_lg(p) + 2 * folds, 2 * share + 2 * folds, share + folds)


def _rabenseifner_exact(p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
    # The published form writes (p-1)/p where the halving runs among the 2^k ranks that are left after the fold. An odd
    # range is halved unevenly, and the ranks that keep the larger half set the pace: ceil(n / 2^k) elements in step k.
    steps = floor_lg(p)
    folds = 0 if is_power_of_two(p) else 1
    halves = sum(-(-count >> step) for step in range(1, steps + 1)) * itemsize
    whole = count * itemsize
    latencies = 2 * (steps + folds) * alpha
    return latencies + 2 * beta * (halves + folds * whole) + gamma * (halves + folds * whole)


def _tree(p: int) -> Terms:
    return Terms(2 * ceil_lg(p), 2 * ceil_lg(p), ceil_lg(p))


# One root. n counts what each rank ends or begins with for broadcast and reduce, and the total at the root for
# scatter and gather. "linear" lets one transfer follow another; on the emulated network the root posts all of them,
# so only the bytes queue at its port and the latency is paid once.


def _binomial_broadcast(p: int) -> Terms:
    return Terms(ceil_lg(p), ceil_lg(p))


def _binomial_reduce(p: int) -> Terms:
    return Terms(ceil_lg(p), ceil_lg(p), ceil_lg(p))


def _binomial_scatter(p: int) -> Terms:
    return Terms(ceil_lg(p), (p - 1) / p)


def _linear_scatter(p: int) -> Terms:
    return Terms(p - 1, (p - 1) / p)


def _linear_exact(p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
    if p == 1:
        return 0.0
    # The root keeps its own block, the first and hence a largest one.
    return alpha + beta * (count - largest_block(count, p)) * itemsize


PATTERNS: dict[str, Pattern] = {
    "ring": Pattern(_ring, _all_reduce_bus, _blockwise(2, True)),
    "ring_reduce_scatter": Pattern(_ring_reduce_scatter, _one_way_bus, _blockwise(1, True)),
    "ring_all_gather": Pattern(_ring_all_gather, _one_way_bus, _blockwise(1, False)),
    "recursive_doubling": Pattern(_recursive_doubling, _all_reduce_bus),
    "rabenseifner": Pattern(_rabenseifner, _all_reduce_bus, _rabenseifner_exact),
    "tree": Pattern(_tree, _all_reduce_bus),
    "binomial_broadcast": Pattern(_binomial_broadcast, _unit_bus),
    "binomial_reduce": Pattern(_binomial_reduce, _unit_bus),
    "binomial_scatter": Pattern(_binomial_scatter, _unit_bus),
    "binomial_gather": Pattern(_binomial_scatter, _unit_bus),
    "linear_scatter": Pattern(_linear_scatter, _unit_bus, _linear_exact),
    "linear_gather": Pattern(_linear_scatter, _unit_bus, _linear_exact),
}


def pattern(name: str) -> Pattern:
    """Look a pattern up by name.

    Raises
    ------
    UsageError
        There is no formula of that name.
    """
    if name not in PATTERNS:
        raise UsageError(f"a pattern with a cost formula is one of {', '.join(PATTERNS)}, got {name!r}")
    return PATTERNS[name]


def terms(name: str, p: int) -> Terms:
    """S(p), V(p) and R(p) of the pattern `name` on p >= 1 ranks; all zero on one rank."""
    if p < 1:
        raise UsageError(f"a pattern runs on p >= 1 ranks, got {p}")
    return pattern(name).terms(p) if p > 1 else Terms(0, 0)


def seconds(name: str, p: int, n: float, alpha: float, beta: float, gamma: float = 0.0) -> float:
    """Time of the pattern `name` on p ranks for n bytes, by the closed form."""
    return terms(name, p).seconds(n, alpha, beta, gamma)


def exact(name: str, p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float = 0.0) -> float:
    """Time of the pattern on an idle emulated network of one rank per host, in seconds.

    Parameters
    ----------
    name, p
        The pattern and the number of ranks.
    count, itemsize
        Number of elements (n = count * itemsize bytes) and bytes of one.
    alpha, beta, gamma
        Latency of a path in seconds; seconds per byte of its links; seconds per byte reduced.
    """
    idle = pattern(name).exact
    if idle is None or p == 1:
        return seconds(name, p, count * itemsize, alpha, beta, gamma)
    return idle(p, count, itemsize, alpha, beta, gamma)


def exact_terms(name: str, p: int, count: int, itemsize: int) -> Terms:
    """Terms whose time for ``count * itemsize`` bytes is `exact`: what a fit needs where blocks are uneven."""
    n = max(1, count * itemsize)
    return Terms(
        exact(name, p, count, itemsize, 1.0, 0.0, 0.0),
        exact(name, p, count, itemsize, 0.0, 1.0, 0.0) / n,
        exact(name, p, count, itemsize, 0.0, 0.0, 1.0) / n,
    )


def bus_factor(name: str, p: int) -> float:
    """busbw / algbw of the pattern: the share of n that the busiest link carries (nccl-tests' convention)."""
    return pattern(name).bus(p)


def parameter_server(workers: int, shards: int, n: float, alpha: float, beta: float, gamma: float = 0.0) -> float:
    """Time of one push and pull of n bytes between all workers and a sharded server, in seconds.

    Either a server's port carries everything that its shard gets, or a worker's port everything it sends to all
    shards; the slower of the two decides:
    ``max(2 w (alpha + n beta / k) + w n gamma / k, 2 (k alpha + n beta))``. With one shard this is
    ``2 w (alpha + n beta) + w n gamma``.
    """
    if workers < 1 or shards < 1:
        raise UsageError(f"a parameter server has workers >= 1 and shards >= 1, got {workers} and {shards}")
    server = 2 * workers * (alpha + n * beta / shards) + workers * n * gamma / shards
    worker = 2 * (shards * alpha + n * beta)
    return max(server, worker)


def incast(n: float, paths: Sequence[tuple[float, float]]) -> float:
    """Time until one receiver has n bytes from every one of several senders that start together, in seconds.

    The receiver's port takes messages one after another, in the order in which their first bytes arrive. `paths`
    holds (alpha, beta) of each sender's way to it; k equal ones give ``alpha + k n beta``.
    """
    port = 0.0
    for alpha, beta in sorted(paths):
        port = max(port, alpha) + n * beta
    return port


def parameter_server_duplex(
    workers: int, shards: int, n: float, alpha: float, beta: float, gamma: float = 0.0, compute: float = 0.0
) -> float:
    """Time of one synchronous step (push and pull of n bytes) where every port is full duplex, in seconds.

    A server answers worker after worker; the first to be answered pushes while the others are still being answered,
    so that both directions of the servers' ports are busy at once and a latency is paid once each way::

        2 alpha + (w + k) (n/k) beta + w (n/k) gamma + compute

    A server's port carries w pieces of n/k bytes each way, overlapped; filling and draining the pipeline costs a
    worker's own k pieces. Exact on an idle emulated network of one rank per host.
    """
    if workers < 1 or shards < 1:
        raise UsageError(f"a parameter server has workers >= 1 and shards >= 1, got {workers} and {shards}")
    piece = n / shards
    return 2 * alpha + (workers + shards) * piece * beta + workers * piece * gamma + compute


def parameter_server_free(
    workers: int, shards: int, n: float, alpha: float, beta: float, gamma: float = 0.0, compute: float = 0.0
) -> float:
    """Time of one asynchronous step of a worker that waits for nobody, in seconds, ports full duplex.

    Its own round trip, or, when the servers are full, its turn among all: ``max(compute + 2 alpha + (1 + 1/k) n beta +
    (n/k) gamma, w (n/k) max(beta, gamma))``. A lower bound: steps that happen to meet at a server queue there.
    """
    if workers < 1 or shards < 1:
        raise UsageError(f"a parameter server has workers >= 1 and shards >= 1, got {workers} and {shards}")
    alone = compute + 2 * alpha + (shards + 1) / shards * n * beta + n / shards * gamma
    return max(alone, workers * n / shards * max(beta, gamma))


def rumour_rounds(p: int) -> tuple[float, float]:
    """Bounds on the expected rounds of a push rumour among p ranks; each round costs alpha + n beta.

    ``floor(lg p) + ln p - 1.116 <= E <= ceil(lg p) + ln p + 2.765``
    (Doerr and Kuennemann, "Tight analysis of randomized rumor spreading in complete graphs", ANALCO 2014; the upper
    bound up to o(1)).
    """
    if p < 1:
        raise UsageError(f"a rumour spreads among p >= 1 ranks, got {p}")
    return max(0.0, floor_lg(p) + math.log(p) - 1.116), ceil_lg(p) + math.log(p) + 2.765


# Scatter-gather of given blocks and of tasks, on an idle emulated network of one rank per host: a rank's messages
# leave one after another, n beta each, and pay their latencies at the same time; arrivals queue in the same way.


def linear_blocks(blocks: Sequence[float], alpha: float, beta: float) -> float:
    """Time to scatter (or gather) blocks of given bytes, one for each rank, the root's own first, in seconds."""
    return alpha + beta * sum(blocks[1:]) if len(blocks) > 1 else 0.0


def tree_scatter_blocks(blocks: Sequence[float], alpha: float, beta: float) -> float:
    """The same down a binomial tree: every message carries the blocks of a subtree, the largest first.

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
    """Time to gather blocks of given bytes up a binomial tree, the root's own first, in seconds."""

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
    port passes every batch and every report.

    Parameters
    ----------
    batches, workers
        Number of batches, and of workers.
    batch_s
        Seconds of work in a batch.
    down, up
        Bytes of a batch's message, and of its report.
    alpha, beta
        Latency in seconds, seconds per byte.
    prefetch
        Batches that a worker holds beside the one that it works on.
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
    """When an answer comes: all are there, or from the deadline on ``needed`` of them, in seconds.

    Parameters
    ----------
    arrivals
        When each part arrives, in seconds after the request.
    needed
        Parts that make the quorum.
    deadline
        Seconds after the request; infinite for none.
    """
    order = sorted(arrivals)
    if not 0 <= needed <= len(order):
        raise UsageError(f"a quorum is between 0 and all {len(order)} parts, got {needed}")
    enough = order[needed - 1] if needed else 0.0
    return max(enough, min(deadline, order[-1] if order else 0.0))


def straggler_share(p: int, slow: float) -> float:
    """Share of requests to p servers that meet at least one slow server: ``1 - (1 - slow)^p``.

    ``slow`` is the share of a server's answers that are slow (Dean and Barroso, "The Tail at Scale", 2013).
    """
    return 1.0 - (1.0 - slow) ** p
