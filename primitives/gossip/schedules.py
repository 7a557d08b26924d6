"""Graphs that change from round to round: one partner at a time, and exact averages in finitely many rounds.

    one-peer exponential, p = 8          base graph, p = 8           base graph, p = 5
    round 0: i -> i + 1                  i <-> i xor 1               {0,1} {2,3}        4
    round 1: i -> i + 2                  i <-> i xor 2               {0,2} {1,3}        4
    round 2: i -> i + 4                  i <-> i xor 4               0 -- 4 with weight 4/5
    then every rank holds the mean       the same (a hypercube)      {0,1} {2,3}, {0,2} {1,3}

A schedule is a list of `Mixing`, used round robin. Every round here is doubly stochastic and every rank sends at
most one message in it, so a round costs alpha + n beta whatever p is.

Sources: one-peer exponential: Assran et al. (ICML 2019), exactness for p = 2^k: Ying et al., "Exponential graph is
provably efficient for decentralized deep training" (NeurIPS 2021). Base graph: Takezawa, Sato, Bao, Niwa and
Yamada, "Beyond exponential graph" (NeurIPS 2023), algorithms 1 to 3 with base 2. Random matchings: Boyd, Ghosh,
Prabhakar and Shah, "Randomized gossip algorithms" (2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from primitives.gossip.graphs import Graph, by_distance
from primitives.gossip.mixing import Mixing

Edges = list[tuple[int, int, float]]
"""Two-way edges (i, j, w_ij) of one round."""


def one_peer_exponential(p: int) -> list[Mixing]:
    """Schedule that in round k sends to i + 2^k and halves: exact after lg p rounds if p = 2^m, else in the limit."""
    schedule = []
    for k in range(max(1, (p - 1).bit_length()) if p > 1 else 0):
        step = 1 << k
        graph = Graph(f"one-peer exponential, step {step}", tuple(((i + step) % p,) for i in range(p)))
        schedule.append(Mixing(graph, tuple({i: 0.5, (i - step) % p: 0.5} for i in range(p))))
    return schedule


def base_graph(p: int) -> list[Mixing]:
    """Schedule of exact averaging for any p: at most one message per rank and round, O(lg p) rounds.

    Write p = m q with m a power of two and q odd. Average inside each of m groups of q (`_simple`), then across the
    groups (`_hypercube`); or run `_simple` on all of p. The shorter of the two is returned.
    """
    ranks, m = list(range(p)), p & -p
    q = p // m
    grouped = _parallel([_simple(ranks[g * q : (g + 1) * q]) for g in range(m)])
    grouped += _parallel([_hypercube(ranks[k::q]) for k in range(q)])
    rounds = min(_simple(ranks), grouped, key=len)
    return [_round(p, edges, f"base graph, round {k}") for k, edges in enumerate(rounds)]


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


def _hypercube(ranks: Sequence[int]) -> list[Edges]:
    """Algorithm 1, for a power of two: in round k every rank averages with the one at its place xor 2^k."""
    rounds = []
    for bit in (1 << k for k in range(len(ranks).bit_length() - 1)):
        rounds.append([(rank, ranks[i | bit], 0.5) for i, rank in enumerate(ranks) if not i & bit])
    return rounds


def _simple(ranks: Sequence[int]) -> list[Edges]:
    """Algorithm 2, the simple base graph, for any number of ranks.

    Split the ranks into parts V_1, V_2, ... of 2^{e_l}, the binary digits of their number, largest first.

    1. Each part averages inside itself.
    2. Part 1 meets all later parts once: each later rank with one rank of part 1, weight |V_1| / (|V_1| + later
       ranks). Afterwards the mean of part 1 and that of the later parts is the global mean. Then part 2 meets the
       parts after it in the same way, and so on, one round each.
    3. Having met, each part averages inside itself; part l is ready e_l rounds after its meeting, never later than
       part 1.
    """
    count, parts, first = len(ranks), [], 0
    for size in (1 << e for e in reversed(range(count.bit_length())) if count >> e & 1):
        parts.append(ranks[first : first + size])
        first += size
    inside = [_hypercube(part) for part in parts]
    if len(parts) == 1:
        return inside[0]
    start = max(map(len, inside))
    schedules = [own + [[] for _ in range(start - len(own))] for own in inside]
    for level, part in enumerate(parts):
        later = [i for other in parts[level + 1 :] for i in other]
        waiting: list[Edges] = [[] for _ in range(level)]
        weight = len(part) / (len(part) + len(later))
        meeting: Edges = [(part[k], i, weight) for k, i in enumerate(later)]
        schedules[level] += [*waiting, meeting, *inside[level]]
    return _parallel(schedules)


def random_matching(graph: Graph, seed: int, round_number: int) -> Mixing:
    """A round of pairwise gossip: a random maximal matching of a two-way graph, in which each pair averages.

    The draw depends on (seed, round) alone, so all ranks make the same one without talking.
    """
    rng = np.random.default_rng((seed, round_number))
    ends, free, pairs = graph.pairs[rng.permutation(len(graph.pairs))], np.ones(graph.size, bool), []
    while len(ends):  # one after the other, each taken if both ends are free: so are all that come first at both ends
        place, first = np.arange(len(ends)), np.full(graph.size, len(ends))
        for side in ends.T:
            np.minimum.at(first, side, place)
        taken = ends[(first[ends] == place[:, None]).all(axis=1)]
        pairs += [(i, j, 0.5) for i, j in taken.tolist()]
        free[taken] = False
        ends = ends[free[ends].all(axis=1)]
    return _round(graph.size, pairs, f"random matching on {graph.name}")


def pairwise_contraction(p: int) -> float:
    """Expected contraction per round of random matchings on the complete graph of p ranks.

    E||x||^2 shrinks by lambda_2(E[W]), as a matching's W is a projection. All pairs are equally likely to be among its
    floor(p / 2) ones: E[W] = I - floor(p/2) / (p (p-1)) L, and all eigenvalues of L but one are p.
    """
    return math.sqrt(1 - (p // 2) / (p - 1)) if p > 1 else 0.0
