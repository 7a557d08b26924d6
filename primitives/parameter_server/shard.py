"""One shard as a state machine: a request comes in, replies go out. No MPI here.

    receive(request) -> replies
        push   -> parked or applied (the gate decides)         pull, flush -> parked or answered
        tick   -> the worker's clock moves                     leave       -> the worker is forgotten, and told so
        then parked requests are tried again, in order of arrival, until nothing moves

A push may carry the next iteration's pull of the same rows with it (one message instead of two). What one event sets
free under bsp is answered in rank order, so that a run is repeatable; under the other rules in order of arrival.
No request starves: parked requests are tried in arrival order after every event, one that may go never waits for a
later one, and clocks only grow. A pull waits for its own worker's earlier pushes, never for somebody else's
requests as such. Requests that were seen before (same worker, same sequence number: a retry after a failure) are
applied once.
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
from primitives.parameter_server.consistency import Consistency
from primitives.parameter_server.messages import Bytes, Header, KeyCache
from primitives.parameter_server.table import Part, combine
from primitives.parameter_server.updates import Rows

Array = NDArray[Any]


@dataclass(slots=True)
class Request:
    """A decoded message."""

    header: Header
    rows: Rows
    gradient: Array | None = None
    number: int = 0  # in the order of arrival


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
        self.index = index
        self.parts = parts
        self.gate = consistency.gate(workers)
        self.refuse_nan = refuse_nan
        self.not_finite: Counter[int] = Counter()  # worker -> its pushes with NaN or infinity
        self.applied: Counter[int] = Counter()  # worker -> last sequence number that took its place here
        self._heard: Counter[int] = Counter()  # worker -> last sequence number that has come here
        self.updates = 0
        self.most_parked = 0
        self._parked: dict[int, list[Request]] = {}  # worker -> its requests, in the order of their arrival
        self._number = self._waiting = 0  # requests that have come, and that are parked
        self._settled = self.gate.slowest  # when nothing moved any more
        self._pending: dict[int, list[tuple[int, int, int, Rows, Array]]] = {}  # clock -> pushes, under bsp
        self._lists: dict[tuple[int, int, bool], KeyCache] = {}
        self._carried: list[Request] = []  # pulls that came with a push which has just taken its place

    @property
    def members(self) -> int:
        """Workers that have not left."""
        return len(self.gate.clocks)

    @property
    def owing(self) -> set[int]:
        """Members that wait for no reply: their next message is still to come."""
        asked = (messages.PULL, messages.FLUSH)
        headers = [request.header for queue in self._parked.values() for request in queue]
        return self.gate.clocks.keys() - {h.worker for h in headers if h.kind in asked or h.flags & messages.ASKS}

    def receive(self, message: Bytes) -> list[tuple[int, Bytes]]:
        """Take one message; returns the replies that it sets free as (worker, message)."""
        header, body = messages.unpack(message)
        if header.kind == messages.DROP:
            return self.drop(header.worker)
        told = header.kind not in (messages.PULL, messages.FLUSH)
        if told and header.sequence > self._heard[header.worker] + 1:
            return []  # what comes before it was lost with a server; the worker sends both again
        request = self._decode(header, body)
        if told:
            self._heard[header.worker] = max(self._heard[header.worker], header.sequence)
        if told and header.sequence <= self.applied[header.worker]:  # seen before
            return [self._reply(request)] if header.kind == messages.LEAVE else []
        if header.worker not in self.gate.clocks:
            return []  # it was dropped before: in every replica this is too late
        if header.kind == messages.PULL or header.flags & messages.ASKS:
            self.gate.waits(header.worker)
        self._park(request)
        self.most_parked = max(self.most_parked, self._waiting)
        return self._drain(header.worker)

    def drop(self, worker: int) -> list[tuple[int, Bytes]]:
        """Go on without a worker that died: what it pushed counts, what it asked is forgotten."""
        if worker not in self.gate.clocks:
            return []
        asked = [r for r in self._parked.get(worker, []) if r.gradient is None]
        self._waiting -= len(asked)
        self._parked[worker] = [r for r in self._parked.get(worker, []) if r.gradient is not None]
        self._forget(worker)
        return self._drain()

    def _decode(self, header: Header, body: Bytes) -> Request:
        if header.kind not in (messages.PUSH, messages.PULL):
            return Request(header, slice(0, 0))
        part = self.parts[header.table]
        rows, count = self._rows(header, part, body)
        if header.kind == messages.PULL:
            return Request(header, rows)
        sent = np.dtype(np.float16 if header.flags & messages.HALF else part.table.dtype)
        values = body[: count * part.table.width * sent.itemsize].view(sent)
        gradient = values.astype(part.table.dtype, copy=False).reshape(part.table.shape(count))
        return Request(header, rows, gradient)

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

    def _drain(self, worker: int | None = None) -> list[tuple[int, Bytes]]:
        """Let parked requests take effect until nothing moves any more; the replies.

        Where the slowest clock alone decides, a message that leaves it as it is concerns the requests of its own
        worker only: then the others' are not looked at, or a message would cost the more the more workers wait.
        """
        replies: list[tuple[int, Bytes]] = []
        moved = True
        while moved and self._parked:
            if not self.gate.by_clock or self.gate.slowest != self._settled:
                worker = None
            self._settled = self.gate.slowest
            if worker is None:
                trying = sorted((r for queue in self._parked.values() for r in queue), key=attrgetter("number"))
            else:
                trying = self._parked.get(worker, [])
            moved = self._pass(trying, replies)
        return sorted(replies, key=lambda reply: reply[0]) if self.gate.together else replies

    def _pass(self, trying: Sequence[Request], replies: list[tuple[int, Bytes]]) -> bool:
        """Try each of these requests once, in the order of their arrival; whether one took effect."""
        done: set[int] = set()
        held: set[int] = set()  # workers with a push or tick still parked: what they sent later waits as well
        for request in trying:
            if request.header.worker not in held and self._try(request, replies):
                done.add(request.number)
            elif request.header.kind not in (messages.PULL, messages.FLUSH):
                held.add(request.header.worker)
        if done:
            self._waiting -= len(done)
            for worker in {request.header.worker for request in trying}:
                self._parked[worker] = [r for r in self._parked[worker] if r.number not in done]
                if not self._parked[worker]:
                    del self._parked[worker]
        carried, self._carried = self._carried, []
        for request in carried:
            self._park(request)
        return bool(done)

    def _park(self, request: Request) -> None:
        self._number += 1
        self._waiting += 1
        request.number = self._number
        self._parked.setdefault(request.header.worker, []).append(request)

    def _try(self, request: Request, replies: list[tuple[int, Bytes]]) -> bool:
        """Let one request take effect if it may."""
        header = request.header
        if header.kind in (messages.PUSH, messages.TICK) and header.sequence <= self.applied[header.worker]:
            return True  # it has come twice while it could not take its place
        if header.kind == messages.PUSH:
            return self._push(request)
        if header.kind == messages.TICK:
            self._place(header)
            return True
        if header.kind == messages.LEAVE:
            self._place(header)
            self._forget(header.worker)
            replies.append(self._reply(request))
            return True
        if header.seen > self.applied[header.worker]:
            return False
        if header.kind == messages.PULL:
            if not self.gate.may_read(header.worker, header.clock):
                return False
            self.gate.read(header.worker)
        replies.append(self._reply(request))
        return True

    def _push(self, request: Request) -> bool:
        header, gradient = request.header, request.gradient
        assert gradient is not None
        magnitude = float(np.abs(gradient).max(initial=0.0))  # NaN or infinity if any entry is
        finite = math.isfinite(magnitude)
        if finite or not self.refuse_nan:
            if self.gate.together:
                push = (header.worker, header.sequence, header.table, request.rows, gradient)
                self._pending.setdefault(header.clock, []).append(push)
            elif self.gate.may_apply(header.worker, magnitude):
                self.parts[header.table].apply(request.rows, gradient)
                self.gate.applied(header.worker, magnitude)
                self.updates += 1
            else:
                return False
        if not finite:
            self.not_finite[header.worker] += 1
        self._place(header)
        if header.flags & messages.ASKS:
            pull = header._replace(
                kind=messages.PULL, clock=header.clock + 1, sequence=header.seen, seen=header.sequence
            )
            self._carried.append(Request(pull, request.rows))
        return True

    def _place(self, header: Header) -> None:
        """A push, tick or leave has taken its place in its worker's history."""
        self.applied[header.worker] = header.sequence
        if header.flags & messages.CLOSES:
            self.gate.tick(header.worker, header.clock)
            self._apply_closed()

    def _forget(self, worker: int) -> None:
        self.gate.leave(worker)
        self._apply_closed()

    def _apply_closed(self) -> None:
        """Under bsp: let the pushes of every iteration that all workers have closed take effect, in rank order."""
        for clock in sorted(c for c in self._pending if c < self.gate.slowest):
            pushes = sorted(self._pending.pop(clock), key=lambda push: push[:2])
            for table in sorted({push[2] for push in pushes}):
                rows, gradient = combine([push[3:] for push in pushes if push[2] == table])
                self.parts[table].apply(rows, gradient)
                self.updates += 1

    def _reply(self, request: Request) -> tuple[int, Bytes]:
        asked = request.header
        half = asked.flags & messages.HALF
        clock = max(0, min(self.gate.slowest, asked.clock))
        header = Header(
            messages.REPLY, flags=half, shard=self.index, table=asked.table, worker=asked.worker, clock=clock,
            sequence=asked.sequence, seen=self.applied[asked.worker],
            first=self.not_finite[asked.worker], last=asked.kind,
        )  # fmt: skip
        if asked.kind != messages.PULL:
            return asked.worker, messages.pack(header)
        values = self.parts[asked.table].values[request.rows]
        return asked.worker, messages.pack(header, to_half(values) if half else values)
