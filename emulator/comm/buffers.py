"""mpi4py's message specifications as bytes: ``array``, ``[data, count, datatype]`` and their relatives.

A contiguous message is a view of the user's own memory. Any other (a vector, a struct, a subarray) is packed on
its way out and unpacked on its way in, by MPI itself.
"""

from __future__ import annotations

import operator
import sys
from typing import Any

from mpi4py import MPI

from emulator.comm.lazy_numpy import np
from emulator.comm.refused import NotEmulated

_SELF = MPI.COMM_SELF  # a program on simulated ranks has another one
_view = MPI.buffer.frombuffer
_BYTE = MPI.BYTE
_BYTES = MPI.buffer
_ARRAY: Any = ()  # the class of arrays, once the program has loaded numpy


def outgoing(spec: Any) -> Any:
    """Return the bytes that a send of `spec` carries, as an object with a length and the buffer protocol."""
    kind = type(spec)
    if kind is _BYTES:
        return spec
    if kind is _ARRAY:
        if spec.dtype not in _NATIVE:
            check_elements(spec)
    elif kind is list and len(spec) == 2 and spec[1] is _BYTE and isinstance(spec[0], _ARRAY):
        spec = spec[0]  # [array, MPI.BYTE] needs no taking apart
    elif kind is not bytearray and kind is not bytes:
        return outgoing(spec) if _numpy_has_come() else _described(spec)
    return _view(spec, readonly=True)


def _described(spec: Any) -> Any:
    """The bytes of a specification that may have a count, a displacement and a datatype; see `outgoing`."""
    data, count, displacement, datatype = parse(spec)
    if datatype is None:
        return _view(data, readonly=True)
    if count == 0 or data is None:
        return b""
    size, contiguous = _shape(datatype)
    if not contiguous:
        return pack(data, displacement, count, datatype)
    view: Any = _view(data, readonly=True)
    _check_room(len(view), displacement, count, size, datatype)
    return memoryview(view)[displacement : displacement + count * size]


class Incoming:
    """The memory that a receive fills.

    Attributes
    ----------
    view : writable bytes for the payload, at least as long as the receive allows
    room : how many bytes the receive allows
    packed : where the bytes in `view` belong if the datatype is not contiguous
    """

    __slots__ = ("packed", "room", "view")

    def __init__(self, spec: Any) -> None:
        self.packed: _Unpacking | None = None
        kind = type(spec)
        if kind is _ARRAY:
            if spec.dtype not in _NATIVE:
                check_elements(spec)
        elif kind is list and len(spec) == 2 and spec[1] is _BYTE and isinstance(spec[0], _ARRAY):
            spec = spec[0]
        elif kind is not bytearray and kind is not _BYTES:
            if _numpy_has_come():
                Incoming.__init__(self, spec)
            else:
                self._parse(spec)
            return
        view: Any = spec if kind is _BYTES else _view(spec)
        if view.readonly:
            _writable(spec)
        self.view, self.room = view, len(view)

    def _parse(self, spec: Any) -> None:
        """Set the attributes for a specification that may have a count, a displacement and a datatype."""
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
            self.packed = _Unpacking(data, displacement, datatype)

    def finish(self, size: int) -> None:
        """After `size` bytes are in `view`: unpack them if the datatype is not contiguous."""
        if self.packed is not None:
            unpack(self.view[:size], self.packed.data, self.packed.displacement, self.packed.datatype)


class _Unpacking:
    """Where a receive's packed bytes belong. The datatype is a duplicate: a program may free its own before."""

    def __init__(self, data: Any, displacement: int, datatype: MPI.Datatype) -> None:
        self.data, self.displacement, self.datatype = data, displacement, datatype.Dup()

    def __del__(self) -> None:
        if not MPI.Is_finalized():
            self.datatype.Free()


_NATIVE: frozenset[Any] = frozenset()


def _numpy_has_come() -> bool:
    """Register numpy's types if the program has loaded numpy since the last call; returns whether it has."""
    global _ARRAY, _NATIVE
    if _NATIVE or "numpy" not in sys.modules:
        return False
    _ARRAY, _NATIVE = np.ndarray, frozenset(map(np.dtype, "?bBhHiIlLqQefdgFDG"))
    return True


_numpy_has_come()


def check_elements(data: Any) -> None:
    """Raise what mpi4py raises for a buffer whose elements have no MPI datatype, such as those of big-endian arrays."""
    _numpy_has_come()
    if not isinstance(data, _ARRAY) or data.dtype not in _NATIVE:
        _SELF.Send_init(data, 0).Free()


def _writable(data: Any) -> Any:
    view = _view(data)
    if view.readonly:
        raise BufferError("a receive buffer must be writable, got a read-only one: pass a bytearray or an array")
    return view


def pack(data: Any, displacement: int, count: int, datatype: MPI.Datatype) -> bytearray:
    """Copy `count` elements of a datatype, from byte `displacement` of a buffer on, into contiguous memory."""
    packed = bytearray(count * datatype.Get_size())
    with _Elements(data, displacement, count, datatype) as (memory, whole):
        whole.Pack(memory, packed, 0, _SELF)
    return packed


