"""What a message is charged at its sender's end: card, links, and when its first byte arrives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.core.cards import Queue
    from emulator.core.clock import Clock
    from emulator.core.flows import Flows
    from emulator.core.routes import Route
    from emulator.network import Network


class Departures:
    """The sender's half of an engine's costs; the attributes are those of `emulator.core.engine.Engine`."""

    network: Network
    rank: int
    clock: Clock
    links: Sequence[Queue]
    flows: Flows | None
    late: int
    _token: int
    _first_of_order: int

    def leave(self, route: Route, context: int, size: int) -> tuple[float, float, float, float]:
        """Charge a message at the sender's end of its route.

        Returns when its first and its last byte leave the card, when the first arrives, and its service there.
        """
        by = self._first_of_order + self._token
        if route.simple and route.change is None:  # the usual case: what `leave_card` and `reach` come to
            out, last = size * route.beta_out, route.last
            start = route.queue.take(self.clock.t, out if out > route.gap else route.gap, by)
            first = start + route.alpha
            if first < last.get(context, 0.0):
                first = last[context]
            last[context] = first
            route.sequence += 1
            route.bytes += size
            return start, start + out, first, size * route.beta
        start, end, service = self.leave_card(route, size, by)
        first = start
        for index in route.links:
            first = self.links[index].take(first, size * self.network.links[index].beta, by)
        return start, end, self.reach(route, context, size, start, first), service

    def leave_card(self, route: Route, size: int, by: int) -> tuple[float, float, float]:
        """Charge a message to this host's card: when its first and last byte leave, its service at the receiver's."""
        out, service = size * route.beta_out, size * route.beta
        change = route.change
        if change is not None:
            out *= change.stretch_out
            service = max(service, out)
        start = route.queue.take(self.clock.t, out if out > route.gap else route.gap, by)
        return start, start + out, service

    def reach(self, route: Route, context: int, size: int, start: float, first: float) -> float:
        """When the first byte of a message arrives that has left the card at `start` and the last link at `first`."""
        if route.links:
            route.queued = first - start
        first += route.alpha
        if route.varies:
            first += route.path.delay(route.stream, route.sequence, size)
        if route.change is not None:
            first = route.change.delay(first, start, route, size)
        last = route.last
        if first < last.get(context, 0.0):
            first = last[context]
        last[context] = first
        route.sequence += 1
        route.bytes += size
        return first

    def _join(self, route: Route, context: int, size: int) -> tuple[float, float, float, float]:
        """Charge a message that shares cards and links packet by packet; its send takes no time per byte."""
        left = self.leave(route, context, size)
        if not route.loopback and self.flows is not None:
            key, beta = (self.rank, self._token + 1), self.network.spec.beta
            self.late += self.flows.add(key, route.destination, left[2], size, beta)
        return left
