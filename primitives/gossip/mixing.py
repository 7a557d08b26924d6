"""Mixing matrices: the effect of one round of neighbour averaging, and how fast many rounds converge.

One round replaces every rank's vector by a weighted mean of its own and its neighbours':

    x_i  <-  w_ii x_i + sum_j w_ij x_j                     X <- W X

Rows of W sum to 1: agreement is kept. Columns sum to 1: the *mean* is kept. With both (doubly stochastic) and a
connected graph the ranks converge to the exact average, and the distance to it shrinks per round by

    sigma = || W - 11^T/p ||_2       (symmetric W: the second largest |eigenvalue|)

The spectral gap is 1 - |lambda_2|; rounds to a relative error eps: ln(1/eps) / -ln(sigma).

Sources: Xiao and Boyd, "Fast linear iterations for distributed averaging" (2004) for the weights; Metropolis
weights: Xiao, Boyd and Lall (IPSN 2005).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.gossip.graphs import Graph

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Mixing:
    """One round: who sends to whom, in which order, and with which weights the receivers average.

    Attributes
    ----------
    graph : the messages of the round
    weights : `weights[i][j]` = w_ij for every j that sends to i, and `weights[i][i]`
    """

    graph: Graph
    weights: tuple[dict[int, float], ...]

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.graph.size

    def matrix(self) -> NDArray[np.float64]:
        """The matrix W, shape (p, p)."""
        dense = np.zeros((self.size, self.size))
        for i, row in enumerate(self.weights):
            for j, weight in row.items():
                dense[i, j] = weight
        return dense


def metropolis(graph: Graph) -> Mixing:
    """Metropolis weights 1 / (1 + max(d_i, d_j)): symmetric and doubly stochastic on any two-way graph.

    Each rank needs to know no more than its neighbours' degrees.

    Raises
    ------
    UsageError
        An edge goes one way only (use `uniform` on a one-way regular graph, or push-sum).
    """
    if not graph.symmetric:
        raise UsageError(
            f"Metropolis weights need edges that go both ways, '{graph.name}' has one-way edges: use push-sum"
        )
    degree = [len(targets) for targets in graph.neighbours]
    rows = []
    for i, targets in enumerate(graph.neighbours):
        row = {j: 1 / (1 + max(degree[i], degree[j])) for j in targets}
        rows.append(row | {i: 1 - math.fsum(row.values())})
    return Mixing(graph, tuple(rows))


def uniform(graph: Graph) -> Mixing:
    """Uniform weights 1 / (1 + in-degree); doubly stochastic exactly when all in- and out-degrees are equal."""
    rows = []
    for i in range(graph.size):
        sources = graph.sources(i)
        rows.append(dict.fromkeys((i, *sources), 1 / (1 + len(sources))))
    return Mixing(graph, tuple(rows))


def of_graph(graph: Graph) -> Mixing:
    """Choose the weights for a graph: Metropolis on two-way edges, else uniform; refused if averages would be biased.

    Raises
    ------
    UsageError
        The graph is not connected, or is one-way and irregular (use push-sum).
    """
    graph.check_connected()
    return check(metropolis(graph) if graph.symmetric else uniform(graph))


def check(mixing: Mixing) -> Mixing:
    """Return the mixing itself if W is doubly stochastic.

    Raises
    ------
    UsageError
        A weight is negative or not finite, or a row or column does not sum to 1: the average would be lost.
    """
    dense = mixing.matrix()
    if not np.all(np.isfinite(dense)) or dense.min(initial=0) < -_ROUNDING:
        i, j = np.argwhere(~np.isfinite(dense) | (dense < -_ROUNDING))[0]
        raise UsageError(f"mixing weights are finite and >= 0, got W[{i}, {j}] = {dense[i, j]:g}")
    for word, sums, remedy in (
        ("row", dense.sum(axis=1), "divide the row by it"),
        ("column", dense.sum(axis=0), "use Metropolis weights, or push-sum, which needs no such matrix"),
    ):
        wrong = np.flatnonzero(np.abs(sums - 1) > _ROUNDING)
        if wrong.size:
            raise UsageError(
                f"a mixing matrix must be doubly stochastic, {word} {wrong[0]} of '{mixing.graph.name}' sums to "
                f"{sums[wrong[0]]:g} instead of 1: {remedy}"
            )
    return mixing


def contraction(rounds: Mixing | Sequence[Mixing]) -> float:
    """Bound the factor per round by which the distance to the average shrinks: || W - 11^T/p ||_2.

    For a schedule of k rounds: the k-th root of the norm of the whole cycle, 0 when it averages exactly.
    """
    schedule = [rounds] if isinstance(rounds, Mixing) else list(rounds)
    if not schedule:
        return 1.0
    p = schedule[0].size
    product = np.eye(p) - 1 / p
    for mixing in schedule:
        product = mixing.matrix() @ product
    norm = float(np.linalg.norm(product, 2))
    return 0.0 if norm < _ROUNDING else float(norm ** (1 / len(schedule)))


def spectral_gap(mixing: Mixing) -> float:
    """1 - |lambda_2| of W: in (0, 1] on a connected graph with self-weights; 1 averages in one round."""
    moduli = np.sort(np.abs(np.linalg.eigvals(mixing.matrix())))
    gap = 1 - float(moduli[-2]) if mixing.size > 1 else 1.0
    return min(1.0, max(0.0, gap))


def rounds_to(error: float, sigma: float) -> int:
    """Rounds after which sigma^rounds <= error (relative to the distance at the start)."""
    if not 0 < error < 1:
        raise UsageError(f"a relative error lies between 0 and 1, got {error}")
    if sigma <= 0:
        return 1
    if sigma >= 1:
        raise UsageError("this mixing never converges (spectral gap 0): give every rank a weight on itself")
    return math.ceil(math.log(error) / math.log(sigma) - _ROUNDING)
