"""The receiving side of a simulated card, which the ranks of a host share."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from emulator.core.cards import Port, Queue
from emulator.core.message import Arrival

if TYPE_CHECKING:
    from emulator.sim.loop import Loop


class SimulatedPort(Port):
    """A port that remembers when the messages it has served are complete, for a rank that polls.

    The ranks of a host share its card, and its ports one heap: whichever rank asks first, the card serves their
    messages in the order of their first bytes; those of one instant by their source, and by its own order.
    """

    __slots__ = ("dues", "loop", "shared")

    def __init__(self, queue: Queue, loop: Loop) -> None:
        super().__init__(queue)
        self.loop = loop
        self.dues: list[float] = []
        self.shared = False

    def share(self, other: SimulatedPort) -> None:
        """Use the card of another rank of this host."""
        self.heap, self.shared, other.shared = other.heap, True, True

    def serve(self, message: Arrival) -> float:
        """Serve all messages up to this one, and remember when they are due; see `Port.serve`."""
        heap, now = self.heap, self.loop.now
        while message.due is None:
            following = heappop(heap)[3]
            port: Any = following.port
            service = following.service
            if port.stretch:
                service = max(service, following.size * port.stretch)
            due = following.due = port.queue.take(following.first, service) + service
            if due > now:  # else no poll can find that it is still to come
                heappush(port.dues, due)
                while port.dues[0] <= now:  # a rank that never polls keeps few of them
                    heappop(port.dues)
        return message.due

    def next_event(self, now: float) -> float:
        """The time after `now` at which a message's first byte arrives or its last one has passed."""
        heap = self.heap
        while heap and heap[0][0] <= now:
            self.serve(heap[0][3])
        while self.dues and self.dues[0] <= now:
            heappop(self.dues)
        if self.shared:
            first = min((entry[0] for entry in heap if entry[3].port is self), default=math.inf)
        else:
            first = heap[0][0] if heap else math.inf
        return min(first, self.dues[0]) if self.dues else first
