"""Reduction operations in one form: a name, an ``MPI.Op``, a numpy ufunc or a user's function.

The reductions of this package are computed by numpy on each rank, never by the MPI library, so every numpy dtype
whose elements are plain bytes can be reduced (float16 too, which MPI lacks), and what an operation means is what numpy
says: ``sum`` of booleans is "or", ``prod`` is "and", complex numbers are ordered lexicographically, integers wrap,
``min`` and ``max`` propagate NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Operation:
    """An associative operation on arrays.

    Attributes
    ----------
    name : for messages
    apply : ``apply(a, b, out)`` stores ``a op b`` in `out`, element by element; `out` may be `a` or `b` itself
    commutative : without it only algorithms that keep the order of the ranks are allowed
    """

    name: str
    apply: Callable[[Array, Array, Array], object]
    commutative: bool = True


@dataclass(frozen=True)
class _Ufunc:
    """A numpy ufunc with `out` by name, because numpy deprecates it by position for minimum and maximum."""

    function: np.ufunc

    def __call__(self, a: Array, b: Array, out: Array) -> None:
        self.function(a, b, out=out)


def of_numpy(apply: object) -> bool:
    """Whether an operation is numpy's, so that applying it only computes."""
    return isinstance(apply, np.ufunc | _Ufunc)


SUM = Operation("sum", np.add)
PROD = Operation("prod", np.multiply)
MIN = Operation("min", _Ufunc(np.minimum))
MAX = Operation("max", _Ufunc(np.maximum))

NAMED: dict[str, Operation] = {operation.name: operation for operation in (SUM, PROD, MIN, MAX)}


def _location(better: np.ufunc) -> Callable[[Array, Array, Array], object]:
    """Make MPI's MINLOC or MAXLOC of (value, index) pairs: the better value, among equals the lower index."""

    def apply(a: Array, b: Array, out: Array) -> None:
        value, index = a.dtype.names or ("value", "index")
        first = better(a[value], b[value]) | ((a[value] == b[value]) & (a[index] <= b[index]))
        out[...] = np.where(first, a, b)

    return apply


# Operations cannot be hashed in every mpi4py, so that this is a list.
_MPI: list[tuple[MPI.Op, Operation]] = [
    (MPI.SUM, SUM),
    (MPI.PROD, PROD),
    (MPI.MIN, MIN),
    (MPI.MAX, MAX),
    (MPI.LAND, Operation("land", np.logical_and)),
    (MPI.LOR, Operation("lor", np.logical_or)),
    (MPI.LXOR, Operation("lxor", np.logical_xor)),
    (MPI.BAND, Operation("band", np.bitwise_and)),
    (MPI.BOR, Operation("bor", np.bitwise_or)),
    (MPI.BXOR, Operation("bxor", np.bitwise_xor)),
    (MPI.MINLOC, Operation("minloc", _location(np.less))),
    (MPI.MAXLOC, Operation("maxloc", _location(np.greater))),
]


def resolve(op: object) -> Operation:
    """Turn `op` into an `Operation`.

    Parameters
    ----------
    op : ``"sum"``, ``"prod"``, ``"min"`` or ``"max"``; one of MPI's predefined operations or one made by
        ``MPI.Op.Create``; a numpy ufunc of two arguments; an `Operation`; or a commutative function of two arrays that
        returns an array of the same shape

    Raises
    ------
    UsageError
        For anything else.
    """
    if isinstance(op, Operation):
        return op
    if isinstance(op, str) and op.lower() in NAMED:
        return NAMED[op.lower()]
    if isinstance(op, MPI.Op):
        return _of_mpi(op)
    if isinstance(op, np.ufunc) and op.nin == 2 and op.nout == 1:
        return Operation(op.__name__, _Ufunc(op))
    if callable(op) and not isinstance(op, np.ufunc):
        return Operation(getattr(op, "__name__", "function"), _Storing(op))
    raise UsageError(
        f"an operation must be one of {', '.join(NAMED)}, an MPI.Op, a numpy ufunc of two arguments or a "
        f"commutative function f(a, b), got {op!r}"
    )


@dataclass(frozen=True)
class _Storing:
    """Stores the result of a function in `out`; comparable, because collectives are cached by it."""

    function: Callable[[Array, Array], Any]

    def __call__(self, a: Array, b: Array, out: Array) -> None:
        out[...] = self.function(a, b)


def _of_mpi(op: MPI.Op) -> Operation:
    for known, operation in _MPI:
        if op == known:
            return operation
    if op in (MPI.OP_NULL, MPI.REPLACE, MPI.NO_OP):
        raise UsageError("MPI.OP_NULL, MPI.REPLACE and MPI.NO_OP reduce nothing: pass MPI.SUM or another operation")
    return Operation("user-defined MPI.Op", _Local(op), op.Is_commutative())


class _Local:
    """MPI's own application of a user's operation; comparable, because collectives are cached by it."""

    def __init__(self, op: MPI.Op) -> None:
        self.op, self._handle = op, op.handle

    def __call__(self, a: Array, b: Array, out: Array) -> None:
        result = b.copy()
        self.op.Reduce_local(np.ascontiguousarray(a), result)  # result = a op result, in this order
        out[...] = result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Local) and self.op == other.op  # not the handle: it may come again after a Free

    def __hash__(self) -> int:
        return hash(self._handle)
