"""The worker's side: pull rows, push gradients, close iterations, leave.

Pushes are handed to MPI and not waited for; pulls are posted and waited for when their value is needed
(`pull_async`), or at once (`pull`). A rank that is also a server serves others whenever it waits.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator import carrier
from emulator.errors import UsageError
from primitives.parameter_server import messages
from primitives.parameter_server.cache import Cache, Copy
from primitives.parameter_server.channel import Asked, Channel
from primitives.parameter_server.compression import Compression, to_half
from primitives.parameter_server.consistency import Consistency
from primitives.parameter_server.keys import KeySharder, ShardedKeys, merge
from primitives.parameter_server.layout import Layout
from primitives.parameter_server.messages import Piece
from primitives.parameter_server.server import OnFailure, Server
from primitives.parameter_server.staleness import Staleness
from primitives.parameter_server.table import Table

Array = NDArray[Any]
Keys = slice | Array | None
_UNCONFIRMED = 64  # pushes per shard after which a worker with replicas asks whether they have arrived


class Pull:
    """A pull on its way, or a copy that spares it; `wait` gives the rows."""

    def __init__(
        self,
        worker: Worker,
        table: int,
        sharded: ShardedKeys,
        asked: list[Asked],
        out: Array | None,
        copy: Copy | None = None,
    ) -> None:
        self._worker, self._table, self._sharded, self._asked, self._out = worker, table, sharded, asked, out
        self._kept = None if copy is None else copy.rows.copy()  # what it is now: the copy will change
        self._mark = worker.cache.mark(table) if worker.cache is not None else 0
        self._done = False

    def test(self) -> bool:
        """Whether `wait` would return at once."""
        channel = self._worker.channel
        channel.serve_others()
        return all(channel.arrived(asked) for asked in self._asked)

    def wait(self) -> Array:
        """Rows in the order of the keys asked for, shape (keys,) or (keys, width)."""
        if not self._done:
            self._collect()
            self._done = True
        assert self._out is not None
        return self._out

    def _collect(self) -> None:
        sharded = self._sharded
        rows = self._received() if self._kept is None else self._kept
        if sharded.inverse is not None:
            rows = np.take(rows, sharded.inverse, axis=0, out=self._out)
        elif self._out is not None and rows is not self._out:
            np.copyto(self._out, rows)
            rows = self._out
        self._out = rows

    def _received(self) -> Array:
        """The rows of the distinct keys, as they come in."""
        spec, sharded = self._worker.layout.tables[self._table], self._sharded
        direct = self._out is not None and sharded.inverse is None
        rows = self._out if direct else np.empty(spec.shape(sharded.distinct), spec.dtype)
        assert rows is not None
        clocks = []
        for asked in self._asked:
            header, body = self._worker.channel.receive(asked)
            clocks.append(header.clock)
            if asked.piece is not None:
                sent = np.dtype(np.float16 if header.flags & messages.HALF else spec.dtype)
                rows[asked.piece.where] = body.view(sent).reshape(spec.shape(asked.piece.rows))
        if clocks:
            self._worker.staleness.observe(self._asked[0].header.clock - min(clocks))
            if self._worker.cache is not None:
                self._worker.cache.put(self._table, sharded, min(clocks), rows, self._mark)
        return rows


class Worker:
    """A rank that computes.

    Attributes
    ----------
    channel
        Its messages, and the counts of them (bytes, seconds waited).
    staleness
        Histogram of what its pulls saw, copies included.
    cache
        Its own copies, if it keeps any.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        layout: Layout,
        consistency: Consistency,
        compression: Compression,
        server: Server | None = None,
        on_failure: OnFailure | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.layout, self.compression, self.cache = layout, compression, cache
        self.rank = comm.Get_rank()
        self._phase = carrier.of(comm).phase
        self.channel = Channel(comm, layout, compression.half, server, on_failure)
        self.staleness = Staleness(consistency.staleness)
        # A shard must hear that this worker has caught up or (see `inbox`) that it waits, rows or not.
        self._asks_everyone = consistency.kind == "value" or carrier.of(comm).ordered
        self._two_rounds = consistency.kind == "value" and len(layout.shards) > 1
        self._sharder = KeySharder(layout)

    @property
    def clock(self) -> int:
        """Iterations closed."""
        return self.channel.clock

    def pull(self, table: str, keys: Keys = None, out: Array | None = None) -> Array:
        """Read rows as the consistency rule allows; blocks until it does.

        Parameters
        ----------
        table
            Its name.
        keys
            None: all of them; a slice: a range; integers in any order, repeated or not: those.
        out
            Where the rows go, shape (keys,) or (keys, width).
        """
        return self.pull_async(table, keys, out).wait()

    def pull_async(self, table: str, keys: Keys = None, out: Array | None = None) -> Pull:
        """Ask for rows now, take them later with ``.wait()``; see `pull`."""
        self._phase("pull")
        index = self.layout.table(table)
        sharded = self._sharder.shard(index, keys)
        self._check_out(index, sharded, out)
        if self.cache is not None and (copy := self.cache.get(index, sharded, self.clock)) is not None:
            self.staleness.observe(self.clock - copy.clock)
            return Pull(self, index, sharded, [], out, copy)
        if self._two_rounds:
            self.flush(messages.ASKS)
        self.channel.number += 1
        pieces: list[Piece | None] = list(sharded.pieces)
        shards = [piece.shard for piece in sharded.pieces]
        if self._asks_everyone:
            missing = [shard for shard in self.layout.shards if shard not in shards]
            pieces, shards = pieces + [None] * len(missing), shards + missing
        asked = [
            self.channel.ask(self._question(shard, index, piece)) for shard, piece in zip(shards, pieces, strict=True)
        ]
        return Pull(self, index, sharded, asked, out)

    def push(self, table: str, gradient: Array, keys: Keys = None, closes: bool = False) -> None:
        """Send a gradient on its way; the array may be changed at once.

        Parameters
        ----------
        table, keys
            As for `pull`; rows of a key that is named twice are added.
        gradient
            Shape (keys,) or (keys, width).
        closes
            Whether this was the iteration's last push: saves the messages of `tick`.
        """
        self._phase("push")
        index = self.layout.table(table)
        sharded, rows = self._prepare(index, gradient, keys)
        self._push(index, sharded, rows, closes)

    def push_pull(self, table: str, gradient: Array, keys: Keys = None, out: Array | None = None) -> Pull:
        """Push, close the iteration and ask for the same rows for the next one, in one message to each shard.

        The same as ``push(..., closes=True)`` and `pull_async`, which it is made of where one message cannot do it
        (with replicas, with top-k, under the value rule on several shards, where some shards have none of the rows)
        or where a copy spares the question.
        """
        index = self.layout.table(table)
        if self.cache is not None and self.cache.holds(index, self._sharder.shard(index, keys), self.clock + 1):
            self.push(table, gradient, keys, closes=True)
            return self.pull_async(table, keys, out)
        sharded, rows = self._prepare(index, gradient, keys)
        compressed = keys is None and sharded.distinct < self.layout.tables[index].rows
        touches_all = len(sharded.pieces) == len(self.layout.shards)
        if self.layout.replicas > 1 or self._two_rounds or compressed or (self._asks_everyone and not touches_all):
            self._push(index, sharded, rows, closes=True)
            return self.pull_async(table, keys, out)
        self._check_out(index, sharded, out)
        self.channel.number += 1
        asked = []
        for piece in sharded.pieces:
            question = self._question(piece.shard, index, piece)
            question.header = question.header._replace(clock=self.clock + 1)
            asked.append(self.channel.listen(question))
            self._tell(piece, index, rows, messages.CLOSES | messages.ASKS)
        self._close({piece.shard for piece in sharded.pieces})
        return Pull(self, index, sharded, asked, out)

    def tick(self) -> None:
        """Close the iteration: one small message to every shard."""
        self._close(set())

    def flush(self, flags: int = 0) -> None:
        """Wait until every push so far has taken its place in all replicas of its shard."""
        self.channel.number += 1
        headers = [self.channel.header(messages.FLUSH, shard) for shard in self.layout.shards]
        for asked in [self.channel.ask(Asked(header._replace(flags=flags))) for header in headers]:
            self.channel.receive(asked)

    def leave(self) -> None:
        """Leave every shard: all pushes so far take effect, and no server waits for this worker any more."""
        self.channel.goodbye()

    def _prepare(self, index: int, gradient: Array, keys: Keys) -> tuple[ShardedKeys, Array]:
        """Check, compress and merge a gradient: its keys by shard, and the rows of the distinct ones."""
        spec = self.layout.tables[index]
        gradient = np.asarray(gradient, spec.dtype)
        if keys is None:
            _check_shape(spec, gradient, spec.rows)
            keys, gradient = self.compression.select(index, gradient)
        sharded = self._sharder.shard(index, keys)
        _check_shape(spec, gradient, sharded.rows)
        rows = merge(sharded, gradient)
        if self.cache is not None:
            self.cache.pushed(index, sharded, to_half(rows).astype(spec.dtype) if self.compression.half else rows)
        return sharded, rows

    def _push(self, index: int, sharded: ShardedKeys, rows: Array, closes: bool) -> None:
        for piece in sharded.pieces:
            self._tell(piece, index, rows, messages.CLOSES if closes else 0)
        if closes:
            self._close({piece.shard for piece in sharded.pieces})

    def _tell(self, piece: Piece, index: int, rows: Array, flags: int) -> None:
        part = rows[piece.where]
        values = to_half(part) if self.compression.half else np.ascontiguousarray(part)
        self.channel.tell(messages.PUSH, piece.shard, index, values, piece, flags)

    def _question(self, shard: int, index: int, piece: Piece | None) -> Asked:
        spec = self.layout.tables[index]
        item = 2 if self.compression.half else np.dtype(spec.dtype).itemsize
        size = 0 if piece is None else piece.rows * spec.width * item
        return Asked(self.channel.header(messages.PULL, shard, index), piece, size)

    def _check_out(self, index: int, sharded: ShardedKeys, out: Array | None) -> None:
        spec = self.layout.tables[index]
        if out is not None and (out.shape != spec.shape(sharded.rows) or out.dtype != spec.dtype):
            raise UsageError(
                f"out must have shape {spec.shape(sharded.rows)} and type {np.dtype(spec.dtype)}, "
                f"got {out.shape} of {out.dtype}"
            )

    def _close(self, told: Collection[int]) -> None:
        """Close the iteration at the shards that no push has told."""
        for shard in self.layout.shards:
            if shard not in told:
                self.channel.tell(messages.TICK, shard, flags=messages.CLOSES)
        self.channel.clock += 1
        if self.channel.unconfirmed > _UNCONFIRMED:
            self.flush()


def _check_shape(table: Table, gradient: Array, rows: int) -> None:
    if gradient.shape != table.shape(rows):
        raise UsageError(
            f"a push of {rows} keys to table {table.name!r} needs shape {table.shape(rows)}, got {gradient.shape}"
        )
