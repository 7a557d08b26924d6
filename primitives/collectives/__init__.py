"""Collectives on numpy arrays, over point-to-point messages alone.

An emulated communicator carries its collectives by these functions, and any program may call them. They take
contiguous arrays of any dtype without objects, any number of ranks, any root, and blocks without elements. Each
call is collective; its messages carry tags from 20000 to 28000, so that a program with such tags of its own calls
them on a duplicate."""

from primitives.buffers import IN_PLACE
from primitives.collectives.all_reduce import all_reduce
from primitives.collectives.rooted import broadcast, gather, gather_v, reduce, scatter, scatter_v
from primitives.collectives.unrooted import (
    all_gather,
    all_gather_v,
    all_to_all,
    all_to_all_v,
    barrier,
    exscan,
    reduce_scatter,
    scan,
)

__all__ = [
    "IN_PLACE", "all_gather", "all_gather_v", "all_reduce", "all_to_all", "all_to_all_v", "barrier", "broadcast",
    "exscan", "gather", "gather_v", "reduce", "reduce_scatter", "scan", "scatter", "scatter_v",
]  # fmt: skip
