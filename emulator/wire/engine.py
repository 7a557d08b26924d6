"""The engine of a rank: it sends messages over the wire with their emulated times, and takes in what arrives.

One per process and emulated cluster. All emulated communicators share it, and through it one logical clock. All
physical messages travel on one private duplicate of the real communicator, the wire, and each names its context.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappush
from typing import Any

from mpi4py import MPI

from emulator.core import wall_clock as clocks
from emulator.core.cards import CELLS, Port, Queue, Route, private_queue
from emulator.core.matching import Matcher
from emulator.network import Network
from emulator.network.draws import stream
from emulator.wire import header
from emulator.wire.clock_sync import refuse_below, synchronise
from emulator.wire.header import ACK, FOLLOWS, HEADERS_TAG, LOOPBACK, SYNC, Arrival
from emulator.wire.pacing import Pacer
from emulator.wire.shared_clocks import LINKS_LOCK, Board
from emulator.wire.waiting import Waiting

_pack_into = header.HEADER.pack_into
_unpack_from = header.HEADER.unpack_from
_SIZE = header.SIZE
_ANY, _BYTE = MPI.ANY_SOURCE, MPI.BYTE
_NAP_PER_RANK_S = 25e-6
_SPIN_S = 60e-6
_REAPED_AT = 64


class Engine(Waiting):
    """Clock, wire, queues and matchers of one rank.

    Attributes
    ----------
    wire : the private communicator that carries all physical messages
    clock, pacer, board : this rank's logical clock, its tie to the wall, the clocks shared with other ranks
    routes : the way to each rank of the wire
    sync : how the clocks of several machines relate; None on one machine
    dead : ranks of the wire that MPI has reported as failed
    awaiting : synchronous sends by token, until their receivers acknowledge the match
    """

    def __init__(self, real: MPI.Intracomm, network: Network, pace: float, measured: bool, seed: int) -> None:
        clocks.sharpen_sleep()
        self.wire = real.Dup()
        self.wire.Set_errhandler(MPI.ERRORS_RETURN)
        self.network, self.seed = network, seed
        self.rank, self.size = self.wire.Get_rank(), self.wire.Get_size()
        self.board = Board(self.wire, network, CELLS)
        self.host = network.host_of(self.rank)
        self.clock = clocks.Clock(network.hosts[self.host].slowdown, measured)
        self._crowded = clocks.crowded(self.board.ranks_here)
        latency = network.smallest_latency() or network.hosts[self.host].loopback.alpha
        self.pacer = Pacer(self.board, pace, latency, 0.0 if self._crowded else _SPIN_S)
        # None on one machine, whose ranks all read the same clock.
        self.sync = synchronise(self.wire) if self.board.machines > 1 else None
        self.judged = (0, 0)
        self.automatic = False
        self._make_queues()
        self.routes = [self._route(rank) for rank in range(self.size)]
        self._matchers: dict[int, Matcher] = {}
        self._outgoing: deque[tuple[MPI.Request, Any]] = deque()
        self._kept: deque[tuple[MPI.Request, Any]] = deque()
        self.awaiting: dict[int, Any] = {}
        self.instruments: list[Any] = []
        self.dead: set[int] = set()
        self._status = MPI.Status()
        self._arrived = 0
        self._token = 0
        self._settled = False
        self.idling = False
        self._pause = clocks.Backoff(0.0)
        self.set_pace(pace)
        self.wire.Barrier()

    def set_pace(self, pace: float) -> None:
        """Change the pace (0.0: none); all ranks do it together, and align afterwards.

        Raises
        ------
        UsageError
            The pace makes latencies shorter than the clocks of several machines agree to.
        """
        if pace and self.sync is not None:
            refuse_below(self.sync.residual, self.pacer.latency * pace)
        if self.board.leads:
            # Emulated now stays now: without this a new pace would move it by all the time that has passed.
            self.board.pacing[0] += self.clock.t * (self.pacer.pace - pace)
        self.pacer.pace = pace
        self.pacer.spin = 0.0 if self._crowded else _SPIN_S
        self._nap = max(100e-6, _NAP_PER_RANK_S * self.board.ranks_here / clocks.cores())
        self._pause.yields = 2 if self._crowded else 200

    def _make_queues(self) -> None:
        board = self.board
        partner = board if board.shared[self.host] else None
        self.card = Queue(board.cells, board.egress(self.host), partner, remembers=partner is not None)
        self.nic = Port(Queue(board.cells, board.ingress(self.host), partner))
        # Every rank has a core, and copies its own memory: nobody shares a loopback.
        self._memory = private_queue(remembers=False)
        self.loopback = Port(private_queue(remembers=True))
        self._links = [Queue(board.cells, board.link(i), board) for i in range(len(self.network.links))]
        for queue in self._links:
            queue.lock = LINKS_LOCK
        self.queues = [self.card, self.nic.queue, *self._links]

    def _route(self, rank: int) -> Route:
        host = self.network.host_of(rank)
        local = host == self.host
        path = self.network.path(self.host, host)
        queue = self._memory if local else self.card
        back = self.network.path(host, self.host).alpha
        route = Route(rank, host, path, back, queue, stream(self.seed, self.rank, rank))
        route.here = rank == self.rank
        route.loopback = local
        if not local:
            nic = self.network.hosts[self.host].nic
            route.beta_out, route.gap = nic.egress_beta, nic.gap
        return route

    # -- sending

    def send(
        self, destination: int, context: int, tag: int, payload: Any, size: int, sync: Any = None
    ) -> tuple[float, MPI.Request | None]:
        """Send `size` bytes to a rank of the wire.

        Parameters
        ----------
        sync : the request to tell when the receiver has matched; None for a standard send

        Returns
        -------
        end, physical
            The emulated time at which the last byte leaves this rank's card, which completes the send; and the
            physical request to wait for before the user's buffer is free, None if it is free already.
        """
        route = self.routes[destination]
        if route.change is not None and route.change.holds(self, route, context, tag, payload, size, sync):
            return self.clock.t, None
        first, end, service = self._depart(route, context, size)
        token = self._token = self._token + 1
        flags = LOOPBACK if route.loopback else 0
        if sync is not None:
            flags |= SYNC
            self.awaiting[token] = sync
        if route.here:
            data = memoryview(bytes(payload))
            self._deliver(Arrival(context, self.rank, tag, flags, first, service, size, token, data))
            return end, None
        if size <= header.PACKED:
            packet = bytearray(_SIZE + size)
            _pack_into(packet, 0, context, tag, flags, first, service, size, token)
            if size:
                packet[_SIZE:] = payload
            self._ship(packet, destination)
            return end, None
        packet = bytearray(_SIZE)
        _pack_into(packet, 0, context, tag, flags | FOLLOWS, first, service, size, token)
        self._ship(packet, destination)
        return end, self.wire.Isend((payload, size, _BYTE), destination, header.payload_tag(token))

    def _depart(self, route: Route, context: int, size: int) -> tuple[float, float, float]:
        """Charge a message to this end of its way: its first byte's arrival, its last byte's departure, its service."""
        asked, beta, beta_out = self.clock.t, route.beta, route.beta_out
        change = route.change
        if change is not None:
            beta, beta_out = change.betas(beta, beta_out)
        out = size * beta_out
        start = route.queue.take(asked, out if out > route.gap else route.gap)
        first = start
        for index in route.links:
            first = self._links[index].take(first, size * self.network.links[index].beta)
        first += route.alpha
        if route.varies:
            first += route.path.delay(route.stream, route.sequence, size)
        if change is not None:
            first = change.delay(first, start, route, size)
        last = route.last
        if first < last.get(context, 0.0):
            first = last[context]
        last[context] = first
        route.sequence += 1
        route.messages += 1
        route.bytes += size
        return first, start + out, size * beta

    def _ship(self, packet: bytearray, destination: int) -> None:
        request = self.wire.Isend(packet, destination, HEADERS_TAG)
        if not request.Test():
            self._outgoing.append((request, packet))
            if not len(self._outgoing) % _REAPED_AT:
                _reap(self._outgoing)

    def keep(self, physical: MPI.Request | None, payload: Any) -> None:
        """Keep a payload until MPI has sent it, though nobody will wait for that."""
        if physical is not None:
            self._kept.append((physical, payload))

    def acknowledge(self, message: Arrival, matched: float) -> None:
        """Tell the sender of a synchronous message that it was matched at emulated time `matched`."""
        route = self.routes[message.source]
        if route.here:
            self._acknowledged(message.token, matched + route.alpha)
            return
        packet = bytearray(_SIZE)
        _pack_into(packet, 0, message.context, 0, ACK, matched + route.alpha, 0.0, 0, message.token)
        self._ship(packet, message.source)

    def _acknowledged(self, token: int, time: float) -> None:
        request = self.awaiting.pop(token, None)
        if request is not None:
            request.acknowledged(time)

    # -- receiving

    def matcher(self, context: int) -> Matcher:
        """Give the matcher of a context; messages may arrive before their communicator is made here."""
        found = self._matchers.get(context)
        if found is None:
            found = self._matchers[context] = Matcher()
        return found

    def emulated_wall(self) -> float | None:
        """Give the emulated time that the wall has reached; None when nothing is paced."""
        return self.pacer.emulated() if self.pacer.pace else None

    def progress(self) -> None:
        """Take in every message that has physically arrived, and let go of what was sent."""
        if self._outgoing:
            _reap(self._outgoing)
        if self._kept:
            _reap(self._kept)
        status = self._status
        while True:
            try:
                message = self.wire.Improbe(_ANY, HEADERS_TAG, status)
                if message is None:
                    break
                data = bytearray(status.Get_count(_BYTE))
                message.Recv(data)
            except MPI.Exception as error:
                self._learn_of_failure(error)
                continue
            context, tag, flags, first, service, size, token = _unpack_from(data)
            if flags & ACK:
                self._acknowledged(token, first)
                continue
            payload = None if flags & FOLLOWS else memoryview(data)[_SIZE:]
            self._deliver(Arrival(context, status.source, tag, flags, first, service, size, token, payload))
        if self.pacer.pace:
            self._release()

    def _deliver(self, message: Arrival) -> None:
        self._arrived += 1
        message.order = self._arrived
        port = message.port = self.loopback if message.flags & LOOPBACK else self.nic
        heappush(port.heap, (message.first, message.source, message.order, message))
        matcher = self._matchers.get(message.context)
        if matcher is None:
            matcher = self.matcher(message.context)
        matcher.arrive(message, self.pacer.emulated() if self.pacer.pace else None)

    def _release(self) -> None:
        now: float | None = None
        for matcher in self._matchers.values():
            if matcher.later:
                now = self.pacer.emulated() if now is None else now
                matcher.release(now)

    def _learn_of_failure(self, error: MPI.Exception) -> None:
        """Ask MPI who died, and go on with the living; an error that is not a death is passed on."""
        if error.Get_error_class() not in _DEATHS:
            raise error
        self.wire.Ack_failed()
        failed = self.wire.Get_failed()
        whole = self.wire.Get_group()
        self.dead.update(failed.Translate_ranks(list(range(failed.Get_size())), whole))

    def inversions(self) -> int:
        """Count the messages that this rank put out of order at a shared card or link."""
        return sum(queue.inversions for queue in self.queues)

    def wire_ranks(self, group: MPI.Group) -> list[int]:
        """Translate a group's ranks into ranks of the wire."""
        whole: MPI.Group = self.wire.Get_group()
        ranks: Sequence[int] = group.Translate_ranks(list(range(group.Get_size())), whole)
        whole.Free()
        return list(ranks)

    def latest(self) -> float:
        """Give the emulated time at which this rank and all that it uses are idle."""
        return max([self.clock.t, self._memory.cells[0], *(queue.cells[queue.cell] for queue in self.queues)])

    def forget(self) -> None:
        """Begin the books anew: traffic, fidelity, inversions."""
        self.pacer.forget()
        self.judged = (0, 0)
        for queue in self.queues:
            queue.inversions = 0
        for route in self.routes:
            route.messages = route.bytes = 0

    def begin_anew(self) -> None:
        """Set emulated time and all queues to zero and forget the books; all ranks do it together."""
        self.wire.Barrier()
        self.clock.t = 0.0
        for queue in [self._memory, self.loopback.queue, *self.queues]:
            queue.clear()
        for route in self.routes:
            route.sequence = 0
            route.last.clear()
        self.forget()
        self.wire.Barrier()

    def forget_context(self, context: int) -> None:
        """Drop what is kept for a communicator that has been freed or revoked."""
        self._matchers.pop(context, None)
        for route in self.routes:
            route.last.pop(context, None)

    def settle(self) -> None:
        """Before MPI_Finalize: take in whatever others still send to this rank, until everybody has said so."""
        if self._settled or MPI.Is_finalized():
            return
        self._settled = True
        pause = clocks.Backoff(1e-3)
        while self._outgoing:
            self.progress()
            pause()
        try:
            together = self.wire.Ibarrier()
            while not together.Test():
                self.progress()
                pause()
        except MPI.Exception:
            return  # somebody died: nobody waits for this rank


def _reap(sends: deque[tuple[MPI.Request, Any]]) -> None:
    """Drop what MPI has sent; what still waits for its receiver must not keep the others."""
    while sends:
        try:
            if not sends[0][0].Test():
                sends.rotate(-1)
                return
        except MPI.Exception:
            pass  # its receiver died; the send was complete for the user long before
        sends.popleft()


_DEATHS = {
    getattr(MPI, name) for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED") if hasattr(MPI, name)
}
