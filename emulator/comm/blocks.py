"""Collective buffers as numpy arrays: whole buffers of p blocks, vectors of counts, typed operands of a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from mpi4py.util import dtlib
from numpy.typing import NDArray

from emulator.comm.buffers import Incoming, outgoing, parse

Bytes = NDArray[np.uint8]


def given(spec: Any, blocks: int = 1) -> Bytes:
    """Give the bytes that a collective takes from `spec`, whose explicit count is that of one of `blocks` blocks."""
    return _bytes(outgoing(_multiplied(spec, blocks))[0])


def wanted(spec: Any, blocks: int = 1) -> tuple[Bytes, Incoming]:
    """Give the memory that a collective fills; call the second's ``finish(nbytes)`` after it is filled."""
    into = Incoming(_multiplied(spec, blocks))
    return _bytes(into.view), into


def _bytes(view: Any) -> Bytes:
    return np.frombuffer(view, np.uint8)


def _multiplied(spec: Any, blocks: int) -> Any:
    """Turn the count of one block, where it is given, into the count of all."""
    if blocks == 1 or not isinstance(spec, (list, tuple)) or len(spec) < 2:
        return spec
    parts = list(spec)
    if len(parts) == 2 and isinstance(parts[1], (MPI.Datatype, str)):
        return spec
    if isinstance(parts[1], (list, tuple)):
        parts[1] = (parts[1][0] * blocks, parts[1][1])
    elif parts[1] is not None:
        parts[1] = parts[1] * blocks
    return parts


class Vector:
    """A message specification with a count for each rank: ``[data, counts, displacements, datatype]``.

    Attributes
    ----------
    data : all its memory as bytes
    counts, displacements : bytes of each rank's block, and where it begins
    """

    def __init__(self, spec: Any, blocks: int, *, writable: bool) -> None:
        data, counts, displacements, datatype = _vector_parts(spec)
        extent = 1
        if datatype is not None:
            extent = _dense_extent(datatype)
        elif data is not None:
            extent = np.asarray(data).dtype.itemsize
        view: Any = b"" if data is None else MPI.buffer.frombuffer(data, readonly=not writable)
        self.data: Bytes = np.frombuffer(view, np.uint8)
        if counts is None:
            items = len(self.data) // extent
            counts = [items // blocks + (rank < items % blocks) for rank in range(blocks)]
        if isinstance(counts, int):
            counts = [counts] * blocks
        counts = [int(count) for count in counts]
        if displacements is None:
            displacements = [sum(counts[:rank]) for rank in range(blocks)]
        elif isinstance(displacements, int):
            displacements = [displacements * rank for rank in range(blocks)]
        if len(counts) != blocks or len(displacements) != blocks:
            raise ValueError(
                f"message: a vector needs {blocks} counts and displacements, got {len(counts)} and {len(displacements)}"
            )
        self.counts = [count * extent for count in counts]
        self.displacements = [int(place) * extent for place in displacements]


def _vector_parts(spec: Any) -> tuple[Any, Any, Any, MPI.Datatype | None]:
    if not isinstance(spec, (list, tuple)):
        return spec, None, None, None
    parts = list(spec)
    datatype = parts.pop() if len(parts) > 1 and isinstance(parts[-1], (MPI.Datatype, str)) else None
    if isinstance(datatype, str):
        datatype = MPI.Datatype.fromcode(datatype)
    data = parts[0]
    counts = parts[1] if len(parts) > 1 else None
    displacements = parts[2] if len(parts) > 2 else None
    if displacements is None and isinstance(counts, tuple) and len(counts) == 2 and not isinstance(counts[0], int):
        counts, displacements = counts
    return data, counts, displacements, datatype


def _dense_extent(datatype: MPI.Datatype) -> int:
    size: int = datatype.Get_size()
    if datatype.Get_extent() != (0, size):
        raise ValueError("message: a vector collective needs a contiguous datatype here: pack the blocks first")
    return size


def operand(spec: Any, blocks: int = 1, *, writable: bool = False) -> NDArray[Any]:
    """Give a reduction's buffer as a flat array of its own type."""
    if isinstance(spec, np.ndarray) and spec.flags.c_contiguous:
        return spec.reshape(-1)
    data, count, start, datatype = parse(_multiplied(spec, blocks))
    if data is None:
        return np.empty(0, np.uint8)
    view: Any = MPI.buffer.frombuffer(data, readonly=not writable)
    if datatype is None:
        return np.frombuffer(view, np.asarray(data).dtype)
    dtype = np.dtype(dtlib.to_numpy_dtype(datatype))
    return np.frombuffer(view, dtype, count=count, offset=start)


def totals(counts: Sequence[int]) -> list[int]:
    """Give where each block begins when they lie one after another."""
    return [sum(counts[:rank]) for rank in range(len(counts))]
