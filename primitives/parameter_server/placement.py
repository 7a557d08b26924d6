"""Which shard owns which key: by range, by hash, or on a ring of virtual nodes.

    range        [0 ........ | ........ | ........]      key -> block; a dense table stays contiguous
    hash         mix(key) mod shards                     hot neighbours spread out; a new shard moves k/(k+1) keys
    consistent   ring of mix(shard, replica) points      a new shard moves only the keys it takes, about 1/(k+1);
                 key -> first point clockwise            the load varies by about 1/sqrt(virtual nodes)

Karger et al., "Consistent Hashing and Random Trees" (STOC 1997); virtual nodes as in Dynamo (SOSP 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError

Keys = NDArray[np.int64]


def mix(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """Scatter integers over 64 bits (the finaliser of splitmix64, a bijection)."""
    x = np.asarray(keys).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Placement:
    """The owner of every key 0..rows-1 among `shards` shards; a subclass defines only `shard_of`.

    Parameters
    ----------
    rows : number of keys
    shards : number of shards, or their names (integers) when a shard in the middle has joined or left
    """

    def __init__(self, rows: int, shards: int | Sequence[int]) -> None:
        self.rows = rows
        self.names = list(range(shards)) if isinstance(shards, int) else list(shards)
        if not self.names:
            raise UsageError("a table needs at least one shard, got 0: name a server")
        self._owned: dict[int, Keys] = {}

    def shard_of(self, keys: NDArray[Any]) -> NDArray[np.int64]:
        """Index (into `names`) of the shard that owns each of `keys`."""
        raise NotImplementedError

    def keys(self, shard: int) -> Keys:
        """Sorted keys that `shard` owns; computed once."""
        if shard not in self._owned:
            self._owned[shard] = np.flatnonzero(self.shard_of(np.arange(self.rows)) == shard)
        return self._owned[shard]


class RangePlacement(Placement):
    """Placement in blocks of neighbouring keys whose sizes differ by at most one."""

    @cached_property
    def bounds(self) -> Keys:
        """First key of each shard, and the number of rows at the end."""
        return np.arange(len(self.names) + 1) * self.rows // len(self.names)

    def shard_of(self, keys: NDArray[Any]) -> NDArray[np.int64]:
        return np.searchsorted(self.bounds, keys, side="right") - 1


class HashPlacement(Placement):
    """Placement by the mixed key modulo the number of shards."""

    def shard_of(self, keys: NDArray[Any]) -> NDArray[np.int64]:
        return (mix(keys) % np.uint64(len(self.names))).astype(np.int64)


class ConsistentPlacement(Placement):
    """Placement at the first of `virtual` x shards points on the ring at or after the mixed key."""

    virtual = 256

    @cached_property
    def _ring(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        owners = np.repeat(np.arange(len(self.names)), self.virtual)
        labels = np.repeat(np.asarray(self.names), self.virtual) * self.virtual + np.tile(
            np.arange(self.virtual), len(self.names)
        )
        points = mix(mix(labels))  # mixed twice: a key and a label of the same number must not meet
        order = np.argsort(points)
        return points[order], owners[order]

    def shard_of(self, keys: NDArray[Any]) -> NDArray[np.int64]:
        points, owners = self._ring
        return owners[np.searchsorted(points, mix(keys)) % len(points)]


KINDS: dict[str, type[Placement]] = {
    "range": RangePlacement,
    "hash": HashPlacement,
    "consistent": ConsistentPlacement,
}


def check_kind(kind: str) -> None:
    """Reject a name that is none of the `KINDS`."""
    if kind not in KINDS:
        raise UsageError(f"placement must be one of {', '.join(KINDS)}, got {kind!r}")


def place(kind: str, rows: int, shards: int | Sequence[int]) -> Placement:
    """Make a placement of one of the `KINDS`; a UsageError for another name, or without a shard."""
    check_kind(kind)
    return KINDS[kind](rows, shards)


def moved(before: Placement, after: Placement) -> float:
    """Share of the keys whose owner (by name) differs between two placements: what a resize must transfer."""
    keys = np.arange(before.rows)
    owner_before = np.asarray(before.names)[before.shard_of(keys)]
    owner_after = np.asarray(after.names)[after.shard_of(keys)]
    return float(np.mean(owner_before != owner_after)) if before.rows else 0.0
