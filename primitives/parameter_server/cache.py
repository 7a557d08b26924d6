"""A worker's own copies of what it has read, used again while the staleness bound allows it.

    clock of the worker     5       6       7       8            bound s = 2
    copy from the shard     5------->------->       8            its clock: the slowest worker's when it was read
    staleness of the read   0       1       2       0

A copy read when the slowest worker had closed iteration c holds every update of iterations < c, so at clock t it is
t - c iterations stale whatever the others have done since: a read may take it while t - c <= s (Petuum's rule), and
of s + 1 reads only one needs the network. The price is staler reads: fresh ones would see what has arrived since.

A worker sees its own pushes at once. So each of them is applied to the copy too, with the table's own rule, which must
therefore be one without state (the velocity of a momentum lies on the server). Copies belong to one list of keys or
range; a push of other keys of the table makes the worker read anew.

Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server" (NIPS 2013), section 3.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.parameter_server.consistency import Consistency
from primitives.parameter_server.keys import ShardedKeys
from primitives.parameter_server.table import Table

Array = NDArray[Any]


@dataclass
class Copy:
    """Rows as a shard gave them, with the worker's own pushes since.

    Attributes
    ----------
    sharded
        Which keys.
    clock
        The slowest worker's when they were read.
    rows
        Of the sharded's distinct keys.
    """

    sharded: ShardedKeys
    clock: int
    rows: Array


class Cache:
    """The copies of one worker.

    Parameters
    ----------
    tables
        What there is to copy.
    rule
        Must be ssp.
    size
        Copies of each table; the one that was used longest ago is dropped.

    Raises
    ------
    UsageError
        Another rule, or a table whose update has state.
    """

    def __init__(self, tables: Sequence[Table], rule: Consistency, size: int = 16) -> None:
        if rule.kind != "ssp":
            raise UsageError(f"a worker may keep copies under bounded staleness only, got {rule}: use ssp, or no cache")
        for table in tables:
            if not table.update.stateless:
                raise UsageError(
                    f"a worker's copies need updates that it can apply itself, got {type(table.update).__name__} for "
                    f"table {table.name!r}, whose state is the server's: use Add, SGD or Function, or no cache"
                )
        self.hits = 0
        self._tables, self._bound, self._size = tables, int(rule.bound), size
        self._copies: list[OrderedDict[int, Copy]] = [OrderedDict() for _ in tables]
        self._pushes: Counter[int] = Counter()

    def holds(self, table: int, sharded: ShardedKeys, clock: int) -> bool:
        """Whether a read of these keys at this clock needs no message."""
        copy = self._copies[table].get(id(sharded))
        return copy is not None and clock - copy.clock <= self._bound

    def get(self, table: int, sharded: ShardedKeys, clock: int) -> Copy | None:
        """The copy, if it is fresh enough."""
        if not self.holds(table, sharded, clock):
            return None
        self.hits += 1
        self._copies[table].move_to_end(id(sharded))
        return self._copies[table][id(sharded)]

    def mark(self, table: int) -> int:
        """To be taken when a read is sent, and given to `put` with what came back."""
        return self._pushes[table]

    def put(self, table: int, sharded: ShardedKeys, clock: int, rows: Array, mark: int) -> None:
        """Keep a copy; not if this worker has pushed since it asked: the reply may hold that push, or may not."""
        if mark != self._pushes[table]:
            return
        copies = self._copies[table]
        copies[id(sharded)] = Copy(sharded, clock, rows.copy())  # which keeps the keys, and so their id
        copies.move_to_end(id(sharded))
        if len(copies) > self._size:
            copies.popitem(last=False)

    def pushed(self, table: int, sharded: ShardedKeys, gradient: Array) -> None:
        """Let this worker's own push take effect, as the servers will."""
        self._pushes[table] += 1
        copy = self._copies[table].get(id(sharded))
        self._copies[table].clear()
        if copy is not None and np.isfinite(gradient).all():  # a server may refuse what is not finite
            self._tables[table].update.apply(copy.rows, [], slice(0, sharded.distinct), gradient)
            self._copies[table][id(sharded)] = copy
