"""Network cards and shared links as queues: when a message leaves a card, and when the receiving card has served it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from heapq import heappop
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from emulator.core.message import Arrival

if TYPE_CHECKING:
    from emulator.core.clock import Pacer
    from emulator.core.flows import Flows

# Cells of a queue: when it is free for good, the latest request and whose it was, how many spans were noted, and the
# last of those.
FREE, ASKED, BY, NOTED, SPANS = range(5)
_KEPT = 32
_PER_SPAN = 4  # begin, end, the latest request inside, whose it was
CELLS = SPANS + _KEPT * _PER_SPAN


class Lock(Protocol):
    """The lock of a queue that several ranks use."""

    def acquire(self) -> Any: ...

    def release(self) -> Any: ...


class Queue:
    """A resource that serves one message at a time, in the order of the requests: ``start = max(asked, free)``.

    Requests of one instant go in the order of their messages, see `order_of`.

    Ranks run ahead of each other, so a request can come in after a later one was served. It is then given
    the first idle span that has room for it, which is where it really was unless the two meet. If they do, their
    order is inverted; inversions are counted, not corrected.

    Attributes
    ----------
    inversions : requests that met one for a later instant which had been served
    swaps : requests that met one of the same instant, of a later message, which had been served
    """

    __slots__ = ("cell", "cells", "inversions", "lock", "remembers", "swaps")

    def __init__(self, cells: Any, cell: int, lock: Lock | None = None, remembers: bool = True) -> None:
        self.cells = cells
        self.cell = cell
        self.lock = lock  # None when one rank alone uses the queue
        self.remembers = remembers  # not needed where requests cannot come out of order
        self.inversions = self.swaps = 0

    def take(self, asked: float, seconds: float, by: int = 0) -> float:
        """Occupy the resource for `seconds`, from emulated time `asked` at the earliest; returns the start.

        Parameters
        ----------
        by : `order_of` the message; it decides only between requests of one instant
        """
        cells, cell, lock = self.cells, self.cell, self.lock
        if lock is not None:
            lock.acquire()
        free, latest = cells[cell], cells[cell + ASKED]
        if asked > latest or (asked == latest and by >= cells[cell + BY]):
            start = asked if asked > free else free
            cells[cell] = start + seconds
            cells[cell + ASKED] = asked
            if self.remembers:
                cells[cell + BY] = by
                self._note(start, start + seconds, asked, by, joined=start == free)
        else:
            start = self._fit(asked, seconds, by)
        if lock is not None:
            lock.release()
        return start

    def _note(self, begin: float, end: float, asked: float, by: int, joined: bool) -> None:
        """Remember a busy span (or an instant at which a message passed), or extend the last one.

        A span that is joined is the latest request's: `take` found none that is later.
        """
        cells, cell = self.cells, self.cell
        noted = int(cells[cell + NOTED])
        if joined and noted:
            place = cell + SPANS + _PER_SPAN * ((noted - 1) % _KEPT)
            if cells[place + 1] == begin:
                cells[place + 1], cells[place + 2], cells[place + 3] = end, asked, by
                return
        place = cell + SPANS + _PER_SPAN * (noted % _KEPT)
        cells[place], cells[place + 1], cells[place + 2], cells[place + 3] = begin, end, asked, by
        cells[cell + NOTED] = noted + 1

    def _fit(self, asked: float, seconds: float, by: int) -> float:
        """Serve a late request in the first idle span that has room for it."""
        cells, cell = self.cells, self.cell
        kept = min(int(cells[cell + NOTED]), _KEPT)
        first = cell + SPANS
        flat = list(cells[first : first + kept * _PER_SPAN])
        spans = sorted(zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True))
        start, inverted, swapped = asked, kept == _KEPT and asked < spans[0][0], False
        for begin, end, latest, whose in spans:
            if end < start or (end == start and latest < asked):
                continue
            if begin >= start + seconds and (begin > start or asked == start < end):
                swapped = swapped or (begin == asked and not seconds)  # those of the span may be before or behind it
                break
            if begin < end and end > start:
                start = end
            elif not seconds:
                continue
            inverted = inverted or latest > asked
            swapped = swapped or (latest == asked and whose > by)
        self.inversions += inverted
        self.swaps += swapped and not inverted
        self._note(start, start + seconds, asked, by, joined=False)
        cells[cell] = max(cells[cell], start + seconds)
        return start

    def clear(self) -> None:
        """Reset the queue: free from time 0."""
        self.cells[self.cell] = self.cells[self.cell + ASKED] = self.cells[self.cell + NOTED] = 0.0


def order_of(source: int, token: int) -> int:
    """The order of messages that ask for a card or link at one instant: by source, then by number."""
    return (source << 32) + token


class PrivateQueue(Queue):
    """A queue of one process whose requests come in order, so that it need not remember its busy spans."""

    __slots__ = ()

    def take(self, asked: float, seconds: float, by: int = 0) -> float:
        cells = self.cells
        free = cells[FREE]
        if asked < cells[ASKED]:
            return self._fit(asked, seconds, by)
        start = asked if asked > free else free
        cells[FREE] = start + seconds
        cells[ASKED] = asked
        return start


def private_queue(remembers: bool) -> Queue:
    """Make a queue in this process's memory."""
    kind = Queue if remembers else PrivateQueue
    return kind(array("d", [0.0] * CELLS), 0, None, remembers)


