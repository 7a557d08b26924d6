"""The exact time of a pattern on an idle emulated network of one rank per host.

Rings and lines have a closed form. In trees and folds, where p is no power of two, ranks begin early and what they
send queues at a card: there the messages are followed one by one (`emulator.costs.replay`), and the closed form, which
is still what a fit needs, is within a message or two of it.
"""

from collections.abc import Callable
from functools import partial

from emulator.costs import schedules
from emulator.costs.model import Exact, Terms, is_power_of_two
from emulator.costs.patterns import pattern
from emulator.costs.replay import replay
from emulator.costs.scatter_gather import tree_gather_blocks, tree_scatter_blocks


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


_FOLLOWED: dict[str, Exact] = {
    "recursive_doubling": partial(_replayed, schedules.recursive_doubling),
    "rabenseifner": partial(_replayed, schedules.rabenseifner),
    "tree": partial(_replayed, schedules.tree),
    "k_ary_tree": partial(_replayed, schedules.k_ary_tree),
    "binomial_broadcast": partial(_replayed, schedules.broadcast),
    "binomial_reduce": partial(_replayed, schedules.reduction),
    "binomial_scatter": partial(_blocks, tree_scatter_blocks),
    "binomial_gather": partial(_blocks, tree_gather_blocks),
}


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
    followed = _FOLLOWED.get(name)
    if followed is None or p == 1:
        return _closed(name, p, count, itemsize, alpha, beta, gamma)
    # Of nothing, trees and folds send nothing.
    return followed(p, count, itemsize, alpha, beta, gamma) if count else 0.0


def is_linear(name: str, p: int) -> bool:
    """Whether `exact` is linear in alpha, beta and gamma: then it is the closed form, and a fit recovers them."""
    return name not in _FOLLOWED or p <= 2 or (name != "k_ary_tree" and is_power_of_two(p))


def block_terms(name: str, p: int, count: int, itemsize: int) -> Terms:
    """Terms of the closed form for ``count * itemsize`` bytes in whole elements: what a fit needs for uneven blocks."""
    n = max(1, count * itemsize)
    return Terms(
        _closed(name, p, count, itemsize, 1.0, 0.0, 0.0),
        _closed(name, p, count, itemsize, 0.0, 1.0, 0.0) / n,
        _closed(name, p, count, itemsize, 0.0, 0.0, 1.0) / n,
    )


def _closed(name: str, p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
    one = pattern(name)
    if p == 1:
        return 0.0
    if one.closed is None:
        return one.terms(p).seconds(count * itemsize, alpha, beta, gamma)
    return one.closed(p, count, itemsize, alpha, beta, gamma)
