"""Split the keys of a request into pieces, one for each shard that owns some of them.

    keys None or a slice   a range; each shard gets two numbers
    an array of keys       sorted, duplicates merged; each shard gets its list (or the list's signature)

The pieces are remembered: training asks for the whole dense table, or for the same rows, again and again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.parameter_server import messages
from primitives.parameter_server.layout import Layout
from primitives.parameter_server.messages import KeyCache, Piece

Array = NDArray[Any]


class ShardedKeys(NamedTuple):
    """A request that is split into pieces.

    Attributes
    ----------
    rows, distinct : rows of the user's array, and of the distinct keys in it
    inverse : for each of the user's rows its place among the distinct ones; None: the same order
    pieces : for each shard concerned
    """

    rows: int
    distinct: int
    inverse: NDArray[np.int64] | None
    pieces: list[Piece]


class KeySharder:
    """Splits the keys of requests for the tables of one layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._known = KeyCache(256)

    def shard(self, table: int, keys: slice | Array | None) -> ShardedKeys:
        """Split a request for `keys` of table number `table`.

        Raises
        ------
        UsageError
            Keys outside 0..rows-1, keys that are not integers, or a slice with a step.
        """
        if keys is None or isinstance(keys, slice):
            first, last = self._bounds(table, keys or slice(None))
            mark = (table, first, -last - 1)
        else:
            keys = self._integers(np.asarray(keys))
            mark = (table, len(keys), messages.signature(keys))
        if mark not in self._known:
            cut = self._list(table, keys) if isinstance(keys, np.ndarray) else self._range(table, first, last)
            self._known.add(mark, cut)
        sharded: ShardedKeys = self._known.get(mark)
        return sharded

    def _bounds(self, table: int, keys: slice) -> tuple[int, int]:
        rows = self.layout.tables[table].rows
        first = 0 if keys.start is None else keys.start
        last = rows if keys.stop is None else keys.stop
        if keys.step not in (None, 1) or not 0 <= first <= last <= rows:
            raise UsageError(
                f"a range of keys of table {self.layout.tables[table].name!r} must lie in 0..{rows} in steps of 1, "
                f"got {first}:{last}:{keys.step or 1}"
            )
        return first, last

    @staticmethod
    def _integers(keys: Array) -> Array:
        if keys.ndim != 1 or (keys.dtype.kind not in "iu" and keys.size):
            raise UsageError(f"keys must be a vector of integers, got shape {keys.shape} of {keys.dtype}")
        return keys.astype(np.int64, copy=False)

    def _range(self, table: int, first: int, last: int) -> ShardedKeys:
        placement = self.layout.placements[table]
        pieces = []
        for shard in self.layout.shards:
            owned = placement.keys(shard)
            mine = owned[slice(*np.searchsorted(owned, (first, last)))] - first
            if len(mine):
                whole = mine[-1] - mine[0] + 1 == len(mine)
                index = slice(int(mine[0]), int(mine[-1]) + 1) if whole else mine
                pieces.append(Piece(shard, len(mine), index, None, first, last))
        return ShardedKeys(last - first, last - first, None, pieces)

    def _list(self, table: int, keys: Array) -> ShardedKeys:
        distinct, inverse = np.unique(keys, return_inverse=True)
        spec = self.layout.tables[table]
        if keys.size and (distinct[0] < 0 or distinct[-1] >= spec.rows):
            worst = distinct[0] if distinct[0] < 0 else distinct[-1]
            raise UsageError(f"keys of table {spec.name!r} must lie between 0 and {spec.rows - 1}, got {worst}")
        same = len(distinct) == len(keys) and bool((inverse == np.arange(len(keys))).all())
        owners = self.layout.placements[table].shard_of(distinct)
        pieces = []
        for shard in np.flatnonzero(np.bincount(owners)).tolist():
            index = np.flatnonzero(owners == shard)
            travel = distinct[index].astype(messages.KEY)
            pieces.append(Piece(shard, len(index), index, travel, len(index), messages.signature(travel)))
        return ShardedKeys(len(keys), len(distinct), None if same else inverse, pieces)


def merge(sharded: ShardedKeys, gradient: Array) -> Array:
    """Rows of the distinct keys; rows of a key that occurs twice are added, in order."""
    if sharded.inverse is None:
        return gradient
    merged = np.zeros((sharded.distinct, *gradient.shape[1:]), gradient.dtype)
    np.add.at(merged, sharded.inverse, gradient)
    return merged
