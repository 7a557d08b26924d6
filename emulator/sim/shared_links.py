"""A simulated message that passes shared links; it requests each link when it reaches it.

The emulated network asks for all links of a way when a message is sent, because other processes cannot be waited for.
Here the message asks for each when it comes there, so that every link serves its messages in the order in which they
come; those of one instant by `order_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator.core.cards import order_of
from emulator.core.routes import Route
from emulator.sim.collectives.phantom import holds

if TYPE_CHECKING:
    from emulator.sim.simple_messages import PlainMessages


class Crossing:
    """A message that has requested its sender's card; the loop calls it when it reaches a link.

    Parameters
    ----------
    engine, route : the sender's, and the message's way
    envelope : context, tag, flags, token

    Attributes
    ----------
    end : when its last byte leaves the sender's card
    """

    def __init__(
        self, engine: PlainMessages, route: Route, envelope: tuple[int, int, int, int], payload: Any, size: int
    ) -> None:
        self._engine, self._route, self._envelope = engine, route, envelope
        self._payload = payload if holds(payload) else bytes(payload)
        self._size, self._asked = size, engine.clock.t
        self._by = order_of(engine.rank, envelope[3])
        self._start, self.end, self._service = engine.leave_card(route, size, self._by)
        self._passed = 0
        engine.loop.call_after(self._start, self._by, self)

    def __call__(self) -> None:
        """Pass the links that are free now, and schedule the next call for when the next one is."""
        engine, links = self._engine, self._route.links
        loop, at = engine.loop, engine.loop.now
        while self._passed < len(links) and at <= loop.now:
            link = links[self._passed]
            at = engine.links[link].take(at, self._size * engine.network.links[link].beta, self._by)
            self._passed += 1
        if self._passed < len(links):
            loop.call_after(at, self._by, self)
        elif not engine.killed or self.end <= engine.failures.died[engine.rank]:
            self._arrive(at)

    def _arrive(self, left: float) -> None:
        """Deliver the message, which has left the last link at `left`, to its receiver."""
        engine, route, size = self._engine, self._route, self._size
        context, tag, flags, token = self._envelope
        first = engine.reach(route, context, size, self._start, left)
        for sent in engine.instruments.sent:
            sent(
                engine.rank, route.destination, tag, size, self._start, self.end, self._asked, first, route.queued,
                token,
            )  # fmt: skip
        engine.leaves = self.end
        engine.transmit(route, context, tag, flags, first, self._service, size, token, self._payload)
