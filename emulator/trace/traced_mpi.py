"""A communicator of MPI itself that tells its instruments of messages and waits, in wall time.

MPI shows nothing of its own messages, so `TracedComm` stands before it: it has the same handle, calls the same methods
of MPI, and notes when each call began and ended. What happens within a call stays unknown: there is no card, and a
message's token is its number among those of its sender, receiver, tag and communicator, which MPI delivers in order.
Nonblocking collectives and one-sided communication are not seen; their time counts as computing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from emulator.carrier import LONGEST_NAP_S, Carrier
from emulator.comm.management import context_number
from emulator.core.instruments import NO_PEER, Instruments, Wait
from emulator.core.waits_for import WaitNotes
from emulator.core.wall_clock import perf_counter as _now
from emulator.trace import traced_calls
from emulator.trace.traced_requests import Receiving, TracedPrequest, install

_NAN = math.nan
_NUMBERS = 22  # bits of a token that count the messages of one channel


def traced(comm: MPI.Intracomm, members: Sequence[int] | None = None) -> TracedComm:
    """Make a communicator with the same handle that tells its instruments of messages.

    Parameters
    ----------
    members : number of each rank, as the instruments are to see it; None: its rank
    """
    install()
    whole = range(comm.Get_size()) if members is None else members
    return TracedComm(comm, context_number("world"), whole, Instruments())


class TracedCarrier(Carrier):
    """The carrier of a traced communicator of MPI itself; it also records waits for a condition."""

    board: WaitNotes | None = None

    def note_waits_on(self, board: WaitNotes) -> None:
        self.board = board

    def wait_until(
        self,
        ready: Callable[[], bool],
        deadline: float = math.inf,
        patience_s: float = math.inf,
        longest_s: float = LONGEST_NAP_S,
    ) -> bool:
        since = _now()
        came = super().wait_until(ready, deadline, patience_s, longest_s)
        self.comm.tell_wait(Wait.POLL, since)
        return came


class TracedComm(MPI.Intracomm):
    """A communicator of MPI itself that tells its instruments of messages and waits.

    Parameters
    ----------
    comm : a communicator of MPI, whose handle this one shares
    context : number that keeps its messages apart from those of others
    members : number of each rank
    instruments : who is told
    """

    def __new__(cls, comm: MPI.Intracomm, *_: Any) -> TracedComm:
        return super().__new__(cls, comm)

    def __init__(self, comm: MPI.Intracomm, context: int, members: Sequence[int], instruments: Instruments) -> None:
        self.context, self.members = context, members
        self.carrier = TracedCarrier(self, instruments)
        self.me = members[self.Get_rank()]
        self._made = self._collectives = 0
        self._sent: dict[tuple[int, int], int] = {}
        self._received: dict[tuple[int, int], int] = {}

    # -- telling

    def _next(self, counts: dict[tuple[int, int], int], peer: int, tag: int, source: int, destination: int) -> int:
        """The token of a channel's next message."""
        found = counts.get((peer, tag))
        if found is None:
            channel = context_number(self.context, source, destination, tag) & ((1 << (62 - _NUMBERS)) - 1)
            found = channel << _NUMBERS
        counts[peer, tag] = found + 1
        return found

    def begin_to_wait(self, since: float, peer: int = NO_PEER, tag: int = MPI.ANY_TAG) -> None:
        """Note that the rank waits, until `tell_receive` or `tell_wait`; `peer` is a member's number."""
        if self.carrier.board is not None:
            self.carrier.board.waits(since, peer, tag)

    def goes_on(self) -> None:
        """Note that the rank no longer waits."""
        if self.carrier.board is not None:
            self.carrier.board.goes_on()

    def number(self, rank: int) -> int:
        """The member number of a rank of this communicator; NO_PEER for any rank or none."""
        return self.members[rank] if rank >= 0 else NO_PEER

    def tell_send(self, buf: Any, dest: int, tag: int, since: float) -> int:
        """Tell instruments of a send called at `since`; returns its destination's number."""
        if dest < 0:
            return NO_PEER
        peer = self.members[dest]
        token = self._next(self._sent, dest, tag, self.me, peer)
        size, until = size_of(buf), _now()
        for sent in self.carrier.instruments.sent:
            sent(self.me, peer, tag, size, since, until, since, _NAN, 0.0, token)
        return peer

    def expect(self, source: int, tag: int) -> int | None:
        """The token of a receive posted now; None if only its message will tell which one it is."""
        if source < 0 or tag < 0:
            return None
        return self._next(self._received, source, tag, self.members[source], self.me)

    def tell_receive(self, status: MPI.Status, token: int | None, since: float) -> None:
        """Tell instruments of a completed receive, for which the rank waited since `since`."""
        source, tag = status.Get_source(), status.Get_tag()
        if source < 0:
            return
        peer = self.members[source]
        self.goes_on()
        if token is None:
            token = self._next(self._received, source, tag, peer, self.me)
        size, until = status.Get_count(MPI.BYTE), _now()
        for completed in self.carrier.instruments.completed:
            completed(peer, self.me, tag, size, since, until, _NAN, 0.0, token)

    def tell_wait(self, why: Wait, since: float, peer: int = NO_PEER, token: int = 0) -> None:
        """Tell instruments of a wait that has ended."""
        self.goes_on()
        until = _now()
        for waited in self.carrier.instruments.waited:
            waited(why, since, until, peer, token)

    # -- receiving

    def Sendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG, status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        self._exchange(super().Sendrecv, sendbuf, dest, sendtag, recvbuf, source, recvtag, status)

    def sendrecv(
        self, sendobj: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG, status: MPI.Status | None = None,
    ) -> Any:  # fmt: skip
        return self._exchange(super().sendrecv, sendobj, dest, sendtag, recvbuf, source, recvtag, status)

    def _exchange(
        self, call: Callable[..., Any], sendbuf: Any, dest: int, sendtag: int, recvbuf: Any, source: int, recvtag: int,
        status: MPI.Status | None,
    ) -> Any:  # fmt: skip
        since, status = _now(), status if status is not None else MPI.Status()
        self.tell_send(sendbuf, dest, sendtag, since)
        token = self.expect(source, recvtag)
        self.begin_to_wait(since, self.number(source), recvtag)
        answer = call(sendbuf, dest, sendtag, recvbuf, source, recvtag, status)
        self.tell_receive(status, token, since)
        return answer

    def receiving(self, source: int, tag: int) -> Receiving:
        """The operation of a receive that is posted now."""
        return Receiving(self.expect(source, tag), self.number(source), tag)

    def Recv_init(self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> MPI.Prequest:
        return TracedPrequest(super().Recv_init(buf, source, tag), self, lambda: self.receiving(source, tag))

    # -- communicators

    def child(self, comm: Any, *how: Any) -> Any:
        """Trace a communicator that was made from this one."""
        self._made += 1
        if comm == MPI.COMM_NULL:
            return comm
        mine, theirs = self.Get_group(), comm.Get_group()
        ranks = theirs.Translate_ranks(list(range(theirs.Get_size())), mine)
        mine.Free()
        theirs.Free()
        members = [self.members[rank] for rank in ranks]
        made = TracedComm(comm, context_number(self.context, self._made, *how), members, self.carrier.instruments)
        made.carrier.board = self.carrier.board
        return made

    def Free(self) -> None:
        self.carrier.free()
        super().Free()

    def meet(self) -> int:
        """The token of the next collective operation."""
        self._collectives += 1
        return context_number(self.context, "collective", self._collectives) >> 2


traced_calls.wrap(TracedComm)


def size_of(buf: Any) -> int:
    """Bytes of a buffer as mpi4py takes it; 0 for any other object."""
    if isinstance(buf, list | tuple):
        count = buf[1] if len(buf) > 1 else None
        kind = buf[-1] if isinstance(buf[-1], MPI.Datatype) else None
        if isinstance(count, int) and kind is not None:
            return count * kind.Get_size()
        return size_of(buf[0]) if buf else 0
    size = getattr(buf, "nbytes", None)
    if isinstance(size, int):
        return size
    return len(buf) if isinstance(buf, bytes | bytearray) else 0
