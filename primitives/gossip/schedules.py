"""Graphs that change from round to round: one partner at a time, and exact averages in finitely many rounds.

    one-peer exponential, p = 8          base graph, p = 8           base graph, p = 5, degree 1
    round 0: i -> i + 1                  i <-> i xor 1               {0,1} {2,3}        4
    round 1: i -> i + 2                  i <-> i xor 2               {0,2} {1,3}        4
    round 2: i -> i + 4                  i <-> i xor 4               0 -- 4 with weight 4/5
    then every rank holds the mean       the same (a hypercube)      {0,1} {2,3}, {0,2} {1,3}

A schedule is a list of `Mixing`, used round robin. Every round here is doubly stochastic and every rank sends at
most `degree` messages in it, so a round costs alpha + degree n beta whatever p is.

Sources: one-peer exponential: Assran et al. (ICML 2019), exactness for p = 2^k: Ying et al., "Exponential graph is
provably efficient for decentralized deep training" (NeurIPS 2021). Base graph: Takezawa, Sato, Bao, Niwa and
Yamada, "Beyond exponential graph" (NeurIPS 2023), algorithms 1 to 3. Random matchings: Boyd, Ghosh, Prabhakar and
Shah, "Randomized gossip algorithms" (2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from emulator.errors import UsageError
from primitives.gossip.graphs import Graph, by_distance
from primitives.gossip.mixing import Mixing

Edges = list[tuple[int, int, float]]
"""Two-way edges (i, j, w_ij) of one round."""


def one_peer_exponential(p: int) -> list[Mixing]:
    """In round k send to i + 2^k and halve: exact after lg p rounds when p is a power of two, else in the limit."""
    schedule = []
    for k in range(max(1, (p - 1).bit_length()) if p > 1 else 0):
        step = 1 << k
        graph = Graph(f"one-peer exponential, step {step}", tuple(((i + step) % p,) for i in range(p)))
        schedule.append(Mixing(graph, tuple({i: 0.5, (i - step) % p: 0.5} for i in range(p))))
    return schedule


def base_graph(p: int, degree: int = 1) -> list[Mixing]:
    """Exact averaging for any p: at most `degree` messages per rank and round, O(log_{degree+1} p) rounds.

    Write p = m q with q free of prime factors <= degree + 1. Average inside each of m groups of q (`_simple`), then
    across the groups (`_hyper_hypercube`); or run `_simple` on all of p. The shorter of the two is returned.

    Raises
    ------
    UsageError
        `degree` is below 1.
    """
    if degree < 1:
        raise UsageError(f"the degree of a base graph is at least 1, got {degree}")
    ranks = list(range(p))
    plain = _simple(ranks, degree + 1)
    m = _smooth_part(p, degree + 1)
    q = p // m
    grouped = _parallel([_simple(ranks[g * q : (g + 1) * q], degree + 1) for g in range(m)])
    grouped += _parallel([_hyper_hypercube(ranks[k::q], degree + 1) for k in range(q)])
    rounds = min(plain, grouped, key=len)
    return [_round(p, edges, f"base-{degree + 1} graph, round {k}") for k, edges in enumerate(rounds)]


def _round(p: int, edges: Edges, name: str) -> Mixing:
    weights: list[dict[int, float]] = [{} for _ in range(p)]
    for i, j, weight in edges:
        weights[i][j] = weights[j][i] = weight
    neighbours = tuple(by_distance(i, row, p) for i, row in enumerate(weights))
    rows = tuple(row | {i: 1 - math.fsum(row.values())} for i, row in enumerate(weights))
    return Mixing(Graph(name, neighbours), rows)


def _parallel(schedules: Sequence[list[Edges]]) -> list[Edges]:
    """Run schedules on disjoint ranks at the same time; the shorter ones idle at the end."""
    longest = max(map(len, schedules), default=0)
    return [[edge for s in schedules if k < len(s) for edge in s[k]] for k in range(longest)]


@lru_cache(maxsize=1024)
def _factors(n: int, largest: int) -> tuple[int, ...] | None:
    """Shortest product of factors <= `largest` that makes n, or None."""
    if n == 1:
        return ()
    best: tuple[int, ...] | None = None
    for factor in range(min(n, largest), 1, -1):
        if n % factor == 0:
            rest = _factors(n // factor, largest)
            if rest is not None and (best is None or len(rest) + 1 < len(best)):
                best = (factor, *rest)
    return best


def _smooth_part(n: int, largest: int) -> int:
    """Largest divisor of n whose prime factors are all <= `largest`."""
    smooth = 1
    for prime in range(2, largest + 1):  # a composite finds nothing left to divide
        while n % prime == 0:
            n, smooth = n // prime, smooth * prime
    return smooth


def _hyper_hypercube(ranks: Sequence[int], base: int) -> list[Edges]:
    """Algorithm 1: write the size as f_1 f_2 ...; round l averages in groups of f_l along dimension l.

    With base 2 this is the hypercube.
    """
    factors = _factors(len(ranks), base)
    if factors is None:
        raise ValueError(f"{len(ranks)} has a prime factor above {base}")
    rounds, stride = [], 1
    for factor in factors:
        groups = [
            [ranks[block + offset + k * stride] for k in range(factor)]
            for block in range(0, len(ranks), stride * factor)
            for offset in range(stride)
        ]
        rounds.append([(i, j, 1 / factor) for group in groups for i, j in combinations(group, 2)])
        stride *= factor
    return rounds


def _digits(n: int, base: int) -> list[tuple[int, int]]:
    """Write n = sum of a_l base^{e_l} with 1 <= a_l < base, largest first: [(a_l, base^{e_l})]."""
    digits, power = [], 1
    while n:
        if n % base:
            digits.append((n % base, power))
        n, power = n // base, power * base
    return digits[::-1]


def _simple(ranks: Sequence[int], base: int) -> list[Edges]:
    """Algorithm 2, the simple base graph, for any number of ranks.

    Split the ranks into parts V_1, V_2, ... of a_l base^{e_l} (the digits of p), each of a_l blocks of B = base^{e_l}.

    1. Each part averages inside itself.
    2. Part 1 meets all later parts once: each later rank with one rank of every block, weight B / (|V_1| + later
       ranks). Afterwards the mean *of each block* and that of the later parts is the global mean. Then part 2 meets
       the parts after it in the same way, and so on, one round each.
    3. Having met, each block averages inside itself; part l is ready e_l rounds after its meeting, never later
       than part 1.
    """
    if _factors(len(ranks), base) is not None:
        return _hyper_hypercube(ranks, base)
    digits, parts, first = _digits(len(ranks), base), [], 0
    for count, block in digits:
        parts.append([ranks[first + b * block : first + (b + 1) * block] for b in range(count)])
        first += count * block
    inside = [_hyper_hypercube([i for block in part for i in block], base) for part in parts]
    start = max(map(len, inside))
    schedules = [own + [[] for _ in range(start - len(own))] for own in inside]
    for level, part in enumerate(parts):
        later = [i for other in parts[level + 1 :] for block in other for i in block]
        waiting: list[Edges] = [[] for _ in range(level)]
        weight = len(part[0]) / (sum(map(len, part)) + len(later))
        meeting: Edges = [(block[k], i, weight) for block in part for k, i in enumerate(later)]
        schedules[level] += [*waiting, meeting, *_parallel([_hyper_hypercube(block, base) for block in part])]
    return _parallel(schedules)


def random_matching(graph: Graph, seed: int, round_number: int) -> Mixing:
    """Pairwise gossip in rounds: a random maximal matching of a two-way graph; each pair takes its mean.

    The draw depends on (seed, round) alone, so all ranks make the same one without talking.
    """
    rng = np.random.default_rng((seed, round_number))
    edges = [(i, j) for i in range(graph.size) for j in graph.neighbours[i] if i < j]
    free, pairs = set(range(graph.size)), []
    for index in rng.permutation(len(edges)):
        i, j = edges[index]
        if i in free and j in free:
            free -= {i, j}
            pairs.append((i, j, 0.5))
    return _round(graph.size, pairs, f"random matching on {graph.name}")


def expected_contraction(graph: Graph, seed: int = 0, draws: int = 4000) -> float:
    """Contraction per round to expect of random matchings: sqrt(lambda_2(E[W])), as E||x||^2 shrinks by lambda_2.

    A matching's W is a projection, W^T W = W. E[W] = I - sum over edges of P(edge) (e_i - e_j)(e_i - e_j)^T / 2, with
    the probabilities estimated from `draws` matchings (2 % too large at worst: noise adds to the eigenvalue).
    """
    mean = np.eye(graph.size)
    for k in range(draws):
        for i, partner in enumerate(random_matching(graph, seed, k).graph.neighbours):
            for j in partner:
                mean[i, i] -= 0.5 / draws
                mean[i, j] += 0.5 / draws
    return math.sqrt(max(0.0, float(np.linalg.eigvalsh(mean)[-2]))) if graph.size > 1 else 0.0
