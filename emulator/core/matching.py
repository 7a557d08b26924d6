"""MPI's matching: which message goes to which receive, within one context (a communicator, or its collectives).

Both sides are kept in order, and exact envelopes are looked up at once however many are outstanding. A receive
from ANY_SOURCE takes the message whose first byte arrived earliest in emulated time; while such a receive
is posted on a paced run, messages that physically came early wait for their time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol

from emulator.core.message import ANY_SOURCE, ANY_TAG, Arrival

_NEVER = float("inf")


class Receive(Protocol):
    """A receive that is posted.

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
        """Take a message that matches; returns where its payload is to go if that follows."""


class Matcher:
    """The posted receives and the unexpected messages of one context.

    Parameters
    ----------
    matched : called with each receive and the message that it gets

    Attributes
    ----------
    later : messages whose emulated time has not come, while a receive from ANY_SOURCE is posted
    """

    __slots__ = ("_any_source", "_matched", "_posted", "_turn", "_unexpected", "_wild", "later")

    def __init__(self, matched: Callable[[Receive, Arrival], None]) -> None:
        self._matched = matched
        self._posted: dict[tuple[int, int], deque[Receive]] = {}
        self._wild: list[Receive] = []
        self._any_source = 0
        self._unexpected: dict[tuple[int, int], deque[Arrival]] = {}
        self._turn = 0
        self.later: list[Arrival] = []

    def arrive(self, message: Arrival, now: float) -> None:
        """Match a message that has physically arrived in a paced run, in which the wall has reached `now`."""
        if self._any_source and (self.later or message.first > now):
            heappush(self.later, message)
            if message.first <= now:
                self.release(now)
        else:
            self.match(message)

    def release(self, now: float) -> None:
        """Match the messages whose first byte has arrived by emulated time `now`."""
        while self.later and self.later[0].first <= now:
            self.match(heappop(self.later))

    def match(self, message: Arrival) -> None:
        """Give a message to the posted receive that it belongs to, or keep it as unexpected."""
        key = (message.source, message.tag)
        exact = self._posted.get(key)
        taker = exact[0] if exact else None
        for request in self._wild:
            if taker is not None and taker.turn < request.turn:
                break
            if request.source in (ANY_SOURCE, message.source) and request.tag in (ANY_TAG, message.tag):
                taker = request
                break
        if taker is None:
            waiting = self._unexpected.get(key)
            if waiting is None:
                waiting = self._unexpected[key] = deque()
            waiting.append(message)
            return
        self.withdraw(taker)
        self._matched(taker, message)

    def post(self, request: Receive, now: float | None) -> None:
        """Match a new receive with an unexpected message, or remember it."""
        found = self.take(request.source, request.tag, now)
        if found is not None:
            self._matched(request, found)
            return
        self._turn += 1
        request.turn = self._turn
        if request.source != ANY_SOURCE and request.tag != ANY_TAG:
            posted = self._posted.get((request.source, request.tag))
            if posted is None:
                posted = self._posted[request.source, request.tag] = deque()
            posted.append(request)
            return
        self._wild.append(request)
        if request.source == ANY_SOURCE:
            self._any_source += 1
            if now is not None:
                self._postpone(now)

    def _postpone(self, now: float) -> None:
        """Take back what is unexpected but, in emulated time, not there yet."""
        for key in list(self._unexpected):
            waiting = self._unexpected[key]
            while waiting and waiting[-1].first > now:
                heappush(self.later, waiting.pop())
            if not waiting:
                del self._unexpected[key]

    def withdraw(self, request: Receive) -> bool:
        """Forget a posted receive; False if it was not posted (any more)."""
        if request.source != ANY_SOURCE and request.tag != ANY_TAG:
            key = (request.source, request.tag)
            posted = self._posted.get(key)
            if posted is None or request not in posted:
                return False
            if posted[0] is request:
                posted.popleft()
            else:
                posted.remove(request)
            if not posted:
                del self._posted[key]
            return True
        if request not in self._wild:
            return False
        self._wild.remove(request)
        if request.source == ANY_SOURCE:
            self._any_source -= 1
            if not self._any_source and self.later:
                self.release(_NEVER)
        return True

    def find(self, source: int, tag: int, now: float | None) -> Arrival | None:
        """Give the unexpected message that a receive from (source, tag) would take, or None."""
        if source != ANY_SOURCE and tag != ANY_TAG:
            waiting = self._unexpected.get((source, tag))
            return waiting[0] if waiting else None
        best: Arrival | None = None
        for (sender, its_tag), waiting in self._unexpected.items():
            if source in (ANY_SOURCE, sender) and tag in (ANY_TAG, its_tag):
                head = waiting[0]
                if best is None or (head.order < best.order if source == sender else head < best):
                    best = head
        # From anywhere, a message whose time has not come may yet be beaten by one still under way.
        if best is not None and source == ANY_SOURCE and now is not None and best.first > now:
            return None
        return best

    def take(self, source: int, tag: int, now: float | None) -> Arrival | None:
        """Find such a message and remove it."""
        found = self.find(source, tag, now)
        if found is not None:
            self.remove(found)
        return found

    def remove(self, found: Arrival) -> None:
        """Take out a message that `find` has given."""
        key = (found.source, found.tag)
        waiting = self._unexpected[key]
        waiting.popleft()
        if not waiting:
            del self._unexpected[key]

    def unexpected(self) -> list[Arrival]:
        """List the messages that no receive has taken."""
        return [*(message for waiting in self._unexpected.values() for message in waiting), *self.later]

    def next_time(self) -> float | None:
        """Give the emulated time at which the next postponed message can be matched."""
        return self.later[0].first if self.later else None
