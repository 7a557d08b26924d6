"""Collective buffers as numpy arrays: whole buffers of p blocks, vectors of counts, typed operands of a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.comm.buffers import Incoming, check_elements, element_type, is_dense, outgoing, pack, parse, split, unpack
from emulator.comm.lazy_numpy import np
from emulator.comm.refused import NotEmulated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]


def given(spec: Any, blocks: int = 1) -> Bytes:
    """Return the bytes that a collective sends from `spec`, whose explicit count is that of one of `blocks` blocks."""
    return _bytes(outgoing(_multiplied(spec, blocks)))


def wanted(spec: Any, blocks: int = 1) -> tuple[Bytes, Incoming]:
    """Return the memory that a collective fills, and an object whose ``finish(nbytes)`` must be called afterwards."""
    into = Incoming(_multiplied(spec, blocks))
    return _bytes(into.view), into


def _bytes(view: Any) -> Bytes:
    return np.frombuffer(view, np.uint8)


def _multiplied(spec: Any, blocks: int) -> Any:
    """Turn the explicit count of one block into the count of all blocks."""
    if blocks == 1 or not isinstance(spec, (list, tuple)):
        return spec
    data, count, displacement, datatype = split(spec)
    if isinstance(count, (list, tuple)):
        count, displacement = count
    return [data, None if count is None else count * blocks, displacement, datatype]


class Vector:
    """A message specification with a count for each rank: ``[data, counts, displacements, datatype]``.

    Attributes
    ----------
    data : all its memory as bytes; a packed copy where the datatype is not contiguous
    counts, displacements : bytes of each rank's block, and where it begins
    """

    def __init__(self, spec: Any, blocks: int, *, writable: bool) -> None:
        buffer, counts, displacements, datatype = split(spec)
        if displacements is None and isinstance(counts, tuple):
            counts, displacements = counts
        if datatype is None:
            datatype = MPI.BYTE if buffer is None else element_type(buffer)
        size, extent = datatype.Get_size(), datatype.Get_extent()[1]
        view: Any = b"" if buffer is None else MPI.buffer.frombuffer(buffer, readonly=not writable)
        self.data: Bytes = np.frombuffer(view, np.uint8)
        if counts is None:
            items = len(self.data) // extent
            counts = [items // blocks + (rank < items % blocks) for rank in range(blocks)]
        elif np.ndim(counts) == 0:
            counts = [counts] * blocks
        if displacements is None:
            displacements = totals(counts)
        elif np.ndim(displacements) == 0:
            displacements = [displacements * rank for rank in range(blocks)]
        if len(counts) != blocks or len(displacements) != blocks:
            raise ValueError(
                f"message: a vector needs {blocks} counts and displacements, got {len(counts)} and {len(displacements)}"
            )
        self.counts = [int(count) * size for count in counts]
        self.displacements = [int(place) * extent for place in displacements]
        self._unpacked: tuple[Any, list[int], MPI.Datatype] | None = None
        if not is_dense(datatype):
            parts = [
                pack(buffer, place, int(count), datatype)
                for place, count in zip(self.displacements, counts, strict=True)
            ]
            self.data = np.frombuffer(bytearray().join(parts), np.uint8)
            self._unpacked = buffer, self.displacements, datatype
            self.displacements = totals(self.counts)

    def part(self, rank: int) -> Bytes:
        """The block of one rank."""
        begin = self.displacements[rank]
        return self.data[begin : begin + self.counts[rank]]

    def finish(self) -> None:
        """Unpack `data` after it is filled, if the datatype is not contiguous."""
        if self._unpacked is not None:
            buffer, places, datatype = self._unpacked
            for rank, place in enumerate(places):
                unpack(self.part(rank), buffer, place, datatype)


def operand(spec: Any, blocks: int = 1, *, writable: bool = False) -> NDArray[Any]:
    """A reduction's buffer as a flat array of its own type."""
    if isinstance(spec, np.ndarray) and spec.flags.c_contiguous:
        check_elements(spec)
        return spec.reshape(-1)
    data, count, start, datatype = parse(_multiplied(spec, blocks))
    if data is None:
        return np.empty(0, np.uint8)
    view: Any = MPI.buffer.frombuffer(data, readonly=not writable)
    if datatype is None:
        return np.frombuffer(view, np.asarray(data).dtype)
    if not datatype.is_predefined:
        raise NotEmulated("a reduction of a derived datatype", instead="reduce an array of a predefined one")
    from mpi4py.util import dtlib  # loads numpy

    dtype = np.dtype(dtlib.to_numpy_dtype(datatype))
    return np.frombuffer(view, dtype, count=count, offset=start)


def totals(counts: Sequence[int]) -> list[int]:
    """The offset of each block when the blocks lie one after another."""
    return [sum(counts[:rank]) for rank in range(len(counts))]
