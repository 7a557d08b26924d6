"""A binomial tree: reduce to rank 0, and broadcast the result down the same tree.

::

    0 -- 4 -- 6 -- 7         p = 8. The parent of rank r is r without its lowest bit; its children are r + 1,
    |    `--- 5              r + 2, r + 4, ... below that bit.
    |--- 2 -- 3
    `--- 1                   up: the nearest child first; down: the farthest first, it has the longest way to go

    T = 2 ceil(lg p) (alpha + n beta) + ceil(lg p) n gamma

Never the quickest all-reduce on an even network, but only one message per rank and direction, p - 1 each way in
all, and the yardstick of the others. Identical bits (the sum is made once, on rank 0), and the order of the ranks
is kept.

R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective communication operations in MPICH (2005).
"""

from __future__ import annotations

from mpi4py import MPI

from primitives.buffers import Array
from primitives.collectives.k_ary_tree import KAryTree
from primitives.collectives.persistent import TAG, Apply


def family(rank: int, size: int) -> tuple[int | None, list[int]]:
    """The parent of a rank (None for rank 0) and its children, nearest first, in the binomial tree."""
    children: list[int] = []
    bit = 1
    while bit < size:
        if rank & bit:
            return rank - bit, children
        if rank + bit < size:
            children.append(rank + bit)
        bit <<= 1
    return None, children


def span(place: int, size: int) -> int:
    """Number of ranks in the subtree of `place` in the binomial tree, itself included."""
    return min(place & -place, size - place) if place else size


class Tree(KAryTree):
    """All-reduce as reduce and broadcast on a binomial tree, in one segment; see `Reduction` for the parameters."""

    ordered, segmented = True, False
    family = staticmethod(family)
    downward = slice(None, None, -1)

    def __init__(self, comm: MPI.Intracomm, send: Array, recv: Array, op: Apply, tag: int = TAG) -> None:
        super().__init__(comm, send, recv, op, segment=0, tag=tag)
