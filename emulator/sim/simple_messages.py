"""Simple messages between simulated ranks: a send, a receive and a wait, each in one function.

A message is simple (*plain* in the names below) if it goes to another host over links that it shares with nobody, in a
time that does not vary, no fault has changed its way, nobody waits for its match, and no instrument listens. Nearly all
messages of a large simulation are, and there are millions of them. Their rules are those of `emulator.core`:
`Engine.leave` charges the sender's card, `Matcher` finds the receive, `Port.serve` charges the receiver's card,
`Engine.complete` sets the clock. They stand here once more, without what a simple message does not need; tests compare
the times of both to the bit. Any other message takes the way of `emulator.core`, as every message of a rank whose
compute is measured does to complete.
"""

from __future__ import annotations

from heapq import heappush
from typing import Any

from mpi4py import MPI

from emulator.comm.buffers import Incoming, outgoing
from emulator.comm.communicator import EmulatedComm
from emulator.comm.requests import EmulatedRequest, describe
from emulator.comm.send_receive import EagerSend, ReceiveRequest
from emulator.core.cards import FairPort
from emulator.core.engine import Engine
from emulator.core.message import ANY_SOURCE, FOLLOWS, SYNC, Arrival
from emulator.core.operations import Synchronous, Transfer
from emulator.core.routes import Route
from emulator.sim.collectives import phantom
from emulator.sim.loop import Loop, Sleeper
from emulator.sim.port import SimulatedPort
from emulator.sim.shared_links import Crossing

_ANY: int = MPI.ANY_SOURCE
_ANY_TAG: int = MPI.ANY_TAG


class PlainMessages(Engine, Sleeper):
    """The part of `emulator.sim.engine.SimulatedEngine` that handles simple messages.

    Attributes
    ----------
    operation : what this rank waits for
    awaited : the message that it waits for, which its receive has got already: only time brings its last byte
    waits : how often this rank has let others run
    """

    loop: Loop
    engines: Any  # of all ranks
    nic: SimulatedPort | FairPort
    loopback: SimulatedPort
    operation: Any = None
    awaited: Arrival | None = None
    waits = 0
    failures: Any
    leaves: float
    _plain: bool
    _first_of_order: int

    def send(
        self, destination: int, context: int, tag: int, payload: Any, size: int, sync: Synchronous | None = None
    ) -> tuple[float, Transfer | None]:
        """Send a message, within this function if it is simple; see `Engine.send`."""
        route, receiver = self.routes[destination], self.engines[destination]
        if (
            not self._plain or not route.simple or sync is not None or route.change is not None
            or self.instruments.sent or receiver.instruments.arrived
        ):  # fmt: skip
            if route.links and self._plain:
                return self._cross(route, context, tag, payload, size, sync)
            return super().send(destination, context, tag, payload, size, sync)
        _, end, first, service = self.leave(route, context, size)
        rank = self.rank
        token = self._token = receiver._arrived = self._token + 1
        ghost = phantom.holds(payload)
        message = Arrival(
            context, rank, tag, route.flags | FOLLOWS if ghost else route.flags, first, service, size, token,
            None if ghost else payload,
        )  # fmt: skip
        message.order = token
        if not receiver.admits(message, end):
            return end, None
        port = message.port = receiver.loopback if route.loopback else receiver.nic
        heappush(port.heap, (first, rank, token, message))
        matcher = receiver.matchers[context]
        receive = matcher.claim(rank, tag)
        if receive is None:
            matcher.arrive(message, self.loop.now)
        else:
            receiver.match(receive, message)
        if receiver.sleeping and first < receiver.wake_at:
            receiver.notice(message)
        if message.data is not None:  # a copy: the sender may use its memory again before a receive takes the message
            message.data = memoryview(bytes(payload))
        return end, None

    def _cross(
        self, route: Route, context: int, tag: int, payload: Any, size: int, sync: Synchronous | None
    ) -> tuple[float, None]:
        """Send over links that hosts share, which serve messages in the order of their arrival."""
        change = route.change
        if change is not None and change.holds(self.clock.t, route.destination, context, tag, payload, size, sync):
            return self.clock.t, None
        token = self._token = self._token + 1
        flags = route.flags
        if sync is not None:
            flags |= SYNC
            self.awaiting[token] = sync
        return Crossing(self, route, (context, tag, flags, token), payload, size).end, None

    def admits(self, message: Arrival, end: float) -> bool:
        """Whether a message reaches this rank, which may be dead; it has left its sender at `end`."""
        return True

    def notice(self, message: Arrival) -> None:
        """Wake this rank at a message's first byte if it may wait for that, else at its last byte."""
        if self.awaited is not None and self._plain:
            return
        operation = self.operation
        if operation is None or operation.source in (ANY_SOURCE, message.source):
            if self._plain and isinstance(operation, ReceiveRequest) and operation.message is message:
                self.awaited = message
                self.loop.wake(self, message.first + message.service)
            else:
                self.loop.wake(self, message.first)

    def waits_on(self, now: float) -> float | None:
        """The time of the awaited message's first or last byte, if to come; None: it runs; see `Sleeper.waits_on`."""
        message = self.awaited
        if message is None or self.later:  # it may be the time of these
            return None
        due = message.due
        if due is None:
            if message.first > now:
                return message.first
            due = message.port.serve(message)
        return due if due > now and due > self.clock.t else None

    def wait_for(self, message: Arrival) -> None:
        """Let others run until a message's last byte has passed the card, or until it is withdrawn."""
        loop, t = self.loop, self.clock.t
        due = message.due
        self.awaited = message
        while due is None or (due > loop.now and due > t):
            self.waits += 1
            loop.block(self, message.first + message.service if due is None else due)
            if self.later:
                self.release()
            if self.awaited is None:
                return
            if message.due is None and message.first <= loop.now:
                message.port.serve(message)
            due = message.due
        self.awaited = None

    def complete(self, message: Arrival, held: bool) -> None:
        """Complete a receive, which is never late; see `Engine.complete`."""
        due = message.due
        if due is None or self.instruments.completed:
            super().complete(message, held)
        elif due > self.clock.t:
            self.clock.t = due


