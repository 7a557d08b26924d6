"""The MPI library's protocol between hosts: overheads, and the rendezvous of messages above the eager limit.

::

    sender    asks ----.                  .--> sends its bytes
                 alpha  \\         alpha  /             \\  alpha
    receiver             `--> matched ---'               `--> first byte

The receiver lets the bytes go when a receive has matched: it charges them to the sender's card and to the links, as the
sender would, and tells the sender when they have left.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappush
from typing import TYPE_CHECKING, Any

from emulator.core.cards import order_of
from emulator.core.matching import Receive
from emulator.core.message import LOOPBACK, Arrival
from emulator.core.operations import Handshake, Synchronous, Transfer
from emulator.core.routes import Connection

if TYPE_CHECKING:
    from emulator.core.cards import Queue
    from emulator.core.engine import Engine
    from emulator.core.routes import Route
    from emulator.network.protocol import Protocol


class ByProtocol:
    """Replaces an engine's send, match and complete by those of a protocol.

    Parameters
    ----------
    out_of : gives the queue of a host's card, out of the host
    """

    def __init__(self, engine: Engine, protocol: Protocol, out_of: Callable[[int], Queue]) -> None:
        self.engine, self.protocol, self._make_queue = engine, protocol, out_of
        self._outs: dict[int, Queue] = {}
        self._asks = False
        self._from: dict[int, Connection] = {}  # what this rank knows of the connections to it, where these have state
        self._send, self._match, self._complete, self._depart = (
            engine.send,
            engine.match,
            engine.complete,
            engine.depart,
        )
        engine.send, engine.match, engine.complete = self.send, self.match, self.complete  # type: ignore[method-assign]
        engine.depart = self.depart

    def send(
        self, destination: int, context: int, tag: int, payload: Any, size: int, sync: Synchronous | None = None
    ) -> tuple[float, Transfer | None]:
        """See `Engine.send`."""
        engine, protocol = self.engine, self.protocol
        if engine.routes[destination].loopback:
            return self._send(destination, context, tag, payload, size, sync)
        engine.clock.t += protocol.send_overhead + protocol.send_byte * size
        engine.hold(engine.clock.t)
        if not protocol.rendezvous(size):
            return self._send(destination, context, tag, payload, size, sync)
        handshake = Handshake(sync)
        self._asks = True
        end, handshake.payload = self._send(destination, context, tag, payload, size, handshake)
        self._asks = False
        path = engine.routes[destination].path
        if isinstance(path, Connection):
            path.saw(engine.clock.t, size)
        return end, handshake

    def depart(self, route: Route, context: int, size: int) -> tuple[float, float, float, float]:
        """Charge a message at this end of its route; one that waits for its receive has no bytes yet."""
        if not self._asks:
            return self._depart(route, context, size)
        route.bytes += size
        start, end, first, _ = self.engine.leave(route, context, 0)
        return start, end, first, 0.0

    def waits(self, message: Arrival) -> bool:
        """Whether a message is sent by rendezvous: its bytes wait for its receive."""
        return not message.flags & LOOPBACK and self.protocol.rendezvous(message.size)

    def match(self, receive: Receive, message: Arrival) -> None:
        """Give a message to a receive, see `Engine.match`; in a rendezvous its bytes are sent now."""
        if not self.waits(message):
            self._match(receive, message)
            return
        engine = self.engine
        matched = max(receive.posted, message.first)
        message.first, message.service, left = self._fly(message, matched)
        message.due = None
        heap = message.port.heap
        heap[:] = [entry for entry in heap if entry[3] is not message]
        heapify(heap)
        heappush(heap, (message.first, message.source, message.order, message))
        engine.reply(message, left)
        place = receive.take(message)
        if place is not None:
            receive.transfer = engine.fetch(message, place)

    def _fly(self, message: Arrival, matched: float) -> tuple[float, float, float]:
        """Send the bytes once the sender knows: first byte here, service at this card, last byte out of the other card.

        All are emulated times, but for the service.
        """
        engine, size = self.engine, message.size
        there, back = engine.network.host_of(message.source), engine.routes[message.source].back
        path = engine.network.path(there, engine.host)
        go = matched + engine.routes[message.source].alpha
        connection = self._connection(message.source)
        if connection is not None:
            go += connection.begin(go, size)
        if engine.flows is not None:
            first = go + back
            late = engine.flows.add((message.source, message.token), engine.rank, first, size, engine.network.spec.beta)
            engine.late += late
            return first, size * path.beta, go
        out = size * engine.network.hosts[there].nic.egress_beta
        by = order_of(message.source, message.token)
        start = begin = self._out_of(there).take(go, out, by)
        for index in path.links:
            begin = engine.links[index].take(begin, size * engine.network.links[index].beta, by)
        return begin + back, size * path.beta, start + out

    def _connection(self, source: int) -> Connection | None:
        """This rank's record of the connection from another; None where connections have no state."""
        network, route = self.engine.network, self.engine.routes[source]
        if not isinstance(route.path, Connection):
            return None
        if source not in self._from:
            path = network.path(network.host_of(source), self.engine.host)
            self._from[source] = Connection(network.spec, path, route.alpha, self.engine.clock)
        return self._from[source]

    def _out_of(self, host: int) -> Queue:
        """The queue out of another host; messages that this rank puts out of order there count as its own."""
        found = self._outs.get(host)
        if found is None:
            found = self._outs[host] = self._make_queue(host)
            self.engine.queues.append(found)
        return found

    def complete(self, message: Arrival, held: bool) -> None:
        """Complete a receive and keep the rank busy for the receive overhead; see `Engine.complete`."""
        self._complete(message, held)
        if not message.flags & LOOPBACK:
            if not self.waits(message) and (connection := self._connection(message.source)) is not None:
                connection.saw(message.first, message.size)
            clock, protocol = self.engine.clock, self.protocol
            clock.t += protocol.receive_overhead + protocol.receive_byte * message.size
