"""One rank's engine: the cost of its sends, the matching of its receives, and their completion times.

`Engine` is the same under every transport. A transport subclasses it: it moves envelopes and payloads between the
ranks (`transmit`, `fetch`, `reply`, `progress`), waits (`wait`, `idle`), and carries out what all ranks do together
(`ranks_of`, `align`, `fidelity`). `emulator.wire` is the one between real processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Sequence
from heapq import heapify, heappush
from typing import Any

from emulator.core.cards import Cards, FairPort, Port, order_of, private_queue
from emulator.core.clock import Clock, Pacer
from emulator.core.departures import Departures
from emulator.core.instruments import NO_PEER, Instruments, Wait
from emulator.core.matching import Early, Matcher, Receive, release
from emulator.core.message import LOOPBACK, SYNC, Arrival
from emulator.core.network_changes import NetworkState
from emulator.core.operations import Operation, Synchronous, Transfer
from emulator.core.rendezvous import ByProtocol
from emulator.core.routes import Route, Routes
from emulator.core.waits_for import WaitNotes
from emulator.network import Network


class Engine(Departures, ABC):
    """Clock, cards, routes and matchers of one rank, which all of its communicators share.

    Attributes
    ----------
    network, seed : the emulated network, and the seed of its jitter and loss
    rank, size, host : this rank, how many there are, and the emulated host of this one
    clock, pacer : this rank's logical clock, and what paces it
    routes : the way to each rank
    matchers : by context; made when first used: messages may arrive before their communicator is made here
    later : the messages of all matchers that are held back until their emulated time
    instruments : observers of messages, the same ones as of the carrier of every communicator
    flows : the messages under way where they share cards packet by packet; None where cards serve them whole
    links, late : the links that hosts share; messages that came too late to share a card with others
    dead : ranks that are known to have failed
    awaiting : synchronous sends by token, until their receivers acknowledge the match
    board : where this rank notes a wait on the wall clock that lasts; None: nowhere
    idling : the last test found nothing, so that the program sees time pass if it looks at the clock
    """

    def __init__(self, network: Network, rank: int, size: int, seed: int, clock: Clock, pacer: Pacer, cards: Cards):
        self.network, self.rank, self.size, self.seed = network, rank, size, seed
        self.host = network.host_of(rank)
        self.clock, self.pacer = clock, pacer
        self.flows = cards.flows
        self.nic = Port(cards.into) if self.flows is None else FairPort(cards.into, self.flows, self.host, pacer)
        self.depart = self.leave if self.flows is None else self._join
        # Every rank has a core, and copies its own memory: no two ranks share a loopback.
        self._memory = private_queue(remembers=False)
        self.loopback = Port(private_queue(remembers=True))
        self.links = cards.links
        self.queues = [cards.out, cards.into, *cards.links]
        self.routes = Routes(network, rank, seed, cards.out, self._memory, clock)
        self.matchers: defaultdict[int, Matcher] = defaultdict(lambda: Matcher(self.match, self.later))
        self.later: Early = []
        self.awaiting: dict[int, Synchronous] = {}
        self.instruments = Instruments()
        self.dead: set[int] = set()
        self.idling = False
        self.board: WaitNotes | None = None
        self._arrived = self._token = self.late = 0
        self._first_of_order = order_of(rank, 1)
        if network.spec.protocol is not None:
            ByProtocol(self, network.spec.protocol, cards.out_of)

    # -- the transport

    @abstractmethod
    def transmit(
        self, route: Route, context: int, tag: int, flags: int, first: float, service: float, size: int, token: int,
        payload: Any,
    ) -> Transfer | None:  # fmt: skip
        """Transport a message to another rank, whose engine calls `deliver`.

        Returns the transfer to wait for before the payload's memory is free, None if it is free already.
        """

    @abstractmethod
    def fetch(self, message: Arrival, place: memoryview) -> Transfer | None:
        """Begin to copy the payload of a message that FOLLOWS to `place`; returns the transfer, None if it is done."""

    @abstractmethod
    def reply(self, message: Arrival, time: float) -> None:
        """Tell another rank that its synchronous message was matched: its engine calls `acknowledged`."""

    @abstractmethod
    def keep(self, transfer: Transfer | None, payload: Any) -> None:
        """Keep a payload until its transfer is complete, for a send whose request nobody waits for."""

    @abstractmethod
    def progress(self) -> None:
        """Deliver the messages that have arrived."""

    @abstractmethod
    def wait(self, operation: Operation) -> None:
        """Return when ``operation.poll()`` is true; make progress meanwhile."""

    @abstractmethod
    def idle(self, polled: Hashable) -> None:
        """Note that a poll of `polled` has found nothing, so that time passes for a program that polls."""

    def wake_all(self) -> None:
        """Make every waiting rank check whether it still has to wait, without a message."""

    # -- all ranks together

    @abstractmethod
    def ranks_of(self, group: Any) -> Sequence[int]:
        """The engine's ranks of a group of the control plane."""

    @abstractmethod
    def align(self, t: float, comm: Any) -> None:
        """Restart pacing after all ranks of `comm` have set their clocks to `t`."""

    @abstractmethod
    def fidelity(self, control: Any) -> dict[str, Any]:
        """Report how accurate emulated time has been, over all ranks of the control plane; collective."""

    # -- sending

    def send(
        self, destination: int, context: int, tag: int, payload: Any, size: int, sync: Synchronous | None = None
    ) -> tuple[float, Transfer | None]:
        """Send `size` bytes to a rank of the engine.

        Parameters
        ----------
        sync : the request to tell when the receiver has matched; None for a standard send

        Returns
        -------
        end, transfer
            The emulated time at which the last byte leaves this rank's card, which completes the send; and the
            transfer to wait for before the user's buffer is free, None if it is free already.
        """
        route = self.routes[destination]
        change = route.change
        if change is not None and change.holds(self.clock.t, destination, context, tag, payload, size, sync):
            return self.clock.t, None
        start, end, first, service = self.depart(route, context, size)
        token = self._token = self._token + 1
        for sent in self.instruments.sent:
            sent(self.rank, destination, tag, size, start, end, self.clock.t, first, route.queued, token)
        flags = route.flags
        if sync is not None:
            flags |= SYNC
            self.awaiting[token] = sync
        if route.here:
            data = memoryview(bytes(payload))
            self.deliver(Arrival(context, self.rank, tag, flags, first, service, size, token, data))
            return end, None
        return end, self.transmit(route, context, tag, flags, first, service, size, token, payload)

    def _send_again(self, *message: Any) -> None:
        """Send a message that a cut has held back."""
        self.keep(self.send(*message)[1], message)

    def network_state(self, members: Sequence[int]) -> NetworkState:
        """The changes to the network, for a communicator of these engine ranks."""
        return NetworkState(self.routes, self.clock, self.nic, self._send_again, members)

    # -- receiving

    def deliver(self, message: Arrival) -> None:
        """Take in a message: the card serves it in its turn, and the receive that it matches gets it."""
        message.order = self._arrived = self._arrived + 1
        port = message.port = self.loopback if message.flags & LOOPBACK else self.nic
        heappush(port.heap, (message.first, message.source, message.order, message))
        for arrived in self.instruments.arrived:
            arrived(message.source, self.rank, message.tag, message.size, message.first)
        matcher = self.matchers[message.context]
        if self.pacer.pace:
            matcher.arrive(message, self.pacer.emulated())
        else:
            matcher.match(message)

    def match(self, receive: Receive, message: Arrival) -> None:
        """Give a message to a receive: move its payload, and acknowledge it to a synchronous sender."""
        if message.flags & SYNC:
            self.acknowledge(message, max(receive.posted, message.first))
        place = receive.take(message)
        if place is not None:
            receive.transfer = self.fetch(message, place)

    def acknowledge(self, message: Arrival, matched: float) -> None:
        """Tell the sender of a synchronous message that it was matched at emulated time `matched`."""
        route = self.routes[message.source]
        if route.here:
            self.acknowledged(message.token, matched + route.alpha)
        else:
            self.reply(message, matched + route.alpha)

    def acknowledged(self, token: int, time: float) -> None:
        """Note that a synchronous message of this rank was matched, which this rank knows at emulated time `time`."""
        request = self.awaiting.pop(token, None)
        if request is not None:
            request.acknowledged(time)

    def complete(self, message: Arrival, held: bool) -> None:
        """Complete a receive: set the clock to the time at which the message's last byte has arrived.

        `held` tells that the receive was there before its deadline.
        """
        due = message.due
        if due is None:
            due = message.port.serve(message)
        clock = self.clock
        for completed in self.instruments.completed:
            service = max(message.service, message.size * message.port.stretch)
            completed(
                message.source, self.rank, message.tag, message.size, clock.t, due, message.first, service,
                message.token,
            )  # fmt: skip
        if due > clock.t:
            clock.t = due
            if self.pacer.pace:
                self.pacer.record(due, held)

    def release(self) -> None:
        """Match the held-back messages whose emulated time has come."""
        if self.later:
            release(self.later, self.pacer.emulated())

    def reached(self) -> float | None:
        """The emulated time that the pacer has reached; None if not paced."""
        return self.pacer.emulated() if self.pacer.pace else None

    def now(self) -> float:
        """This rank's emulated time, after a call has charged its compute."""
        clock = self.clock
        if self.idling and self.pacer.pace:
            self.idling = False
            self.wait_until(self.pacer.emulated(), Wait.POLL)
        return clock.t

    def wait_until(self, t: float, why: Wait, peer: int = NO_PEER, token: int = 0) -> None:
        """Set the clock to `t` unless it is later, and tell the instruments the reason for the wait."""
        clock = self.clock
        if t > clock.t:
            for waited in self.instruments.waited:
                waited(why, clock.t, t, peer, token)
            clock.t = t

    def hold(self, t: float) -> None:
        """Hold this rank until emulated time `t`, if paced."""
        if self.pacer.pace:
            self.pacer.hold(t)

    def latest(self) -> float:
        """The emulated time at which this rank and all cards and links that it uses are idle."""
        under_way = 0.0 if self.flows is None else self.flows.idle(self.host)
        return max([self.clock.t, under_way, self._memory.cells[0], *(each.cells[each.cell] for each in self.queues)])

    def inversions(self) -> int:
        """Count the messages that this rank put out of order at a shared card or link."""
        return self.late + sum(queue.inversions for queue in [self.loopback.queue, *self.queues])

    def swaps(self) -> int:
        """Count the messages that this rank put behind a later one of the same instant, at a shared card or link."""
        return sum(queue.swaps for queue in [self.loopback.queue, *self.queues])

    def reset_counts(self) -> None:
        """Set the counts of traffic and inversions to zero."""
        self.late = 0
        for queue in [self.loopback.queue, *self.queues]:
            queue.inversions = queue.swaps = 0
        for route in self.routes.values():
            route.reset_counts()

    def reset(self) -> None:
        """Set emulated time, all queues and all counts to zero; all ranks do it together."""
        self.clock.t = 0.0
        for queue in [self._memory, self.loopback.queue, *self.queues]:
            queue.clear()
        if self.flows is not None:
            self.flows.clear()
        for route in self.routes.values():
            route.sequence = 0
            route.last.clear()
        self.reset_counts()

    def drop_context(self, context: int) -> None:
        """Drop the state of a communicator that was freed or revoked."""
        self.matchers.pop(context, None)
        self.later[:] = [entry for entry in self.later if entry[3].context != context]
        heapify(self.later)
        for route in self.routes.values():
            route.last.pop(context, None)
