"""One shard as a state machine: requests come in, replies go out. No MPI here.

    receive(request) -> replies
        push           applied; under bsp kept until every worker has closed its iteration
        tick           the worker's clock advances
        leave          the worker is no longer waited for, and gets a reply
        pull, flush    parked until the rule allows the reply (a flush: until the worker's pushes are here)
        then the parked requests that may go now are answered, in order of arrival

A push may carry the next iteration's pull of the same rows (one message instead of two). Replies that one event
allows leave in rank order under bsp, so that a run is repeatable; under the other rules in order of arrival.
No request starves: after every event parked requests are tried in order of arrival, one that may go never waits for a
later one, and clocks only grow. A pull waits for its own worker's earlier pushes, never for another worker's requests.
A push, tick or leave that comes twice (same worker and sequence number: sent again after a failure) counts once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from primitives.parameter_server import messages
from primitives.parameter_server.compression import to_half
from primitives.parameter_server.consistency import Clocks, Consistency
from primitives.parameter_server.messages import Bytes, Header, KeyCache
from primitives.parameter_server.table import Part, combine
from primitives.parameter_server.updates import Rows

Array = NDArray[Any]
Replies = list[tuple[int, Bytes]]
"""Workers, and the messages to send them."""


@dataclass(slots=True, eq=False)
class Request:
    """A pull or flush that waits for its reply; requests are numbered in order of arrival."""

    header: Header
    rows: Rows
    number: int


class Shard:
    """The state machine of shard `index`, with its `parts` of all tables; other parameters as in `ParameterServer`."""

    def __init__(
        self,
        index: int,
        parts: Sequence[Part],
        workers: Iterable[int],
        consistency: Consistency,
        refuse_nan: bool = True,
    ) -> None:
        self.index, self.parts, self.rule, self.refuse_nan = index, parts, consistency, refuse_nan
        self.clocks = Clocks(workers)
        self.not_finite: Counter[int] = Counter()  # worker -> its pushes with NaN or infinity
        self.applied: Counter[int] = Counter()  # worker -> sequence number of its last push, tick or leave here
        self.updates = 0
        self._parked: dict[int, list[Request]] = {}  # worker -> its requests, in order of arrival
        self._number = 0
        self._tried_at = self.clocks.slowest  # the slowest clock when all parked requests were last tried
        self._pending: dict[int, list[tuple[int, int, int, Rows, Array]]] = {}  # clock -> pushes, under bsp
        self._lists: dict[tuple[int, int, bool], KeyCache] = {}

    @property
    def members(self) -> int:
        """Workers that have not left."""
        return len(self.clocks.clocks)

    @property
    def parked(self) -> int:
        """Requests that wait for their replies."""
        return sum(map(len, self._parked.values()))

    @property
    def owing(self) -> set[int]:
        """Members that wait for no reply, so that their next message is still to come."""
        return self.clocks.clocks.keys() - self._parked.keys()

    def arrays(self) -> dict[str, Array]:
        """Values of every table and the state of its update, by name, as its checkpoint has them; no copies."""
        return {f"{part.table.name} {self.index} {at}": array
                for part in self.parts for at, array in enumerate([part.values, *part.state])}  # fmt: skip

    def receive(self, message: Bytes) -> Replies:
        """Process one message and return the replies that may be sent now."""
        header, body = messages.unpack(message)
        worker, asks = header.worker, header.kind in (messages.PULL, messages.FLUSH)
        if header.kind == messages.DROP:
            return self.drop(worker)
        if not asks and header.sequence > self.applied[worker] + 1:
            return []  # what comes before it was lost with a server; the worker sends both again
        rows, values = self._decode(header, body)
        if not asks and header.sequence <= self.applied[worker]:  # sent again
            return [self._reply(header, rows)] if header.kind == messages.LEAVE else []
        if worker not in self.clocks.clocks:
            return []  # it was dropped before: in every replica this is too late
        if asks:
            self._park(header, rows)
            return self._answer(worker)
        if header.kind == messages.PUSH:
            self._push(header, rows, values)
        self._advance(header)
        if header.flags & messages.ASKS:
            pull = header._replace(
                kind=messages.PULL, clock=header.clock + 1, sequence=header.seen, seen=header.sequence
            )
            self._park(pull, rows)
        if header.kind != messages.LEAVE:
            return self._answer(worker)
        self._forget(worker)
        return self._in_order([self._reply(header, rows), *self._answer(worker)])

    def drop(self, worker: int) -> Replies:
        """Go on without a worker that died: its pushes count, its pulls get no reply."""
        if worker not in self.clocks.clocks:
            return []
        self._parked.pop(worker, None)
        self._forget(worker)
        return self._answer(worker)

    def _decode(self, header: Header, body: Bytes) -> tuple[Rows, Array]:
        """The rows that a request names, and the values of a push."""
        if header.kind not in (messages.PUSH, messages.PULL):
            return slice(0, 0), body
        part = self.parts[header.table]
        rows, count = self._rows(header, part, body)
        if header.kind == messages.PULL:
            return rows, body
        table = part.table
        wire = table.wire(bool(header.flags & messages.HALF))
        values = body[: count * table.width * wire.itemsize].view(wire)
        return rows, values.astype(table.dtype, copy=False).reshape(table.shape(count))

    def _rows(self, header: Header, part: Part, body: Bytes) -> tuple[Rows, int]:
        if header.keys == messages.RANGE:
            span = part.span(header.first, header.last)
            return span, span.stop - span.start
        cache = self._lists.setdefault((header.worker, header.table, header.kind == messages.PUSH), KeyCache())
        if header.keys == messages.CACHED:
            return cache.get(header.last), header.first
        size = header.first * messages.KEY.itemsize
        positions = part.positions(body[len(body) - size :].view(messages.KEY))
        cache.add(header.last, positions)
        return positions, header.first

    def _push(self, header: Header, rows: Rows, gradient: Array) -> None:
        finite = math.isfinite(float(np.abs(gradient).max(initial=0.0)))  # NaN or infinity if any entry is
        if not finite:
            self.not_finite[header.worker] += 1
            if self.refuse_nan:
                return
        if self.rule.together:
            push = (header.worker, header.sequence, header.table, rows, gradient)
            self._pending.setdefault(header.clock, []).append(push)
        else:
            self.parts[header.table].apply(rows, gradient)
            self.updates += 1

    def _advance(self, header: Header) -> None:
        """Note that a push, tick or leave has been ordered in its worker's history."""
        self.applied[header.worker] = header.sequence
        if header.flags & messages.CLOSES:
            self.clocks.tick(header.worker, header.clock)
            self._apply_closed()

    def _forget(self, worker: int) -> None:
        self.clocks.leave(worker)
        self._apply_closed()

    def _apply_closed(self) -> None:
        """Apply the pushes of every iteration that all workers have closed, in rank order (bsp)."""
        for clock in sorted(c for c in self._pending if c < self.clocks.slowest):
            pushes = sorted(self._pending.pop(clock), key=lambda push: push[:2])
            for table in sorted({push[2] for push in pushes}):
                rows, gradient = combine([push[3:] for push in pushes if push[2] == table])
                self.parts[table].apply(rows, gradient)
                self.updates += 1

    def _park(self, header: Header, rows: Rows) -> None:
        self._number += 1
        self._parked.setdefault(header.worker, []).append(Request(header, rows, self._number))

    def _answer(self, worker: int) -> Replies:
        """Reply to the parked requests that may be answered now.

        As long as the slowest clock stays as it is, a message concerns only the requests of its own worker: the others'
        are not tried, or a message would cost the more the more workers wait.
        """
        trying = self._parked.get(worker, [])
        if self.clocks.slowest != self._tried_at:
            self._tried_at = self.clocks.slowest
            trying = sorted((r for queue in self._parked.values() for r in queue), key=attrgetter("number"))
        ready = [request for request in trying if self._may_answer(request.header)]
        for request in ready:
            queue = self._parked[request.header.worker]
            queue.remove(request)
            if not queue:
                del self._parked[request.header.worker]
        return self._in_order([self._reply(request.header, request.rows) for request in ready])

    def _may_answer(self, header: Header) -> bool:
        if header.seen > self.applied[header.worker]:
            return False
        bound = self.rule.staleness
        return header.kind == messages.FLUSH or bound is None or self.clocks.slowest >= header.clock - bound

    def _in_order(self, replies: Replies) -> Replies:
        return sorted(replies, key=lambda reply: reply[0]) if self.rule.together else replies

    def _reply(self, asked: Header, rows: Rows) -> tuple[int, Bytes]:
        header = Header(
            messages.REPLY, shard=self.index, table=asked.table, worker=asked.worker,
            clock=max(0, min(self.clocks.slowest, asked.clock)), sequence=asked.sequence,
            seen=self.applied[asked.worker], first=self.not_finite[asked.worker], last=asked.kind,
        )  # fmt: skip
        if asked.kind != messages.PULL:
            return asked.worker, messages.pack(header)
        values = self.parts[asked.table].values[rows]
        return asked.worker, messages.pack(header, to_half(values) if asked.flags & messages.HALF else values)
