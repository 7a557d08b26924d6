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
    "recursive_doubling": Pattern(_recursive_doubling, _all_reduce_bus, known=is_power_of_two),
    "rabenseifner": Pattern(_rabenseifner, _all_reduce_bus, _rabenseifner_exact, is_power_of_two),
    "tree": Pattern(_tree, _all_reduce_bus, known=is_power_of_two),
    "binomial_broadcast": Pattern(_binomial_broadcast, _unit_bus, known=is_power_of_two),
    "binomial_reduce": Pattern(_binomial_reduce, _unit_bus, known=is_power_of_two),
    "binomial_scatter": Pattern(_binomial_scatter, _unit_bus, known=is_power_of_two),
    "binomial_gather": Pattern(_binomial_scatter, _unit_bus, known=is_power_of_two),
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


def exact_is_known(name: str, p: int) -> bool:
    """Whether `exact` holds to the last bit for the pattern on p ranks."""
    return pattern(name).known(p)


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
