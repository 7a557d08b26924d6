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
from primitives.parameter_server.channel import Channel, PendingRequest
from primitives.parameter_server.compression import Compression, to_half
from primitives.parameter_server.consistency import Consistency, Staleness
from primitives.parameter_server.keys import KeySharder, ShardedKeys, merge
from primitives.parameter_server.layout import Layout
from primitives.parameter_server.messages import Piece
from primitives.parameter_server.server import OnFailure, Server
from primitives.parameter_server.table import Table

Array = NDArray[Any]
Keys = slice | Array | None
_UNCONFIRMED = 64  # pushes per shard after which a worker with replicas asks whether they have arrived


class Pull:
    """A pull in progress; `wait` returns the rows."""

    def __init__(
        self, worker: Worker, table: Table, sharded: ShardedKeys, asked: list[PendingRequest], out: Array | None
    ) -> None:
        self._worker, self._table, self._sharded, self._asked, self._out = worker, table, sharded, asked, out
        self._done = False

    def test(self) -> bool:
        """Whether `wait` would return at once."""
        channel = self._worker.channel
        channel.serve_others()
        return all(channel.arrived(asked) for asked in self._asked)

    def wait(self) -> Array:
        """Wait for the rows, in the order of the requested keys, shape (keys,) or (keys, width)."""
        if not self._done:
            inverse = self._sharded.inverse
            rows = self._received(None if inverse is not None else self._out)
            self._out = rows if inverse is None else np.take(rows, inverse, axis=0, out=self._out)
            self._done = True
        assert self._out is not None
        return self._out

    def _received(self, out: Array | None) -> Array:
        """The rows of the distinct keys, in `out` if it is given."""
        table = self._table
        rows = np.empty(table.shape(self._sharded.distinct), table.dtype) if out is None else out
        clocks, wire = [], table.wire(self._worker.compression.half)
        for asked in self._asked:
            header, body = self._worker.channel.receive(asked)
            clocks.append(header.clock)
            if asked.piece is not None:
                rows[asked.piece.where] = body.view(wire).reshape(table.shape(asked.piece.rows))
        if clocks:
            self._worker.count_read(self._asked[0].header.clock - min(clocks))
        return rows


