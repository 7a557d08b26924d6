"""mpi4py's message specifications as bytes: ``array``, ``[data, count, datatype]`` and their relatives.

A contiguous message is a view of the user's own memory. Any other (a vector, a struct, a subarray) is packed on
its way out and unpacked on its way in, by MPI itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

_view = MPI.buffer.frombuffer
_EMPTY = memoryview(b"")


def outgoing(spec: Any) -> tuple[Any, int]:
    """Give the bytes that a send of `spec` carries, and their number."""
    kind = type(spec)
    view: Any
    if kind is np.ndarray or kind is bytearray or kind is bytes:
        view = _view(spec, readonly=True)
        return view, len(view)
    data, count, displacement, datatype = parse(spec)
    if datatype is None:
        view = _view(data, readonly=True)
        return view, len(view)
    if count == 0 or data is None:
        return _EMPTY, 0
    size, contiguous = _shape(datatype)
    if contiguous:
        view = _view(data, readonly=True)
        _check_room(len(view), displacement, count, size, datatype)
        return memoryview(view)[displacement : displacement + count * size], count * size
    packed = bytearray(count * size)
    datatype.Pack(_elements(data, displacement, count, datatype), packed, 0, MPI.COMM_SELF)
    return packed, count * size


class Incoming:
    """Where a receive puts its bytes.

    Attributes
    ----------
    view : writable bytes for the payload, at least as long as the receive allows
    room : how many bytes the receive allows
    """

    __slots__ = ("_unpack", "room", "view")

    def __init__(self, spec: Any) -> None:
        self._unpack: tuple[Any, int, MPI.Datatype] | None = None
        kind = type(spec)
        if kind is np.ndarray or kind is bytearray:
            self.view = _writable(spec)
            self.room = len(self.view)
            return
        data, count, displacement, datatype = parse(spec)
        if data is None or (datatype is not None and count == 0):
            self.view, self.room = memoryview(bytearray(0)), 0
        elif datatype is None:
            self.view = _writable(data)
            self.room = len(self.view)
        else:
            self._typed(data, count, displacement, datatype)

    def _typed(self, data: Any, count: int, displacement: int, datatype: MPI.Datatype) -> None:
        size, contiguous = _shape(datatype)
        self.room = count * size
        if contiguous:
            view = _writable(data)
            _check_room(len(view), displacement, count, size, datatype)
            self.view = memoryview(view)[displacement : displacement + self.room]
        else:
            self.view = memoryview(bytearray(self.room))
            self._unpack = (data, displacement, datatype)

    def finish(self, size: int) -> None:
        """After `size` bytes are in `view`: unpack them if the datatype is not contiguous."""
        if self._unpack is not None and size:
            data, displacement, datatype = self._unpack
            whole = size // datatype.Get_size()
            memory = _elements(data, displacement, whole, datatype)
            datatype.Unpack(self.view[: whole * datatype.Get_size()], 0, memory, MPI.COMM_SELF)


def _writable(data: Any) -> Any:
    view = _view(data)
    if view.readonly:
        raise BufferError("a receive buffer must be writable, got a read-only one: pass a bytearray or an array")
    return view


def _elements(data: Any, displacement: int, count: int, datatype: MPI.Datatype) -> Any:
    """Give memory that MPI takes for exactly `count` elements: it counts extents, which may end beyond the buffer."""
    extent = datatype.Get_extent()[1]
    return MPI.buffer.fromaddress(MPI.Get_address(data) + displacement, max(0, extent * count))


def _shape(datatype: MPI.Datatype) -> tuple[int, bool]:
    """Give a datatype's size in bytes and whether its elements lie densely from the start of the buffer."""
    size = datatype.Get_size()
    lower, extent = datatype.Get_extent()
    if datatype.is_predefined:
        return size, size == extent
    true_lower, true_extent = datatype.Get_true_extent()
    dense = size == extent == true_extent and lower == true_lower == 0
    # A struct may fill its extent and still be a permutation of it.
    return size, dense and datatype.Get_envelope()[3] in (MPI.COMBINER_CONTIGUOUS, MPI.COMBINER_DUP)


def _check_room(length: int, displacement: int, count: int, size: int, datatype: MPI.Datatype) -> None:
    if displacement + count * size > length:
        raise ValueError(
            f"message: buffer too small for requested count: {count} x {datatype.Get_name() or 'datatype'} of "
            f"{size} bytes at byte {displacement} need {displacement + count * size}, the buffer has {length}"
        )


def parse(spec: Any) -> tuple[Any, int, int, MPI.Datatype | None]:
    """Take a message specification apart as mpi4py does.

    Returns
    -------
    data, count, displacement, datatype
        `displacement` is in bytes; `datatype` is None when `data` alone was given, which means all of its bytes.
    """
    if not isinstance(spec, (list, tuple)):
        return _typed_array(spec)
    count: Any = None
    datatype: Any = None
    displacement = 0
    if len(spec) == 4:
        data, count, displacement, datatype = spec
    elif len(spec) == 3:
        data, count, datatype = spec
    elif len(spec) == 2:
        data, second = spec
        if isinstance(second, (MPI.Datatype, str)):
            datatype = second
        else:
            count = second
    elif len(spec) == 1:
        data = spec[0]
    else:
        raise ValueError(f"message: a specification has 1 to 4 items, got {len(spec)}: [data, count, datatype]")
    if isinstance(count, (list, tuple)):
        count, displacement = count
    if datatype is None and count is None and not displacement:
        return _typed_array(data)
    return _complete(data, count, displacement or 0, datatype)


def _typed_array(data: Any) -> tuple[Any, int, int, MPI.Datatype | None]:
    if data is None:
        raise TypeError("message: expecting buffer or list/tuple, got None: [None, datatype] is an empty message")
    if isinstance(data, MPI.BottomType):
        raise ValueError("message: MPI.BOTTOM is not emulated, it names memory only by address: pass the buffer itself")
    return data, 0, 0, None


def _complete(data: Any, count: Any, displacement: int, datatype: Any) -> tuple[Any, int, int, MPI.Datatype]:
    """Fill in what a specification left out: the datatype from the array, the count from the buffer's length."""
    if isinstance(data, MPI.BottomType):
        return (*_typed_array(data)[:3], MPI.BYTE)
    if datatype is None:
        code = getattr(getattr(data, "dtype", None), "char", None) or memoryview(data).format
        datatype = MPI.Datatype.fromcode(code)
    elif isinstance(datatype, str):
        datatype = MPI.Datatype.fromcode(datatype)
    extent = datatype.Get_extent()[1]
    start = displacement * extent
    if data is None:
        if count:
            raise ValueError(f"message: a buffer of None has no data, got count {count}: pass a buffer")
        return None, 0, 0, datatype
    if count is None:
        length = len(_view(data, readonly=True)) - start
        if extent <= 0 or length % extent:
            raise ValueError(
                f"message: buffer length {length} is not a multiple of the datatype's extent {extent}: give the count"
            )
        count = length // extent
    return data, int(count), start, datatype