def unpack(packed: Any, data: Any, displacement: int, datatype: MPI.Datatype) -> None:
    """Copy packed elements to their places in a buffer; the last may be incomplete, as in MPI."""
    size = datatype.Get_size()
    if not len(packed):
        return
    count, rest = divmod(len(packed), size)
    if count:
        with _Elements(data, displacement, count, datatype) as (memory, whole):
            whole.Unpack(packed[: count * size], 0, memory, _SELF)
    if rest:
        place = displacement + count * datatype.Get_extent()[1]
        element = pack(data, place, 1, datatype)
        element[:rest] = packed[count * size :]
        unpack(element, data, place, datatype)


class _Elements:
    """Memory and datatype with which ``Datatype.Pack`` moves exactly `count` elements.

    mpi4py divides the length of the memory by the extent of the datatype, which may be zero or negative: then one
    element of a datatype with an extent of 1 stands for all.
    """

    def __init__(self, data: Any, displacement: int, count: int, datatype: MPI.Datatype) -> None:
        extent = datatype.Get_extent()[1]
        self._made: list[MPI.Datatype] = []
        if extent <= 0:
            self._made.append(datatype.Create_contiguous(count))
            self._made.append(self._made[0].Create_resized(0, 1).Commit())
            count, extent, datatype = 1, 1, self._made[1]
        memory = MPI.buffer.fromaddress(MPI.Get_address(data) + displacement, extent * count)
        self._found = memory, datatype

    def __enter__(self) -> tuple[Any, MPI.Datatype]:
        return self._found

    def __exit__(self, *exception: object) -> None:
        for datatype in self._made:
            datatype.Free()


def _shape(datatype: MPI.Datatype) -> tuple[int, bool]:
    """A datatype's size in bytes, and whether its elements are one run of bytes in order from the buffer's start."""
    size = datatype.Get_size()
    return size, datatype.Get_extent() == (0, size) and is_dense(datatype)


def is_dense(datatype: MPI.Datatype) -> bool:
    """Whether a datatype is one run of bytes in order; one that only fills its extent may be a permutation."""
    if datatype.is_predefined:
        return bool(datatype.Get_extent() == (0, datatype.Get_size()))
    if datatype.Get_envelope()[-1] not in (MPI.COMBINER_CONTIGUOUS, MPI.COMBINER_DUP):
        return False
    inner = datatype.Get_contents()[-1][0]
    dense = is_dense(inner)
    if not inner.is_predefined:
        inner.Free()
    return dense


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
    data, count, displacement, datatype = split(spec)
    if isinstance(count, (list, tuple)):
        count, displacement = count
    if datatype is None and count is None and not displacement:
        return _alone(data)
    return _complete(data, count, displacement, datatype)


def split(spec: Any) -> tuple[Any, Any, Any, MPI.Datatype | None]:
    """Split a specification into data, count, displacement and datatype; None for what it leaves out."""
    if not isinstance(spec, (list, tuple)):
        return spec, None, None, None
    parts = list(spec)
    if not 2 <= len(parts) <= 4:
        raise ValueError(f"message: expecting 2 to 4 items, got {len(parts)}: [data, count, datatype]")
    datatype = parts.pop() if len(parts) > 2 or isinstance(parts[1], (MPI.Datatype, str)) else None
    if isinstance(datatype, str):
        datatype = MPI.Datatype.fromcode(datatype)
    data, count, displacement = (*parts, None, None)[:3]
    return data, count, displacement, datatype


def _alone(data: Any) -> tuple[Any, int, int, MPI.Datatype | None]:
    """Check a buffer without count and datatype, all of whose bytes are sent or received."""
    if data is None:
        raise TypeError("message: expecting buffer or list/tuple, got None: [None, datatype] is an empty message")
    if isinstance(data, MPI.BottomType):
        raise _no_bottom()
    element_type(data)
    return data, 0, 0, None


def _no_bottom() -> NotEmulated:
    return NotEmulated("a message from MPI.BOTTOM", "which names memory only by address", "pass the buffer itself")


def element_type(data: Any) -> MPI.Datatype:
    """The datatype of a buffer's elements; raises what mpi4py raises for those that have none."""
    check_elements(data)
    code: Any = data.dtype.char if isinstance(data, _ARRAY) else memoryview(data).format
    return MPI.Datatype.fromcode(code.lstrip("@<>="))


def _complete(
    data: Any, count: Any, displacement: Any, datatype: MPI.Datatype | None
) -> tuple[Any, int, int, MPI.Datatype]:
    """Fill in what a specification left out: the datatype from the array, the count from the buffer's length."""
    if isinstance(data, MPI.BottomType):
        raise _no_bottom()
    datatype = datatype or element_type(data)
    count = None if count is None else operator.index(count)
    displacement = operator.index(displacement or 0)
    if displacement < 0 or (count is not None and count < 0):
        raise ValueError(f"message: count and displacement are >= 0, got {count} and {displacement}")
    if data is None:
        if count:
            raise ValueError(f"message: a buffer of None has no data, got count {count}: pass a buffer")
        return None, 0, 0, datatype
    extent = datatype.Get_extent()[1]
    start = displacement * extent
    if count is None:
        length = len(_view(data, readonly=True)) - start
        if length and (extent <= 0 or length < 0 or length % extent):
            raise ValueError(
                f"message: buffer length {length} is not a multiple of the datatype's extent {extent}: give the count"
            )
        count = length // extent if length else 0
    return data, count, start, datatype
