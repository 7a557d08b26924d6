"""Buffers of collectives: checks of arrays, flat views, scratch memory."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError

Array = np.ndarray[Any, Any]

IN_PLACE = MPI.IN_PLACE

_LINE, _HUGE = 64, 2 << 20  # bytes of a cache line and of a huge page


def flat(array: Array, what: str, *, writable: bool = False) -> Array:
    """Return a one-dimensional view of `array`, after the checks that every operation needs.

    Raises
    ------
    UsageError
        Not a numpy array, not contiguous, not writable where it must be, or elements that are no plain bytes.
    """
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{what} must be a numpy array, got {type(array).__name__}: use numpy.asarray")
    if array.dtype.hasobject:
        raise UsageError(f"{what} must hold plain numbers, got dtype {array.dtype}: use a numeric dtype")
    if not array.flags.c_contiguous:
        raise UsageError(
            f"{what} must be contiguous, got strides {array.strides} for shape {array.shape}: "
            "pass numpy.ascontiguousarray(x)"
        )
    if writable and not array.flags.writeable:
        raise UsageError(f"{what} must be writable, got a read-only array: pass a copy")
    return array.reshape(-1)


def pair(send: Array, recv: Array) -> tuple[Array, Array]:
    """Return input and output of a reduction as flat views; they must have the same dtype and size."""
    given, taken = flat(send, "the send buffer"), flat(recv, "the receive buffer", writable=True)
    if given.dtype != taken.dtype or given.size != taken.size:
        raise UsageError(
            f"send and receive buffer must be alike, got {given.size} x {given.dtype} and "
            f"{taken.size} x {taken.dtype}: make the second with numpy.empty_like"
        )
    return given, taken


def apart(send: Array, recv: Array) -> None:
    """Refuse flat arrays that overlap without being the same."""
    if MPI.Get_address(send) != MPI.Get_address(recv) and np.may_share_memory(send, recv):
        raise UsageError("send and receive buffer overlap: use separate arrays, or recv=IN_PLACE for the same one")


def borrowed(array: Array) -> Array:
    """A view of a flat array's memory that does not keep the array alive.

    A persistent collective is bound to addresses and found by them. It runs only while the caller's own array holds
    that memory, and must not keep every array alive that it was ever used for.
    """
    if array.size == 0:
        return array
    memory: Any = MPI.buffer.fromaddress(MPI.Get_address(array), array.nbytes)
    return np.frombuffer(memory, dtype=array.dtype)


def scratch(like: Array, count: int) -> Sequence[Array]:
    """Allocate `count` flat arrays of the size and dtype of `like`, on huge pages if they are large.

    A message is copied from page to page, and a large page is looked up once where 512 small ones are looked up one by
    one. All begin as far after a cache line as `like` does: an addition is quickest when its operands agree in that.
    A phantom array (see `emulator.sim.collectives.phantom`) gives more phantoms.
    """
    if type(like) is not np.ndarray:
        return [np.empty_like(like) for _ in range(count)]
    step = -(-like.nbytes // _LINE) * _LINE
    room = np.frombuffer(_room(count * step + _LINE), np.uint8)
    begin = (MPI.Get_address(like) - MPI.Get_address(room)) % _LINE if like.size else 0
    return [room[begin + i * step :][: like.nbytes].view(like.dtype) for i in range(count)]


def _room(size: int) -> Any:
    """Allocate writable memory of at least `size` bytes."""
    if size < _HUGE // 2 or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(size, np.uint8)  # gets memory page by page as it is used
    whole = -(-size // _HUGE) * _HUGE
    room = mmap.mmap(-1, whole + _HUGE)
    room.madvise(mmap.MADV_HUGEPAGE)
    begin = -MPI.Get_address(room) % _HUGE
    return memoryview(room)[begin : begin + whole]


def spread(value: object, size: int, what: str) -> Sequence[int]:
    """Check a sequence of `size` counts, one per rank, none negative."""
    counts = [int(count) for count in value] if isinstance(value, Sequence | np.ndarray) else None
    if counts is None or len(counts) != size or min(counts) < 0:
        raise UsageError(f"{what} must be {size} numbers >= 0, one per rank, got {value!r}")
    return counts


def put(target: Array, source: Array) -> None:
    """Copy one flat array into another of the same size and dtype, unless they are the same memory."""
    if target.size != source.size or target.dtype != source.dtype:
        raise UsageError(
            f"a rank's block must have the same size and dtype where it comes from and where it goes, got "
            f"{source.size} x {source.dtype} and {target.size} x {target.dtype}"
        )
    if source.size and MPI.Get_address(target) != MPI.Get_address(source):
        target[...] = source


def message(view: Array) -> list[Any]:
    """The buffer of an array for mpi4py: bytes, since numpy reduces and MPI need not know the dtype."""
    return [view, MPI.BYTE]
