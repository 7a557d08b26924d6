"""Phantom payloads: arrays with a size and a dtype that take no memory, and whose elements no program may use.

All phantom arrays are views of address ranges that the operating system has reserved and given no memory. A message
out of such a range is transported as a size alone, so a model of 100 GB can be sent around between 1,024 ranks.
A reduction of phantoms needs an operation that computes nothing: `ignore`.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError

_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0)
_ranges: list[tuple[int, int, Any]] = []  # address of the first byte, that after the last one, what is mapped


class PhantomRead(UsageError):
    """A program has used the elements of a phantom."""


class Phantom(np.ndarray[Any, Any]):
    """An array that can be sliced, reshaped, sent and received, but not read, computed with or copied."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if not isinstance(found, np.ndarray):
            raise _refused("reading an element")
        return found

    def __array_ufunc__(self, ufunc: Any, method: str, *arguments: Any, **named: Any) -> Any:
        raise _refused(f"numpy.{ufunc.__name__}")

    def __array_function__(self, function: Any, types: Any, arguments: Any, named: Any) -> Any:
        if function is np.empty_like and arguments == (self,) and not named:
            return phantom(self.size, self.dtype).reshape(self.shape)
        if function in (np.shape, np.ndim, np.size, np.may_share_memory):
            return super().__array_function__(function, types, arguments, named)
        raise _refused(f"numpy.{function.__name__}")

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(value, np.ndarray):  # to copy an array here looks at nothing, and there is nothing to keep
            raise _refused("writing an element")

    def __repr__(self) -> str:
        return f"<Phantom {self.shape} {self.dtype}>"

    __str__ = __repr__


def _refusing(name: str, what: str) -> Any:
    """Make a method of that name that raises an error."""

    def method(self: Phantom, *arguments: Any, **named: Any) -> Any:
        raise _refused(what)

    method.__name__ = name
    return method


_ELEMENT = dict.fromkeys(("__iter__", "__float__", "__int__", "__index__", "__complex__"), "reading an element")
_READING = _ELEMENT | {"__bool__": "a truth value", "__reduce__": "pickling"}
_METHODS = """
all any argmax argmin argpartition argsort astype byteswap choose clip compress conj conjugate copy cumprod cumsum dot
dump dumps fill flatten item max mean min nonzero partition prod put repeat round searchsorted setfield sort std sum
take tobytes tofile tolist trace var __copy__ __deepcopy__ __contains__
"""
for _name, _what in (_READING | {name: name.strip("_") for name in _METHODS.split()}).items():
    setattr(Phantom, _name, _refusing(_name, _what))


def _refused(what: str) -> PhantomRead:
    return PhantomRead(f"a phantom array has a size and no elements, {what} needs them: use a real array here")


def phantom(count: int, dtype: Any = np.float32) -> Phantom:
    """Make a phantom array of `count` elements in the latest address range, which all that fit into it share.

    Raises
    ------
    UsageError
        The system cannot reserve an address range of this length.
    """
    dtype = np.dtype(dtype)
    size = count * dtype.itemsize
    if not _ranges or size > _ranges[-1][1] - _ranges[-1][0]:
        _reserve(size)
    return np.frombuffer(_ranges[-1][2], dtype, count).view(Phantom)


def _reserve(size: int) -> None:
    """Reserve `size` bytes, if possible twice the last range or more; that one is kept: its arrays may be under way."""
    longer = 2 * (_ranges[-1][1] - _ranges[-1][0]) if _ranges else mmap.PAGESIZE
    for length in sorted({size, max(size, longer)}, reverse=True):
        try:
            found = mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        except (OSError, ValueError, OverflowError) as error:
            why = error
            continue
        begin = MPI.Get_address(found)
        _ranges.append((begin, begin + length, found))
        return
    raise UsageError(f"a phantom of {size} bytes cannot be reserved ({why}): make it smaller") from why


def ignore(a: Any, b: Any, out: Any) -> None:
    """Do nothing: the reduction of phantoms."""


def in_use() -> bool:
    """Whether the program has made phantoms."""
    return bool(_ranges)


def holds(payload: Any) -> bool:
    """Whether a payload is a phantom's memory."""
    if not _ranges or type(payload) is bytes:
        return False
    address = MPI.Get_address(payload)
    return any(begin <= address < end for begin, end, _ in _ranges)


def is_bytes(place: Any) -> bool:
    """Whether a receive needs the bytes of a message, as one of an object does."""
    return type(place) is memoryview and type(place.obj) is bytearray


class Arrived:
    """The transfer of a phantom to a receive that needs bytes: it cannot complete."""

    def __init__(self, source: int, rank: int) -> None:
        self._source, self._rank = source, rank

    def Test(self) -> bool:
        raise PhantomRead(
            f"rank {self._rank} received a phantom from rank {self._source} as bytes: receive it into a phantom"
        )
