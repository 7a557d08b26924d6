"""Mixing from a given matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from primitives.gossip.graphs import from_edges
from primitives.gossip.mixing import Mixing, check


def of_matrix(matrix: ArrayLike, name: str = "given") -> Mixing:
    """Use W of shape (p, p): where W[i, j] != 0, j sends to i. It must be doubly stochastic and connected."""
    dense = np.asarray(matrix, float)
    p = len(dense)
    graph = from_edges(p, [(j, i) for i in range(p) for j in range(p) if i != j and dense[i, j] != 0], name=name)
    rows = tuple({j: float(dense[i, j]) for j in range(p) if i == j or dense[i, j] != 0} for i in range(p))
    mixing = check(Mixing(graph, rows))
    graph.check_connected()
    return mixing
