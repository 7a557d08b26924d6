"""MPI's matching: which message goes to which receive, within one context (a communicator, or its collectives).

Both sides are kept in order, and looked up at once however many are outstanding, with wildcards or without. A receive
from ANY_SOURCE takes the message whose first byte arrived earliest in emulated time; while such a receive
is posted on a paced run, messages that physically came early wait for their time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

from emulator.core.message import ANY_SOURCE, ANY_TAG, SYNC, Arrival

_Entry = tuple[float, int, int, Arrival]
"""A message in a heap, after what orders it: its first byte's time, its source, and its physical order."""
Early = list[tuple[float, int, int, Arrival, "Matcher"]]
"""A heap of messages that came before their emulated time, and the matcher of each."""


def release(later: Early, now: float) -> None:
    """Match the messages whose first byte has arrived by emulated time `now`."""
    while later and later[0][0] <= now:
        *_, message, matcher = heappop(later)
        matcher.release(message)


class Receive(Protocol):
    """A posted receive.

    Attributes
    ----------
    source, tag : what it accepts; `source` is a rank of the engine
    turn : its place among the posted receives
    posted : emulated time at which it was posted
    transfer : the payload that is still under way to it, if any
    """

    source: int
    tag: int
    turn: int
    posted: float
    transfer: Any

    def take(self, message: Arrival) -> memoryview | None:
        """Take a matching message; returns where its payload is to go if that follows."""


