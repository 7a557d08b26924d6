"""Scatter a question to sharded data: each shard answers, from any of its replicas.

        shard 0: w1 w2     shard 1: w2 w3     shard 2: w3 w1        (3 shards, 3 workers, 2 replicas)

A key's shard is a hash; a shard's replicas lie on consecutive workers (chained declustering), so that a dead
worker's load goes to two neighbours and not to one. Of the replicas the first free one answers. If it dies, or is late
and ``speculate`` is on, another one is asked; the answer names the shards that have no living replica.

Bytes: the question once to each shard, each shard's answer once back. Memory: ``replicas`` times the data.

Sources: H.-I. Hsiao, D. DeWitt, "Chained Declustering" (ICDE 1990); J. Dean, L. A. Barroso, "The Tail at Scale"
(CACM 56(2), 2013), hedged requests.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from emulator.errors import UsageError
from primitives.scatter_gather.coordinator import Coordinator
from primitives.scatter_gather.outcome import Answer


def stable_hash(key: Hashable) -> int:
    """A 32-bit hash that is equal in every process (``hash`` of a string is salted); keys need a stable repr.

    Examples
    --------
    >>> stable_hash("ring")
    2745708842
    """
    return zlib.crc32(repr(key).encode())


class Shards:
    """The ranks of each shard's replicas.

    Parameters
    ----------
    shards : number of shards, >= 1
    workers : ranks that hold them
    replicas : copies of each shard, on as many different workers

    Raises
    ------
    UsageError
        More replicas than workers, a worker named twice, or no shards at all.

    Examples
    --------
    >>> placement = Shards(3, workers=[1, 2, 3], replicas=2)
    >>> [placement.replicas_of(shard) for shard in range(3)]
    [(1, 2), (2, 3), (3, 1)]
    >>> placement.held_by(2)
    [0, 1]
    """

    def __init__(self, shards: int, workers: Sequence[int], replicas: int = 1) -> None:
        if shards < 1:
            raise UsageError(f"there must be at least 1 shard, got {shards}")
        if len(set(workers)) != len(workers):
            raise UsageError(f"each worker may be named once, got {sorted(workers)}")
        if not 1 <= replicas <= len(workers):
            raise UsageError(
                f"a shard needs 1 to {len(workers)} replicas (one per worker), got {replicas}: start more workers"
            )
        self.shards, self._workers, self._replicas = shards, workers, replicas

    def replicas_of(self, shard: int) -> tuple[int, ...]:
        """Ranks that hold ``shard``, its primary first."""
        if not 0 <= shard < self.shards:
            raise UsageError(f"a shard is a number from 0 to {self.shards - 1}, got {shard}")
        count = len(self._workers)
        return tuple(self._workers[(shard + copy) % count] for copy in range(self._replicas))

    def held_by(self, rank: int) -> list[int]:
        """Shards of which ``rank`` holds a copy."""
        if rank not in self._workers:
            return []
        place, count = self._workers.index(rank), len(self._workers)
        return sorted(
            shard for copy in range(self._replicas) for shard in range((place - copy) % count, self.shards, count)
        )

    def shard_of(self, key: Hashable) -> int:
        """The shard that ``key`` belongs to."""
        return stable_hash(key) % self.shards

    def split(self, keys: Iterable[Hashable]) -> list[list[Hashable]]:
        """Group keys by shard, in the given order.

        Raises
        ------
        UsageError
            A key occurs twice.
        """
        parts: list[list[Hashable]] = [[] for _ in range(self.shards)]
        seen: set[Hashable] = set()
        for key in keys:
            if key in seen:
                raise UsageError(f"each key may occur once, got {key!r} twice: merge its values first")
            seen.add(key)
            parts[self.shard_of(key)].append(key)
        return parts


def ask_shards(
    pool: Coordinator, placement: Shards, question: Any, shards: Sequence[int] | None = None, **options: Any
) -> Answer:
    """Ask shards a question; a replica of each calls the workers' function with ``(shard, question)``.

    The answer goes by the shards' numbers.

    Parameters
    ----------
    pool : the coordinator
    placement : where the shards are; the workers hold what ``placement.held_by(rank)`` says
    question : sent to every shard
    shards : which to ask; None: all
    **options : ``deadline``, ``speculate``, ``retries``, ... of :meth:`Coordinator.stream`

    Raises
    ------
    UsageError
        A shard is named twice or does not exist.
    """
    asked = list(range(placement.shards)) if shards is None else list(shards)
    if len(set(asked)) != len(asked):
        twice = next(shard for shard in asked if asked.count(shard) > 1)
        raise UsageError(f"each shard may be asked once, got {twice} twice")
    where = [placement.replicas_of(shard) for shard in asked]
    return replace(pool.ask([(shard, question) for shard in asked], where=where, **options), names=asked)