class PlainReceive(ReceiveRequest):
    """A receive that waits, in one function, for a message that has been matched."""

    __slots__ = ()

    def take(self, message: Arrival) -> memoryview | None:
        into: Any = self.into
        if message.size > into.room or into.packed is not None:
            return super().take(message)
        self.message = message
        if message.data is not None:  # else it is a phantom, of which nothing moves
            if message.size:
                into.view[: message.size] = message.data
            message.data = None
        return None

    def Wait(self, status: MPI.Status | None = None) -> bool:  # type: ignore[override]
        engine: Any = self.engine
        message = self.message
        if message is None or self.transfer is not None or not self.active or not engine.quick or status is not None:
            return super().Wait(status)
        engine.operation = self
        engine.wait_for(message)
        if self.message is not message:  # it was taken back, as its sender has died
            return super().Wait()
        engine.operation = None
        engine.idling = self.active = False
        if self.error or self.into.packed is not None:  # type: ignore[union-attr]
            self.finish()
            self.check()
        else:
            engine.complete(message, True)
        return True


class PlainCalls(EmulatedComm):
    """The methods of `emulator.sim.communicator.SimulatedComm` that begin simple messages.

    A rank that a call names is looked up among those that have been named before, which spares all checks of it.

    Attributes
    ----------
    lockstep : what makes the steps of a collective that is running together with the other ranks
    """

    engine: Any
    lockstep: Any = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._named: dict[int, int] = {}
        super().__init__(*arguments, **named)

    def _plainly(self, rank: Any) -> bool:
        """Note a rank that a call names, if it is one; returns whether this and later calls may use the short path."""
        if type(rank) is not int or not 0 <= rank < self._size:
            return False
        self._named[rank] = self.members[rank]
        return True

    def _send(self, payload: Any, dest: int, tag: int, sync: bool = False) -> EmulatedRequest:
        engine = self.engine
        if (
            sync or not engine.quick or not (dest in self._named or self._plainly(dest))
            or type(tag) is not int or tag < 0
        ):  # fmt: skip
            if self.lockstep is not None:
                return self.lockstep.send(self._rank, payload, dest)
            return super()._send(payload, dest, tag, sync)
        request = EagerSend()
        request.comm, request.active = self, True
        request.destination = peer = self._named[dest]
        request.end = engine.send(peer, self.context, tag, payload, len(payload))[0]
        return request

    def _receive_from(self, origin: int | None, tag: int, into: Incoming | None) -> EmulatedRequest:
        engine = self.engine
        if origin is None or into is None or not engine.quick:
            if self.lockstep is not None and origin is not None and into is not None:
                return self.lockstep.receive(self._rank, self.rank_of(origin), into.view)
            return super()._receive_from(origin, tag, into)
        request = PlainReceive().begin(self, origin, tag, into)
        engine.matchers[self.context].post(request, engine.loop.now)
        return request

    def Isend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        if dest not in self._named or not self.engine.quick:
            if self.lockstep is not None:
                return self.lockstep.send(self._rank, outgoing(buf), dest)
            return super().Isend(buf, dest, tag)
        self.engine.idling = False
        return self._send(outgoing(buf), dest, tag)

    def Irecv(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Request:
        engine = self.engine
        if not engine.quick or not (source in self._named or self._plainly(source)) or type(tag) is not int or tag < 0:
            if self.lockstep is not None:
                view = buf if type(buf) is MPI.buffer else Incoming(buf).view
                return self.lockstep.receive(self._rank, source, view)
            return super().Irecv(buf, source, tag)
        engine.idling = False
        if engine.later:
            engine.release()
        return self._receive_from(self._named[source], tag, Incoming(buf))

    def Recv(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> None:
        engine = self.engine
        if not engine.quick or not (source in self._named or self._plainly(source)) or type(tag) is not int:
            super().Recv(buf, source, tag, status)
            return
        if tag < 0:
            tag = self._accepted(source, tag)[1]
        engine.idling = False
        if engine.later:
            engine.release()
        into, peer, matcher, now = Incoming(buf), self._named[source], engine.matchers[self.context], engine.loop.now
        message = None if engine.mortal else matcher.find(peer, tag, now)
        if message is None or message.flags & SYNC or message.size > into.room or into.packed is not None:
            self._receive_from(peer, tag, into).Wait(status)
            return
        matcher.remove(message)
        if message.data is not None:
            into.view[: message.size] = message.data
        engine.operation = message
        engine.wait_for(message)
        engine.operation = None
        engine.complete(message, True)
        if status is not None:
            describe(status, source, message.tag, message.size)