class Matcher:
    """The posted receives and the unexpected messages of one context.

    Parameters
    ----------
    matched : called with each receive and the message that it gets
    later : messages that matched no receive when they came, and whose emulated time had not come; one that an exact
        receive has taken since stays here until its time. All matchers of a rank share it.
    """

    __slots__ = (
        "_any_source", "_deferred", "_earliest", "_matched", "_orders", "_posted", "_turn", "_unexpected", "_wild",
        "later",
    )  # fmt: skip

    def __init__(self, matched: Callable[[Receive, Arrival], None], later: Early) -> None:
        self._matched, self.later = matched, later
        self._posted: dict[tuple[int, int], deque[Receive]] = {}  # by source and tag, wildcards as they are
        self._wild = self._any_source = 0  # posted receives with a wildcard; those from ANY_SOURCE
        self._orders = False  # a receive from ANY_SOURCE has been posted, for which early messages are held back
        self._deferred = False  # an exact receive may be posted although its message is here, before its time
        self._unexpected: dict[int, dict[int, deque[Arrival]]] = {}  # by source, then by tag
        # Of each tag that a receive from ANY_SOURCE or a probe has named: unexpected messages, the earliest first.
        self._earliest: dict[int, list[_Entry]] = {}
        self._turn = 0

    # -- messages

    def arrive(self, message: Arrival, now: float) -> None:
        """Match a message that has physically arrived in a paced run at emulated time `now`."""
        if self._any_source and (self.later or message.first > now):
            self._deferred = True
            self._keep(message)
            self._hold(message)
            if message.first <= now:
                release(self.later, now)
        elif not self.match(message) and message.first > now and (self._orders or message.flags & SYNC):
            self._hold(message)

    def release(self, message: Arrival) -> None:
        """Match a message whose emulated time has come."""
        message.early = False
        if message.unexpected:
            taker = self._taker(message)
            if taker is not None:
                self.remove(message)
                self.withdraw(taker)
                self._matched(taker, message)

    def match(self, message: Arrival) -> bool:
        """Give a message to the posted receive that it matches, or keep it as unexpected (and return False)."""
        if self._wild:
            taker = self._taker(message)
            if taker is not None:
                self.withdraw(taker)
        else:
            key = (message.source, message.tag)
            posted = self._posted.get(key)
            taker = posted.popleft() if posted else None
            if taker is not None and not posted:
                del self._posted[key]
        if taker is None:
            self._keep(message)
            return False
        self._matched(taker, message)
        return True

    def claim(self, source: int, tag: int) -> Receive | None:
        """Withdraw the receive that a message matches; None: there is none, or one with a wildcard may take it."""
        posted = None if self._wild else self._posted.get((source, tag))
        if posted is None:
            return None
        taker = posted.popleft()
        if not posted:
            del self._posted[source, tag]
        return taker

    def _taker(self, message: Arrival) -> Receive | None:
        """The posted receive that a message matches: the first posted of those that accept it."""
        source, tag = message.source, message.tag
        exact = self._posted.get((source, tag))
        taker = exact[0] if exact else None
        if self._wild:
            for key in ((source, ANY_TAG), (ANY_SOURCE, tag), (ANY_SOURCE, ANY_TAG)):
                posted = self._posted.get(key)
                if posted and (taker is None or posted[0].turn < taker.turn):
                    taker = posted[0]
        return taker

    def _hold(self, message: Arrival) -> None:
        message.early = True
        heappush(self.later, (message.first, message.source, message.order, message, self))

    def _keep(self, message: Arrival) -> None:
        """Keep an unexpected message."""
        message.unexpected = True
        by_tag = self._unexpected.get(message.source)
        if by_tag is None:
            by_tag = self._unexpected[message.source] = {}
        waiting = by_tag.get(message.tag)
        if waiting is None:
            waiting = by_tag[message.tag] = deque()
        waiting.append(message)
        if self._earliest:
            for tag in (message.tag, ANY_TAG):
                if tag in self._earliest:
                    heappush(self._earliest[tag], (message.first, message.source, message.order, message))

    # -- receives

    def post(self, request: Receive, now: float | None) -> None:
        """Match a new receive with an unexpected message, or remember it."""
        if self._unexpected:
            found = self.take(request.source, request.tag, now)
            if found is not None:
                self._matched(request, found)
                return
            if request.source == ANY_SOURCE and not self._orders and now is not None:
                for message in self.unexpected():
                    if message.first > now and not message.early:
                        self._hold(message)
        self._turn += 1
        request.turn = self._turn
        key = (request.source, request.tag)
        posted = self._posted.get(key)
        if posted is None:
            posted = self._posted[key] = deque()
        posted.append(request)
        if request.tag < 0 or request.source < 0:  # a wildcard
            self._wild += 1
            if request.source == ANY_SOURCE:
                self._any_source += 1
                self._orders = True

    def withdraw(self, request: Receive) -> bool:
        """Forget a posted receive; False if it was not posted (any more)."""
        key = (request.source, request.tag)
        posted = self._posted.get(key)
        if posted is None:
            return False
        if posted[0] is request:
            posted.popleft()
        elif request in posted:
            posted.remove(request)
        else:
            return False
        if not posted:
            del self._posted[key]
        if request.tag < 0 or request.source < 0:  # a wildcard
            self._wild -= 1
            if request.source == ANY_SOURCE:
                self._any_source -= 1
                if self._deferred and not self._any_source:
                    self._settle()
        return True

    def _settle(self) -> None:
        """Match receives of a named source with messages that no receive from ANY_SOURCE can take any more."""
        self._deferred = False
        for request in sorted((one for posted in self._posted.values() for one in posted), key=lambda one: one.turn):
            found = self.take(request.source, request.tag, None)
            if found is not None:
                self.withdraw(request)
                self._matched(request, found)

    # -- unexpected messages

    def find(self, source: int, tag: int, now: float | None) -> Arrival | None:
        """The unexpected message that a receive from (source, tag) would take, or None.

        On a paced run a message whose time has not come is not taken from ANY_SOURCE, since one still under way may be
        earlier, nor from its source while a receive from ANY_SOURCE is posted that it may belong to.
        """
        if source == ANY_SOURCE:
            best = self._first(tag)
            if best is not None and now is not None and best.first > now:
                return None
        else:
            by_tag = self._unexpected.get(source)
            if by_tag is None:
                return None
            if tag == ANY_TAG:
                if len(by_tag) > 1:
                    tag = min((waiting[0].order, tag) for tag, waiting in by_tag.items())[1]
                else:
                    (tag,) = by_tag
            waiting = by_tag.get(tag)
            best = waiting[0] if waiting else None
        if best is None:
            return None
        if best.early and self._any_source:
            self._deferred = True
            return None
        return best

    def _first(self, tag: int) -> Arrival | None:
        """The earliest unexpected message of a tag (or of any tag), from any source."""
        heap = self._earliest.get(tag)
        if heap is None:
            known = (message for message in self.unexpected() if tag in (ANY_TAG, message.tag))
            heap = self._earliest[tag] = [(one.first, one.source, one.order, one) for one in known]
            heapify(heap)
        while heap and not heap[0][3].unexpected:  # another receive has taken it
            heappop(heap)
        return heap[0][3] if heap else None

    def take(self, source: int, tag: int, now: float | None) -> Arrival | None:
        """Find and remove the unexpected message that a receive would take."""
        found = self.find(source, tag, now)
        if found is not None:
            self.remove(found)
        return found

    def remove(self, found: Arrival) -> None:
        """Remove an unexpected message; one that `find` has returned is the first of its source and tag."""
        found.unexpected = False
        by_tag = self._unexpected[found.source]
        waiting = by_tag[found.tag]
        if waiting[0] is found:
            waiting.popleft()
        else:
            waiting.remove(found)
        if not waiting:
            del by_tag[found.tag]
            if not by_tag:
                del self._unexpected[found.source]
                if not self._unexpected:
                    self._earliest.clear()

    @property
    def idle(self) -> bool:
        """Whether no receive is posted, and no message waits for one."""
        return not self._posted and not self._unexpected

    def unexpected(self) -> list[Arrival]:
        """List the messages that no receive has taken."""
        return [message for by_tag in self._unexpected.values() for waiting in by_tag.values() for message in waiting]

    def next_time(self) -> float | None:
        """When (emulated) the next message that has arrived before its time can be matched."""
        while self.later and not self.later[0][3].unexpected:
            heappop(self.later)
        return self.later[0][0] if self.later else None
