"""Collectives with terms: all-reduce, reduce-scatter, all-gather, broadcast, reduce, scatter, gather."""

from emulator.costs.model import Exact, Pattern, Terms, ceil_lg, floor_lg, is_power_of_two
from emulator.errors import UsageError


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


def _rabenseifner_closed(p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
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


def _k_ary_tree(p: int, k: int = 4) -> Terms:
    # At most: along the first child of each rank, whose messages all queue at the port that they go through.
    levels, queued, rank = 0, 0, 0
    while children := max(0, min(k, p - 1 - k * rank)):
        levels, queued, rank = levels + 1, queued + children, k * rank + 1
    return Terms(2 * levels, 2 * queued, queued)


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


def _linear_closed(p: int, count: int, itemsize: int, alpha: float, beta: float, gamma: float) -> float:
    if p == 1:
        return 0.0
    # The root keeps its own block, the first and hence a largest one.
    return alpha + beta * (count - largest_block(count, p)) * itemsize


PATTERNS: dict[str, Pattern] = {
    "ring": Pattern(_ring, _all_reduce_bus, _blockwise(2, True)),
    "ring_reduce_scatter": Pattern(_ring_reduce_scatter, _one_way_bus, _blockwise(1, True)),
    "ring_all_gather": Pattern(_ring_all_gather, _one_way_bus, _blockwise(1, False)),
    "recursive_doubling": Pattern(_recursive_doubling, _all_reduce_bus),
    "rabenseifner": Pattern(_rabenseifner, _all_reduce_bus, _rabenseifner_closed),
    "tree": Pattern(_tree, _all_reduce_bus),
    "k_ary_tree": Pattern(_k_ary_tree, _all_reduce_bus),
    "binomial_broadcast": Pattern(_binomial_broadcast, _unit_bus),
    "binomial_reduce": Pattern(_binomial_reduce, _unit_bus),
    "binomial_scatter": Pattern(_binomial_scatter, _unit_bus),
    "binomial_gather": Pattern(_binomial_scatter, _unit_bus),
    "linear_scatter": Pattern(_linear_scatter, _unit_bus, _linear_closed),
    "linear_gather": Pattern(_linear_scatter, _unit_bus, _linear_closed),
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


def work(name: str, p: int) -> Terms:
    """Messages, bytes and reductions of an all-reduce, of all ranks together and whether one after another or not.

    Where p ranks share c < p cores, every message costs some core's time, and the pattern takes at least
    ``work.seconds(n, ...) / c`` with the processor time of each as alpha, beta and gamma.

    Parameters
    ----------
    name
        An all-reduce: ring, recursive_doubling, rabenseifner, tree or k_ary_tree.
    p
        Ranks.
    """
    k = floor_lg(p)
    places, outside = 1 << k, p - (1 << k)
    trees, folds = 2 * (p - 1), 2 * outside
    found = {
        "ring": Terms(p * trees, trees, p - 1),
        "recursive_doubling": Terms(places * k + folds, places * k + folds, places * k + outside),
        "rabenseifner": Terms(2 * places * k + folds, 2 * (places - 1) + folds, places - 1 + outside),
        "tree": Terms(trees, trees, p - 1),
        "k_ary_tree": Terms(trees, trees, p - 1),
    }
    if name not in found:
        raise UsageError(f"an all-reduce whose work is known is one of {', '.join(found)}, got {name!r}")
    return found[name]


def bus_factor(name: str, p: int) -> float:
    """busbw / algbw of the pattern: the share of n that the busiest link carries (nccl-tests' convention)."""
    return pattern(name).bus(p)
