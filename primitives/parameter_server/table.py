"""A named table of parameters, and the part of it that one shard owns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emulator.errors import UsageError
from primitives.parameter_server.placement import Keys, Placement, check_kind
from primitives.parameter_server.updates import SGD, Rows, Update

Array = NDArray[Any]
_SPANS = 256
Initial = float | Array | Callable[[Keys], Array]


@dataclass(frozen=True)
class Table:
    """A table of `rows` keys with `width` numbers each: width 1 for a dense layer, d for an embedding.

    Attributes
    ----------
    name : for the user
    rows, width : shape; a table of width 1 is a vector, shape (rows,), otherwise (rows, width)
    dtype : a floating type
    update : what the servers do with a push
    initial : a number, an array of the table's shape, or a function from keys to their rows (only servers call it, each
        for its own keys: a table that fits on no single rank has no other way)
    placement : ``"range"``, ``"hash"`` or ``"consistent"``
    """

    name: str
    rows: int
    width: int = 1
    dtype: DTypeLike = np.float64
    update: Update = field(default_factory=SGD)
    initial: Initial = 0.0
    placement: str = "range"

    def __post_init__(self) -> None:
        if not 1 <= self.rows < 2**31 or self.width < 1:
            raise UsageError(
                f"table {self.name!r} needs 1 to 2^31-1 rows of width >= 1, got {self.rows} x {self.width}"
            )
        if np.dtype(self.dtype).kind != "f":
            raise UsageError(f"table {self.name!r} needs a floating type, got {np.dtype(self.dtype)}: use float32")
        check_kind(self.placement)

    def shape(self, rows: int) -> tuple[int, ...]:
        """Shape of an array of that many rows."""
        return (rows,) if self.width == 1 else (rows, self.width)

    def wire(self, half: bool) -> np.dtype[Any]:
        """Type of the numbers in messages: float16 if compressed to `half`."""
        return np.dtype(np.float16 if half else self.dtype)


class Part:
    """The rows of `table` that shard `shard` owns: sorted keys, their values, the update's state."""

    def __init__(self, table: Table, placement: Placement, shard: int) -> None:
        self.table = table
        self.keys = placement.keys(shard)
        shape = table.shape(len(self.keys))
        if callable(table.initial):
            initial = np.asarray(table.initial(self.keys))
        else:
            initial = np.asarray(table.initial)
            if initial.ndim:
                initial = initial.reshape(table.shape(table.rows))[self.keys]
        self.values = np.array(np.broadcast_to(initial, shape), dtype=table.dtype)
        self.state = table.update.state(self.values)
        self._spans: dict[tuple[int, int], slice] = {}

    def positions(self, keys: Array) -> NDArray[np.int64]:
        """Indices in `values` of owned `keys`."""
        return np.searchsorted(self.keys, keys)

    def span(self, first: int, last: int) -> slice:
        """Index range of the owned keys in [first, last), which are neighbours because keys are sorted."""
        span = self._spans.get((first, last))
        if span is None:
            if len(self._spans) >= _SPANS:
                self._spans.clear()
            start, stop = np.searchsorted(self.keys, (first, last))
            span = self._spans[first, last] = slice(int(start), int(stop))
        return span

    def apply(self, rows: Rows, gradient: Array) -> None:
        """Apply a push."""
        self.table.update.apply(self.values, self.state, rows, gradient)


def combine(contributions: list[tuple[Rows, Array]]) -> tuple[Rows, Array]:
    """Sum pushes in the order of the list: returns the touched rows and their sums.

    Additions of a row happen in list order, whatever the mixture of dense and sparse pushes, so that the result
    is bit-equal to adding one push after the other to zeros.
    """
    first = contributions[0][0]
    if isinstance(first, slice) and all(isinstance(r, slice) and r == first for r, _ in contributions):
        total = contributions[0][1].copy()
        for _, gradient in contributions[1:]:
            total += gradient
        return first, total
    listed = [np.arange(r.start, r.stop) if isinstance(r, slice) else r for r, _ in contributions]
    rows = np.unique(np.concatenate(listed))
    sample = contributions[0][1]
    total = np.zeros((len(rows), *sample.shape[1:]), sample.dtype)
    for positions, (_, gradient) in zip(listed, contributions, strict=True):
        total[np.searchsorted(rows, positions)] += gradient
    return rows, total