def _unknown(host: int) -> Queue:
    raise NotImplementedError(f"this transport does not know the card of host {host}")


@dataclass(frozen=True)
class Cards:
    """The queues that a rank's messages pass: out of its host, into its host, and every shared link of the network.

    Where messages share them packet by packet, `flows` has all that are under way. Where messages wait for their
    receives, `out_of` gives the queue out of any host.
    """

    out: Queue
    into: Queue
    links: Sequence[Queue]
    flows: Flows | None = None
    out_of: Callable[[int], Queue] = _unknown


class Port:
    """The receiving side of a card: messages wait for service in order of their first byte.

    Attributes
    ----------
    heap : messages to serve as (first, source, physical order, message): those of one instant in the order of
        `order_of`, as far as they have come
    stretch : least seconds per byte; a card that was slowed down raises it
    """

    __slots__ = ("heap", "queue", "stretch")

    whole = True
    """Messages pass one at a time, so that none takes less than its service."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.heap: list[tuple[float, int, int, Arrival]] = []
        self.stretch = 0.0

    def serve(self, message: Arrival) -> float:
        """Serve all messages up to `message`; returns its due time."""
        while message.due is None:
            following = heappop(self.heap)[3]
            service = following.service
            if self.stretch:
                service = max(service, following.size * self.stretch)
            by = (following.source << 32) + following.token  # `order_of`
            following.due = self.queue.take(following.first, service, by) + service
        return message.due

    def expected(self, messages: Collection[Arrival]) -> list[float]:
        """When messages will be due, after those served before them; serves nothing."""
        asked, dues = {id(message) for message in messages if message.due is None}, {}
        free = float(self.queue.cells[self.queue.cell])
        for *_, ahead in sorted(self.heap) if asked else ():
            free = max(free, ahead.first) + max(ahead.service, ahead.size * self.stretch)
            if id(ahead) in asked:
                dues[id(ahead)] = free
                if len(dues) == len(asked):
                    break
        return [dues.get(id(message), free) if message.due is None else message.due for message in messages]


class FairPort(Port):
    """The receiving side of a card whose messages share it packet by packet, see `emulator.core.flows`.

    A message's due time is known for good once emulated time has reached it; `serve` and `expected` give until then
    what is known.
    """

    __slots__ = ("_flows", "_host", "_pacer", "_stretch")

    whole = False

    def __init__(self, queue: Queue, flows: Flows, host: int, pacer: Pacer) -> None:
        self._flows, self._host, self._pacer = flows, host, pacer
        super().__init__(queue)

    @property
    def stretch(self) -> float:
        return self._stretch

    @stretch.setter
    def stretch(self, beta: float) -> None:
        self._stretch = beta
        self._flows.weaken(self._host, beta)

    def serve(self, message: Arrival) -> float:
        if message.due is not None:
            return message.due
        now = self._pacer.emulated() if self._pacer.pace else inf
        known = self._flows.due((message.source, message.token), now)
        if known is None:
            return message.first  # it waits for its receive, and only its envelope is here
        begin, due = known
        message.service = due - begin
        if due <= now:
            message.due = due
            heap = self.heap
            while heap and heap[0][3].due is not None:
                heappop(heap)
        return due

    def expected(self, messages: Collection[Arrival]) -> list[float]:
        return [self._expected(message) for message in messages]

    def _expected(self, message: Arrival) -> float:
        if message.due is not None:
            return message.due
        known = self._flows.expected((message.source, message.token))
        return message.first if known is None else known

    def next_event(self, now: float) -> float:
        """The next time after `now` at which the first or the last byte of a message arrives, as far as is known."""
        waiting = [entry[3] for entry in self.heap if entry[3].due is None]
        times = [message.first if message.first > now else self._expected(message) for message in waiting]
        return min((time for time in times if time > now), default=inf)