class Worker:
    """A rank that computes, with its connection to the servers.

    Attributes
    ----------
    channel : its messages, and the counts of them (bytes, seconds waited)
    staleness : histogram of what its pulls saw
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        layout: Layout,
        consistency: Consistency,
        server: Server | None = None,
        on_failure: OnFailure | None = None,
        compression: Compression | None = None,
    ) -> None:
        self.layout, self.compression = layout, compression or Compression()
        self.rank = comm.Get_rank()
        self._phase = carrier.of(comm).phase
        self.channel = Channel(comm, layout, server, on_failure, self.compression.half)
        self.staleness, self._stalest = Staleness(), consistency.staleness
        self._asks_everyone = carrier.of(comm).ordered  # an ordered inbox must hear that this worker waits, rows or not
        self._sharder = KeySharder(layout)

    @property
    def clock(self) -> int:
        """Number of iterations closed."""
        return self.channel.clock

    def count_read(self, behind: int) -> None:
        """Count a pull whose rows lack the slowest worker's last `behind` iterations."""
        self.staleness.observe(behind, self._stalest)

    def pull(self, table: str, keys: Keys = None, out: Array | None = None) -> Array:
        """Read rows as the consistency rule allows; blocks until it does.

        Parameters
        ----------
        table : its name
        keys : None: all of them; a slice: a range; integers in any order, repeated or not: those
        out : where the rows go, shape (keys,) or (keys, width)
        """
        return self.pull_async(table, keys, out).wait()

    def pull_async(self, table: str, keys: Keys = None, out: Array | None = None) -> Pull:
        """Request rows and return at once; ``.wait()`` returns them. See `pull`."""
        self._phase("pull")
        index, sharded = self._request(table, keys, out)
        pieces: dict[int, Piece | None] = dict.fromkeys(self.layout.shards) if self._asks_everyone else {}
        pieces |= {piece.shard: piece for piece in sharded.pieces}
        asked = [self.channel.ask(self._question(shard, index, piece)) for shard, piece in pieces.items()]
        return Pull(self, self.layout.tables[index], sharded, asked, out)

    def push(self, table: str, gradient: Array, keys: Keys = None, closes: bool = False) -> None:
        """Send a gradient; the array may be changed at once.

        Parameters
        ----------
        table, keys : as for `pull`; rows of a key that is named twice are added
        gradient : shape (keys,) or (keys, width)
        closes : whether this was the iteration's last push: saves the messages of `tick`
        """
        self._phase("push")
        index, sharded, rows = self._prepare(table, gradient, keys)
        self._tell(index, sharded, rows, messages.CLOSES if closes else 0)
        if closes:
            self._close({piece.shard for piece in sharded.pieces})

    def push_pull(self, table: str, gradient: Array, keys: Keys = None, out: Array | None = None) -> Pull:
        """Push, close the iteration and ask for the same rows for the next one, in one message to each shard.

        With replicas, with top-k, and where every shard must be asked but some have none of the rows, it is
        ``push(..., closes=True)`` and `pull_async`, two messages to each shard.
        """
        sharded = self._sharder.shard(self.layout.table(table), keys)
        apart = self._asks_everyone and len(sharded.pieces) < len(self.layout.shards)
        if self.layout.replicas > 1 or apart or (keys is None and self.compression.sparse):
            self.push(table, gradient, keys, closes=True)
            return self.pull_async(table, keys, out)
        self._request(table, keys, out)
        index, sharded, rows = self._prepare(table, gradient, keys)
        asked = []
        for piece in sharded.pieces:
            question = self._question(piece.shard, index, piece)
            question.header = question.header._replace(clock=self.clock + 1)
            asked.append(self.channel.listen(question))
        self._tell(index, sharded, rows, messages.CLOSES | messages.ASKS)
        self._close({piece.shard for piece in sharded.pieces})
        return Pull(self, self.layout.tables[index], sharded, asked, out)

    def tick(self) -> None:
        """Close the iteration: one small message to every shard."""
        self._close(set())

    def flush(self) -> None:
        """Wait until every push so far has reached all replicas of its shard; under bsp it may take effect later."""
        self.channel.number += 1
        headers = [self.channel.header(messages.FLUSH, shard) for shard in self.layout.shards]
        for asked in [self.channel.ask(PendingRequest(header)) for header in headers]:
            self.channel.receive(asked)

    def away(self) -> None:
        """Tell the servers that this worker waits for the other workers next, as in an all-reduce.

        On an emulated network without pacing a server takes messages in emulated order, for which it waits for those of
        all workers; one that waits for another worker sends none. If all workers say so before a collective of theirs,
        the order stays exact. Elsewhere nothing is sent.
        """
        if self._asks_everyone and self.layout.replicas == 1:
            self.channel.away()

    def leave(self) -> None:
        """Leave every shard: all pushes so far take effect, and no server waits for this worker any more."""
        self.channel.goodbye()

    def _request(self, table: str, keys: Keys, out: Array | None) -> tuple[int, ShardedKeys]:
        """Number a pull after checking its keys and `out`; returns the table's index and the split keys."""
        index = self.layout.table(table)
        spec, sharded = self.layout.tables[index], self._sharder.shard(index, keys)
        if out is not None and (out.shape != spec.shape(sharded.rows) or out.dtype != spec.dtype):
            raise UsageError(
                f"out must have shape {spec.shape(sharded.rows)} and type {np.dtype(spec.dtype)}, "
                f"got {out.shape} of {out.dtype}"
            )
        self.channel.number += 1
        return index, sharded

    def _prepare(self, table: str, gradient: Array, keys: Keys) -> tuple[int, ShardedKeys, Array]:
        """Check and compress a gradient: its table, the keys to send by shard, the rows of the distinct ones."""
        index = self.layout.table(table)
        spec, sharded = self.layout.tables[index], self._sharder.shard(index, keys)
        gradient = np.asarray(gradient, spec.dtype)
        if gradient.shape != spec.shape(sharded.rows):
            raise UsageError(
                f"a push of {sharded.rows} keys to table {spec.name!r} needs shape {spec.shape(sharded.rows)}, "
                f"got {gradient.shape}"
            )
        if keys is None:
            chosen, gradient = self.compression.select(index, gradient)
            sharded = sharded if chosen is None else self._sharder.shard(index, chosen)
        return index, sharded, merge(sharded, gradient)

    def _tell(self, index: int, sharded: ShardedKeys, rows: Array, flags: int) -> None:
        for piece in sharded.pieces:
            part = rows[piece.where]
            values = to_half(part) if self.compression.half else np.ascontiguousarray(part)
            self.channel.tell(messages.PUSH, piece.shard, index, values, piece, flags)

    def _question(self, shard: int, index: int, piece: Piece | None) -> PendingRequest:
        spec = self.layout.tables[index]
        size = 0 if piece is None else piece.rows * spec.width * spec.wire(self.compression.half).itemsize
        return PendingRequest(self.channel.header(messages.PULL, shard, index), piece, size)

    def _close(self, told: Collection[int]) -> None:
        """Close the iteration at the shards to which no push has announced it."""
        for shard in self.layout.shards:
            if shard not in told:
                self.channel.tell(messages.TICK, shard, flags=messages.CLOSES)
        self.channel.clock += 1
        if self.channel.unconfirmed > _UNCONFIRMED:
            self.flush()
