"""The server's loop: receive a message, forward pushes down the chain, let the shard decide, send its replies.

Messages are taken in the order in which MPI delivers them. The loop waits for no particular rank, and for no send
before its next receive, so that ranks cannot deadlock.

On an emulated network without pacing the order of delivery means nothing, and the server takes the message that is
first in emulated time as soon as every worker that owes it one has sent one (`primitives.inbox`). With one server
that makes any rule exact and repeatable. Workers that wait for each other outside of the service, as in an all-reduce,
say so first (`Worker.away`), and owe no message until they send the next one. If they do not, then once no message has
come for `PATIENCE_ALONE_S` the server is as impatient as several servers are.

Two servers could wait for workers that wait for the other one. So with several servers a wait ends after `PATIENCE_S`
of wall time with the earliest message that is there, and the fidelity counts an inversion if an earlier one comes
later. Under bsp this is rare, and the patience longer; under the other rules it is frequent, and a run with several
servers is an approximation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection

from mpi4py import MPI

from emulator import carrier
from primitives.inbox import Inbox, Outbox
from primitives.parameter_server import messages
from primitives.parameter_server.consistency import Consistency
from primitives.parameter_server.layout import Layout
from primitives.parameter_server.messages import Bytes
from primitives.parameter_server.shard import Shard
from primitives.parameter_server.table import Part

REQUEST_TAG = 1
REPLY_TAG = 16  # and above: one tag per outstanding request and shard
SLOTS = 1 << 14

PATIENCE_S = 20e-3
PATIENCE_BSP_S = 0.5
PATIENCE_ALONE_S = 10.0

OnFailure = Callable[[MPI.Exception | None], Collection[int]]


def reply_tag(sequence: int, shard: int, shards: int) -> int:
    """Tag of the reply to pull number `sequence` from `shard`."""
    return REPLY_TAG + (sequence % SLOTS) * shards + shard


class Server:
    """A rank that keeps shards.

    Parameters
    ----------
    comm : communicator of all roles; used for nothing else meanwhile
    layout, consistency, refuse_nan : as in `ParameterServer`
    on_failure : called with the MPI error of a receive or send; returns the dead ranks to go on without (see `drop`). A
        waiting worker also calls it, with None. Absent: errors are raised.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        layout: Layout,
        consistency: Consistency,
        refuse_nan: bool = True,
        on_failure: OnFailure | None = None,
    ) -> None:
        self.comm, self.layout, self.on_failure = comm, layout, on_failure
        self.rank = comm.Get_rank()
        self._phase = carrier.of(comm).phase
        self.shards = {
            index: Shard(
                index,
                [Part(t, p, index) for t, p in zip(layout.tables, layout.placements, strict=True)],
                layout.workers,
                consistency,
                refuse_nan,
            )
            for index in layout.kept_by(self.rank)
        }
        self._dropped: set[int] = set()
        self._away: set[int] = set()
        self._impatient_s = PATIENCE_BSP_S if consistency.together else PATIENCE_S
        self._inbox = _inbox(comm, layout, self._impatient_s)
        self._outbox = Outbox(
            comm, REQUEST_TAG, lost=lambda rank, failure: self._failed(failure), most=2 * len(layout.workers), least=0
        )

    @property
    def open(self) -> bool:
        """Whether any worker has not left."""
        return any(shard.members for shard in self.shards.values())

    @property
    def owing(self) -> set[int]:
        """Workers that will send without a message from this server: those that wait for no reply.

        One that waits for other workers may need a reply to one of those first. If all wait for each other, none does.
        """
        unanswered: set[int] = set().union(*(shard.owing for shard in self.shards.values()))
        return unanswered - self._away or unanswered

    @property
    def not_finite(self) -> Counter[int]:
        """Number of pushes with NaN or infinity, by worker rank."""
        return sum((shard.not_finite for shard in self.shards.values()), Counter())

    def serve(self) -> None:
        """Serve until every worker has left."""
        while self.open:
            try:
                self._take(self._next(math.inf) if self._inbox.ordered else self._inbox.take(MPI.ANY_SOURCE))
            except MPI.Exception as failure:
                self._failed(failure)
        self._outbox.drain()

    def poll(self) -> bool:
        """Serve one message if one has arrived (for a rank that is worker and server)."""
        try:
            if self.open and (message := self._next(0.0)) is not None:
                self._take(message)
                return True
        except MPI.Exception as failure:
            self._failed(failure)
        return False

    def _next(self, patience_s: float) -> Bytes | None:
        mail = self._inbox.next(patience_s=patience_s, owing=self.owing if self._inbox.ordered else None)
        if mail is None:
            return None
        if self._inbox.silence.sources:
            self._inbox.silence.limit_s = min(self._inbox.silence.limit_s, self._impatient_s)
        self._inbox.silence.sources.clear()  # a worker that waits for another server is silent only for a while
        return mail[1]

    def drop(self, rank: int) -> None:
        """Go on without a dead rank: a worker is no longer waited for, a server leaves its chains.

        From where on a worker is missing is the head's decision, and goes down the chain among its pushes: replicas
        that each went by their own news of a death would let different pushes count. A new head, or one whose
        successor may not have passed the news on, says it again.
        """
        self.layout.dead.add(rank)
        self._dropped.add(rank)
        if self._inbox.ordered:
            self._inbox.forget(rank)
        for index in self.shards:
            if self.layout.chain(index)[0] == self.rank:
                for worker in sorted(self.layout.dead.intersection(self.layout.workers)):
                    message = messages.pack(messages.Header(messages.DROP, shard=index, worker=worker))
                    self._hand_on(index, message)
                    self._answer(self.shards[index].receive(message))

    def _take(self, message: Bytes | None) -> None:
        assert message is not None  # this inbox has no deadline and reports no lost source
        header, _ = messages.unpack(message)
        if header.kind == messages.AWAY:
            self._away.add(header.worker)
            return
        self._away.discard(header.worker)
        if header.kind == messages.PUSH:
            self._phase("apply", step=header.clock)
        # It takes its place here before it goes down the chain: in between a death may become known, and what the head
        # then says of the dead worker must come behind this in every replica.
        replies = self.shards[header.shard].receive(message)
        if header.kind not in (messages.PULL, messages.FLUSH):
            self._hand_on(header.shard, message)
        self._answer(replies)

    def _hand_on(self, shard: int, message: Bytes) -> None:
        """Forward a push, tick or leave to the next replica, unchanged."""
        chain = self.layout.chain(shard)
        place = chain.index(self.rank)
        if place + 1 < len(chain):
            self._send(message, chain[place + 1], REQUEST_TAG)

    def _answer(self, replies: list[tuple[int, Bytes]]) -> None:
        for worker, message in replies:
            header, _ = messages.unpack(message)
            # The server that was asked replies; to a leave, the tail as this server or the worker knows it.
            asked = header.answers != messages.LEAVE or self.rank in (header.table, self.layout.chain(header.shard)[-1])
            if asked and worker not in self.layout.dead:
                self._send(message, worker, reply_tag(header.sequence, header.shard, len(self.layout.shards)))

    def _send(self, message: Bytes, rank: int, tag: int) -> None:
        self._outbox.send(rank, message, tag)

    def _failed(self, failure: MPI.Exception) -> None:
        if self.on_failure is None:
            raise failure
        for rank in self.on_failure(failure):
            if rank not in self._dropped:
                self.drop(rank)


def _inbox(comm: MPI.Intracomm, layout: Layout, impatient_s: float) -> Inbox:
    """Make the inbox of a server; with replicas the next source is unknown, as messages come through other servers."""
    if not carrier.of(comm).ordered or layout.replicas > 1:
        return Inbox(comm, REQUEST_TAG, ordered=False)
    patience_s = impatient_s if len(layout.shards) > 1 else PATIENCE_ALONE_S
    return Inbox(comm, REQUEST_TAG, layout.workers, silence_s=patience_s)
