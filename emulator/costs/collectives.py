"""Cost formulas of all-reduce, reduce-scatter, all-gather, broadcast, reduce, scatter and gather."""

from collections.abc import Callable
from functools import partial
from typing import Any

from emulator.costs import schedules
from emulator.costs.model import THAKUR, Collective, Exact, Terms, ceil_lg, floor_lg, is_power_of_two
from emulator.costs.replay import replay
from emulator.costs.scatter_gather import tree_gather_blocks, tree_scatter_blocks
from emulator.errors import Registry

_PATARASUK = "Patarasuk and Yuan (2009)"
_CHAN = "Chan, Heimlich, Purkayastha and van de Geijn (2007)"


def largest_block(count: int, p: int) -> int:
    """Elements in the largest of p nearly equal blocks of `count` elements."""
    return -(-count // p)


# The largest block sets the pace of a whole ring: where p does not divide the count, n/p becomes its size.


def _blockwise(passes: int, reducing: bool) -> Exact:
    def exact(p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
        block = largest_block(count, p) * itemsize
        return (p - 1) * (passes * (alpha + beta * block) + gamma * block * reducing)

    return exact


def _folds(p: int) -> int:
    """1 where p is no power of two, so that p - 2^k ranks first give their vector to a neighbour; else 0."""
    return 0 if is_power_of_two(p) else 1


def _doubling(p: int) -> Terms:
    rounds, folds = floor_lg(p), _folds(p)
    return Terms(rounds + 2 * folds, rounds + 2 * folds, rounds + folds)


def _rabenseifner(p: int) -> Terms:
    folds, share = _folds(p), (p - 1) / p
    return Terms(2 * floor_lg(p) + 2 * folds, 2 * share + 2 * folds, share + folds)


def _rabenseifner_closed(p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
    # The published form writes (p-1)/p where the halving runs among the 2^k ranks that are left after the fold. An odd
    # range is halved unevenly, and the ranks that keep the larger half set the pace: ceil(n / 2^k) elements in step k.
    steps, folds = floor_lg(p), _folds(p)
    halves = sum(-(-count >> step) for step in range(1, steps + 1)) * itemsize
    moved = halves + folds * count * itemsize
    return 2 * (steps + folds) * alpha + (2 * beta + gamma) * moved


def _tree(p: int) -> Terms:
    return Terms(2 * ceil_lg(p), 2 * ceil_lg(p), ceil_lg(p))


def _k_ary_tree(p: int, k: int = 4) -> Terms:
    # At most: along the first child of each rank, whose messages all queue at the port that they go through.
    levels, queued, rank = 0, 0, 0
    while children := max(0, min(k, p - 1 - k * rank)):
        levels, queued, rank = levels + 1, queued + children, k * rank + 1
    return Terms(2 * levels, 2 * queued, queued)


def _linear_closed(p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
    # The root keeps its own block, the first and hence a largest one.
    return alpha + beta * (count - largest_block(count, p)) * itemsize


def _replayed(
    schedule: schedules.Schedule, p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float
) -> float:
    return max(replay(schedule(p, count, itemsize), alpha, beta, gamma))


def _blocks(
    tree: Callable[[list[float], float, float], float],
    p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float,
) -> float:  # fmt: skip
    size, longer = divmod(count, p)
    return tree([(size + (rank < longer)) * itemsize for rank in range(p)], alpha, beta)


# Messages, bytes and reductions of an all-reduce, of all ranks together, in sequence or not.


def _ring_work(p: int) -> Terms:
    return Terms(2 * p * (p - 1), 2 * (p - 1), p - 1)


def _doubling_work(p: int) -> Terms:
    k = floor_lg(p)
    outside = p - (1 << k)
    return Terms((k << k) + 2 * outside, (k << k) + 2 * outside, (k << k) + outside)


def _rabenseifner_work(p: int) -> Terms:
    k = floor_lg(p)
    places, outside = 1 << k, p - (1 << k)
    return Terms(2 * places * k + 2 * outside, 2 * (places - 1) + 2 * outside, places - 1 + outside)


def _tree_work(p: int) -> Terms:
    return Terms(2 * (p - 1), 2 * (p - 1), p - 1)


def _entry(
    name: str, formula: str, source: str, chain: Callable[[int], Terms], out: Callable[[int], float] | None = None,
    **more: Any,
) -> Collective:  # fmt: skip
    """A registry entry of a collective whose busiest card passes V n bytes, or `out(p)` n."""

    def terms(p: int, **_: Any) -> Terms:
        return chain(p) if p > 1 else Terms(0, 0)

    def traffic(p: int, **_: Any) -> tuple[float, float]:
        share = 0.0 if p == 1 else chain(p).volume if out is None else out(p)
        return share, share

    return Collective(name, formula, source, terms, traffic, **more)


def _all_reduce(
    *entry: Any, work: Callable[[int], Terms], schedule: schedules.Schedule, meets: bool = True, **more: Any
) -> Collective:
    """A registry entry of an all-reduce; where ranks share `cores` (0: each has one), all `work` is done on them.

    `meets`: on some p its messages meet at a card, so that its exact time is that of its schedule.
    """

    def shared(p: int, cores: int) -> list[Terms]:
        return [work(p).times(1 / cores)] if cores else []

    bus = lambda p: 2 * (p - 1) / p  # noqa: E731
    followed = partial(_replayed, schedule) if meets else None
    return _entry(*entry, options={"cores": 0}, shared=shared, bus=bus, followed=followed, schedule=schedule, **more)


def _share(p: int) -> float:
    return (p - 1) / p


# n is what each rank begins or ends with; the total at the root for scatter and gather. "linear" lets one transfer
# follow another; on the emulated network the root posts all of them, so only the bytes queue at its card and the
# latency is paid once. Of a tree, the root's card passes the most.
COLLECTIVES = Registry(
    "a pattern that is a collective",
    _all_reduce("ring", "2 (p-1) alpha + 2 (p-1)/p n beta + (p-1)/p n gamma", _PATARASUK,
                lambda p: Terms(2 * (p - 1), 2 * _share(p), _share(p)), closed=_blockwise(2, True), work=_ring_work,
                schedule=schedules.ring, meets=False, neighbours=True),
    _entry("ring_reduce_scatter", "(p-1) alpha + (p-1)/p n (beta + gamma)", _PATARASUK,
           lambda p: Terms(p - 1, _share(p), _share(p)), bus=_share, closed=_blockwise(1, True)),
    _entry("ring_all_gather", "(p-1) alpha + (p-1)/p n beta", _PATARASUK, lambda p: Terms(p - 1, _share(p)),
           bus=_share, closed=_blockwise(1, False)),
    _all_reduce("recursive_doubling", "lg p (alpha + n beta + n gamma); other p: + 2 (alpha + n beta) + n gamma",
                THAKUR, _doubling, work=_doubling_work, schedule=schedules.recursive_doubling),
    _all_reduce("rabenseifner", "2 lg p alpha + 2 (p-1)/p n beta + (p-1)/p n gamma; other p: + 2 (alpha + n beta) "
                "+ n gamma", THAKUR, _rabenseifner, closed=_rabenseifner_closed, work=_rabenseifner_work,
                schedule=schedules.rabenseifner),
    _all_reduce("tree", "2 ceil(lg p) (alpha + n beta) + ceil(lg p) n gamma", _CHAN, _tree, ceil_lg,
                work=_tree_work, schedule=schedules.tree),
    _all_reduce("k_ary_tree", "2 d (alpha + 4 n beta) + 4 d n gamma, d levels, at most", _CHAN, _k_ary_tree,
                lambda p: min(4, p - 1), work=_tree_work, schedule=schedules.k_ary_tree, queues=True),
    _entry("binomial_broadcast", "ceil(lg p) (alpha + n beta)", THAKUR, lambda p: Terms(ceil_lg(p), ceil_lg(p)),
           followed=partial(_replayed, schedules.broadcast)),
    _entry("binomial_reduce", "ceil(lg p) (alpha + n beta + n gamma)", THAKUR,
           lambda p: Terms(ceil_lg(p), ceil_lg(p), ceil_lg(p)), followed=partial(_replayed, schedules.reduction)),
    _entry("binomial_scatter", "ceil(lg p) alpha + (p-1)/p n beta", THAKUR, lambda p: Terms(ceil_lg(p), _share(p)),
           followed=partial(_blocks, tree_scatter_blocks)),
    _entry("binomial_gather", "ceil(lg p) alpha + (p-1)/p n beta", THAKUR, lambda p: Terms(ceil_lg(p), _share(p)),
           followed=partial(_blocks, tree_gather_blocks)),
    _entry("linear_scatter", "(p-1) alpha + (p-1)/p n beta", THAKUR, lambda p: Terms(p - 1, _share(p)),
           closed=_linear_closed),
    _entry("linear_gather", "(p-1) alpha + (p-1)/p n beta", THAKUR, lambda p: Terms(p - 1, _share(p)),
           closed=_linear_closed),
)  # fmt: skip

ALL_REDUCES = {name: entry.schedule for name, entry in COLLECTIVES.items() if entry.schedule is not None}
"""Every rank's program of each all-reduce, by its name."""
