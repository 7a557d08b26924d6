"""Phantom payloads: arrays with a size and a dtype whose elements no program may use, which take no memory.

All phantom arrays are views of one address range that the operating system has reserved and given no memory. A
message out of that range is transported as a size alone, so a model of 100 GB can be sent around between 1,024 ranks.
A reduction of phantoms needs an operation that computes nothing: `ignore`.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError

_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0)
_range: Any = None
_begin = _end = 0


class PhantomRead(UsageError):
    """A program used the elements of a phantom array."""


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

    def __iter__(self) -> Any:
        raise _refused("reading an element")

    def __bool__(self) -> bool:
        raise _refused("a truth value")

    def __float__(self) -> float:
        raise _refused("reading an element")

    __int__ = __index__ = __complex__ = __float__  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Phantom {self.shape} {self.dtype}>"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise _refused("pickling")


def _refusing(name: str) -> Any:
    """Make the method of that name, which refuses."""

    def method(self: Phantom, *arguments: Any, **named: Any) -> Any:
        raise _refused(name.strip("_"))

    method.__name__ = name
    return method


_READING = """
all any argmax argmin argpartition argsort astype byteswap choose clip compress conj conjugate copy cumprod cumsum dot
dump dumps fill flatten item max mean min nonzero partition prod put repeat round searchsorted setfield sort std sum
take tobytes tofile tolist trace var __copy__ __deepcopy__ __contains__
"""
for _name in _READING.split():
    setattr(Phantom, _name, _refusing(_name))


def _refused(what: str) -> PhantomRead:
    return PhantomRead(f"a phantom array has a size and no elements, {what} needs them: use a real array here")


def phantom(count: int, dtype: Any = np.float32) -> Phantom:
    """Make a phantom array of `count` elements; all phantoms share one address range.

    Raises
    ------
    UsageError
        The system cannot reserve an address range of this length.
    """
    global _range, _begin, _end
    dtype = np.dtype(dtype)
    size = count * dtype.itemsize
    if _range is None or size > _end - _begin:
        # A longer range replaces the one there was, which lives on as long as its arrays do.
        length = max(size, mmap.PAGESIZE)
        try:
            _range = mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        except (OSError, ValueError, OverflowError) as error:
            raise UsageError(f"a phantom of {size} bytes cannot be reserved ({error}): make it smaller") from error
        _begin = MPI.Get_address(_range)
        _end = _begin + length
    return np.frombuffer(_range, dtype, count).view(Phantom)


def ignore(a: Any, b: Any, out: Any) -> None:
    """Reduce nothing: the operation to apply to phantoms."""


def in_use() -> bool:
    """Tell whether the program has made phantoms."""
    return _range is not None


def holds(payload: Any) -> bool:
    """Tell whether a payload is a phantom's memory."""
    return _range is not None and type(payload) is not bytes and _begin <= MPI.Get_address(payload) < _end


def is_bytes(place: Any) -> bool:
    """Tell whether a receive wants the bytes of a message, as one of an object does."""
    return type(place) is memoryview and type(place.obj) is bytearray


class Arrived:
    """The transfer of a phantom to a receive that wants bytes: it cannot be complete."""

    def __init__(self, source: int, rank: int) -> None:
        self._source, self._rank = source, rank

    def Test(self) -> bool:
        raise PhantomRead(
            f"rank {self._rank} received a phantom from rank {self._source} as bytes: receive it into a phantom"
        )
