"""The engine between real processes: it sends each message over MPI after a header with its emulated times.

One per process and emulated cluster. All emulated communicators share it, and through it one logical clock. All
physical messages travel on one private duplicate of the real communicator, the wire, and each names its context.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.carrier import CARRIES_OTHERS
from emulator.core import wall_clock as clocks
from emulator.core.clock import Clock
from emulator.core.message import FOLLOWS, Arrival
from emulator.core.routes import Route
from emulator.network import Network
from emulator.wire import header, idle_yield
from emulator.wire.header import ACK, HEADERS_TAG
from emulator.wire.pacing import Pacer, summarise
from emulator.wire.shared_clocks import SharedClocks
from emulator.wire.waiting import Waiting
from emulator.wire.wakeups import LINE

if TYPE_CHECKING:
    from emulator.wire.clock_sync import Sync

_pack = header.HEADER.pack
_unpack_from = header.HEADER.unpack_from
_SIZE = header.SIZE
_PACKED = header.PACKED
_ANY, _BYTE = MPI.ANY_SOURCE, MPI.BYTE
_NAP_PER_RANK_S = 25e-6  # where ranks share a core, a look that finds nothing takes it from the one that is waited for
# Where the sender of a message wakes its receiver; what wakes none, such as a death, is noticed after such a nap.
_LONG_NAP_PER_RANK_S, _LONGEST_NAP_S = 1e-3, 10e-3
_SPIN_S = 60e-6
_REAPED_AT = 64


class WireEngine(Waiting):
    """The engine of a rank in a process of its own; see `emulator.core.engine.Engine`.

    Attributes
    ----------
    wire : the private communicator that carries all physical messages
    shared : the clocks that this rank shares with the others of its machine
    sync : how the clocks of several machines relate; None on one machine
    automatic : the pace was found, and may be raised
    judged : deadlines and overruns up to which the pace was judged
    """

    def __init__(self, real: MPI.Intracomm, network: Network, pace: float, measured: bool, seed: int) -> None:
        clocks.sharpen_sleep()
        self.wire = real.Dup()
        self.wire.Set_name(CARRIES_OTHERS)
        self.wire.Set_errhandler(MPI.ERRORS_RETURN)
        rank = self.wire.Get_rank()
        self.shared = SharedClocks(self.wire, network)
        host = network.host_of(rank)
        self._crowded = self.shared.ranks_here > clocks.cores()  # no rank may spin
        self.wakeups = self.shared.wakeups
        self._marks, self._first_mark = self.wakeups.marks, self.wakeups.begin
        self._mpi_yields = idle_yield.switch()
        self._woken = self.wakeups.available and self.shared.machines == 1
        latency = network.smallest_latency() or network.hosts[host].loopback.alpha
        pacer = Pacer(self.shared, pace, latency, 0.0 if self._crowded else _SPIN_S)
        clock = Clock(network.hosts[host].slowdown, measured)
        super().__init__(network, rank, self.wire.Get_size(), seed, clock, pacer, self.shared.cards(host))
        # None on one machine, whose ranks all read the same clock.
        self.sync: Sync | None = None
        if self.shared.machines > 1:
            from emulator.wire.clock_sync import synchronise  # needs numpy, as automatic_pace does

            self.sync = synchronise(self.wire)
        self.judged = (0, 0)
        self.automatic = False
        self._outgoing: deque[tuple[MPI.Request, Any]] = deque()
        self._long: list[MPI.Request] = []
        self._kept: deque[tuple[Any, Any]] = deque()
        self._status = MPI.Status()
        self._drained = False
        self._taken_in = 0
        self._pause = clocks.Backoff(0.0, yields=0)
        self.set_pace(pace)
        self.wire.Barrier()

    def set_pace(self, pace: float) -> None:
        """Change the pace (0.0: none); all ranks call it together, and align afterwards.

        Raises
        ------
        UsageError
            The pace makes latencies shorter than the clocks of several machines agree to.
        """
        if pace and self.sync is not None:
            from emulator.wire.clock_sync import refuse_below

            refuse_below(self.sync.residual, self.pacer.latency * pace)
        if self.shared.is_leader:
            # Emulated now stays now: without this a new pace would move it by all the time that has passed.
            self.shared.pacing[0] += self.clock.t * (self.pacer.pace - pace)
        self.pacer.pace = pace
        self.pacer.spin = 0.0 if self._crowded else _SPIN_S
        ranks_per_core = self.shared.ranks_here / clocks.cores()
        self._nap = max(100e-6, _NAP_PER_RANK_S * ranks_per_core)
        self._long_nap = min(max(500e-6, _LONG_NAP_PER_RANK_S * ranks_per_core), _LONGEST_NAP_S)

    # -- sending

    def transmit(
        self, route: Route, context: int, tag: int, flags: int, first: float, service: float, size: int, token: int,
        payload: Any,
    ) -> MPI.Request | None:  # fmt: skip
        if size <= _PACKED:
            self._ship(_pack(context, tag, flags, first, service, size, token) + payload, route.destination)
            return None
        self._ship(_pack(context, tag, flags | FOLLOWS, first, service, size, token), route.destination)
        transfer = self.wire.Isend((payload, size, _BYTE), route.destination, header.payload_tag(token))
        self._long = [*(one for one in self._long if one), transfer]
        return transfer

    def payloads_under_way(self) -> bool:
        self._long = [one for one in self._long if one]  # a request of MPI is null once its owner has found it complete
        return bool(self._outgoing or self._kept or self._long)

    def reply(self, message: Arrival, time: float) -> None:
        self._ship(_pack(message.context, 0, ACK, time, 0.0, 0, message.token), message.source)

    def _ship(self, packet: bytes, destination: int) -> None:
        request = self.wire.Isend(packet, destination, HEADERS_TAG)
        if not request.Test():
            self._outgoing.append((request, packet))
            if not len(self._outgoing) % _REAPED_AT:
                _reap(self._outgoing)
        if self._marks[self._first_mark + LINE * destination]:  # it sleeps
            self.wakeups.shipped(destination)

    def keep(self, transfer: Any, payload: Any) -> None:
        if transfer is not None:
            self._kept.append((transfer, payload))

    # -- receiving

    def fetch(self, message: Arrival, place: memoryview) -> MPI.Request:
        return self.wire.Irecv((place, message.size, _BYTE), message.source, header.payload_tag(message.token))

    def progress(self) -> None:
        """Deliver every message that has physically arrived, and release completed sends."""
        if self._outgoing:
            _reap(self._outgoing)
        if self._kept:
            _reap(self._kept)
        status = self._status
        while True:
            try:
                message = self.wire.Improbe(_ANY, HEADERS_TAG, status)
                if message is None:
                    if not self._marks[self.wakeups.place]:
                        break
                    # MPI makes progress after it has looked: what this look has brought in, the next one finds. It
                    # must not be missed before a sleep.
                    message = self.wire.Improbe(_ANY, HEADERS_TAG, status)
                    if message is None:
                        break
                data = bytearray(status.Get_count(_BYTE))
                message.Recv(data)
            except MPI.Exception as error:
                self._learn_of_failure(error)
                continue
            self._taken_in += 1
            context, tag, flags, first, service, size, token = _unpack_from(data)
            if flags & ACK:
                self.acknowledged(token, first)
                continue
            payload = None if flags & FOLLOWS else memoryview(data)[_SIZE:]
            self.deliver(Arrival(context, status.source, tag, flags, first, service, size, token, payload))
        if self.pacer.pace:
            self.release()

    def _learn_of_failure(self, error: MPI.Exception) -> None:
        """Ask MPI which ranks have failed, and note them; re-raise an error that is no rank failure."""
        if error.Get_error_class() not in _DEATHS:
            raise error
        self.wire.Ack_failed()
        failed = self.wire.Get_failed()
        whole = self.wire.Get_group()
        self.wake_all()  # they have the news, or will have it soon
        self.dead.update(failed.Translate_ranks(list(range(failed.Get_size())), whole))

    def wake_all(self) -> None:
        self.wakeups.wake_all()

    # -- all ranks together

    def ranks_of(self, group: MPI.Group) -> Sequence[int]:
        whole: MPI.Group = self.wire.Get_group()
        ranks: Sequence[int] = group.Translate_ranks(list(range(group.Get_size())), whole)
        whole.Free()
        return ranks

    def align(self, t: float, comm: Any) -> None:
        """If paced, restart emulated time at `t` now, so that no earlier stall makes a message late.

        It may raise an automatic pace.
        """
        if not self.pacer.pace:
            return
        self.pacer.hold(t)
        if self.automatic:
            from emulator.wire import automatic_pace

            automatic_pace.adapt(comm)
        comm.control.Barrier()
        now = clocks.perf_counter()
        if self.sync is not None:
            # Rank 0's now, on every machine's own clock.
            now = self.sync.line.local(comm.control.bcast(now))
        if self.shared.is_leader:
            self.pacer.restart(t, now)
        comm.control.Barrier()

    def fidelity(self, control: Any) -> dict[str, Any]:
        rows = control.allgather((self.pacer.figures(), self.inversions()))
        return summarise([row[0] for row in rows], sum(row[1] for row in rows), self.pacer.pace)

    def reset_counts(self) -> None:
        super().reset_counts()
        self.pacer.reset_counts()
        self.judged = (0, 0)

    def reset(self) -> None:
        self.wire.Barrier()
        super().reset()
        self.wire.Barrier()

    def drain(self) -> None:
        """Receive everything that others still send to this rank, until every rank is here; before MPI_Finalize."""
        if self._drained or MPI.Is_finalized():
            return
        self._drained = True
        self.wakeups.pay()
        nap = clocks.polite_nap(self.shared.ranks_here)
        clocks.wait_until(lambda: self._made_progress() and not self._outgoing, longest=nap)
        try:
            together = self.wire.Ibarrier()
            clocks.wait_until(lambda: self._made_progress() and together.Test(), longest=nap)
        except MPI.Exception:
            return  # a rank died: no other waits for this one

    def _made_progress(self) -> bool:
        self.progress()
        return True


def _reap(sends: deque[tuple[MPI.Request, Any]]) -> None:
    """Drop completed sends; those that still wait for their receiver must not delay the others."""
    while sends:
        try:
            if not sends[0][0].Test():
                sends.rotate(-1)
                return
        except MPI.Exception:
            pass  # its receiver died; the send was complete for the user long before
        sends.popleft()


_DEATHS = {MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED}
