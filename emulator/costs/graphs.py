"""The graphs of gossip: to whom ranks send, how far an update travels, and how many ranks wait for one another.

A rank that waits for its neighbours' messages is held up by their neighbours' ranks too, one exchange later, and so on.
In the steady state a step takes about as long as a barrier among `awaited` ranks: the recursion
t_i(k+1) = max over i and the neighbours j of t_j(k) + c_i(k), with log-normal c, was followed for 200 to 20,000 steps.
Of a graph of few neighbours the number stays small (last-passage percolation: Martin 2006), of a complete one it is p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_AWAITED = {
    "one-peer": ((2, 2.0), (4, 2.65), (8, 3.2), (16, 3.7), (32, 4.0), (64, 4.25), (256, 4.8), (1024, 5.0)),
    "ring": ((2, 2.0), (3, 3.0), (4, 3.4), (8, 4.2), (16, 4.6), (32, 4.8), (64, 4.95), (256, 5.05)),
    "torus": ((4, 3.4), (9, 6.35), (16, 7.7), (36, 9.1), (64, 9.8), (256, 10.8), (1024, 11.2)),
    "ladder": ((4, 3.4), (6, 4.75), (8, 5.25), (10, 5.65), (14, 6.1), (22, 6.5), (64, 6.9)),
    "exponential": ((2, 2.0), (3, 3.0), (4, 3.45), (8, 5.3), (16, 7.7), (32, 10.6), (64, 13.8), (256, 21.7),
                    (1024, 30.5), (4096, 42.0), (16384, 52.0)),
}  # fmt: skip
"""Ranks, and how many of them a step waits for, with spreads of 0.1 to 0.3 (between which it differs by a tenth)."""


def rows_of(p: int) -> int:
    """Rows of the most nearly square grid of p ranks."""
    return next(rows for rows in range(math.isqrt(p), 0, -1) if p % rows == 0)


def degrees(graph: str, p: NDArray[np.int64]) -> NDArray[np.int64]:
    """Messages that a rank sends in a round, for each of several p."""
    if graph == "exponential":
        return np.array([(int(one) - 1).bit_length() for one in p])
    if graph == "torus":
        most = np.array([{1: 2, 2: 3}.get(rows_of(int(one)), 4) - (one == 4) for one in p])
    else:
        most = np.full(p.shape, {"one-peer": 1, "ring": 2}.get(graph, p.max(initial=1)))
    return np.minimum(p - 1, most)


def diameters(graph: str, p: NDArray[np.int64]) -> Array:
    """Most rounds until an update has reached every rank; some exponential graphs need one less."""
    if graph == "torus":
        rows = np.array([rows_of(int(one)) for one in p])
        far: Array = rows // 2 + p // rows // 2
    else:
        lg = np.log2(p)
        far = {"one-peer": np.ceil(lg), "ring": p // 2, "exponential": np.floor(lg)}.get(graph, np.ones(p.shape))
    return np.maximum(1.0, far)


def awaited(graph: str, p: NDArray[np.int64]) -> Array:
    """Ranks of a barrier whose wait is as long as that for neighbours."""
    if graph == "complete":
        return p.astype(float)
    if graph == "torus":
        rows = np.array([rows_of(int(one)) for one in p])
        ring, ladder, torus = (_interpolated(name, p) for name in ("ring", "ladder", "torus"))
        return np.select([rows == 1, rows == 2], [ring, ladder], torus)
    return _interpolated(graph, p)


def _interpolated(graph: str, p: NDArray[np.int64]) -> Array:
    ranks, known = np.log2([(1, 1.0), *_AWAITED[graph]]).T
    return 2.0 ** np.interp(np.log2(p), ranks, known)


def targets(graph: str, p: int) -> Sequence[list[list[int]]]:
    """The ranks to which each rank sends, in this order, in each round of a graph.

    Sends of a torus go right, left, down, up on every rank, each direction a permutation.
    """
    if p <= 1:
        return [[[]] * p]
    doubling = [1 << k for k in range((p - 1).bit_length())]
    if graph == "one-peer":
        return [[[(i + d) % p] for i in range(p)] for d in doubling]
    if graph == "torus":
        return [_torus(p)]
    offsets = {"ring": (1, p - 1), "complete": range(1, p), "exponential": doubling}[graph]
    return [[[(i + d) % p for d in dict.fromkeys(offsets)] for i in range(p)]]


def _torus(p: int) -> list[list[int]]:
    rows = rows_of(p)
    width = p // rows

    def at(row: int, column: int) -> int:
        return row % rows * width + column % width

    found = []
    for rank in range(p):
        r, c = divmod(rank, width)
        around = dict.fromkeys((at(r, c + 1), at(r, c - 1), at(r + 1, c), at(r - 1, c)))
        found.append([other for other in around if other != rank])
    return found
