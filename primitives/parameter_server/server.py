"""The server's loop: take the next message, hand pushes down the chain, let the shard decide, send its replies.

Messages are taken in the order in which MPI delivers them, whoever sent them. Nothing here waits for one
particular peer and no send is waited for before the next receive, so that no pair of ranks can lock each other up.
(On an emulated network without pacing that order means nothing: `inbox` finds the emulated one.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from mpi4py import MPI

from emulator import carrier
from primitives.parameter_server import messages
from primitives.parameter_server.consistency import Consistency
from primitives.parameter_server.inbox import open_inbox
from primitives.parameter_server.layout import Layout
from primitives.parameter_server.messages import Bytes
from primitives.parameter_server.shard import Shard
from primitives.parameter_server.table import Part

REQUEST_TAG = 1
REPLY_TAG = 16  # and above: one tag per outstanding request and shard
SLOTS = 1 << 14

OnFailure = Callable[[MPI.Exception | None], Collection[int]]


def reply_tag(sequence: int, shard: int, shards: int) -> int:
    """Tag of the reply to pull number `sequence` from `shard`."""
    return REPLY_TAG + (sequence % SLOTS) * shards + shard


class Server:
    """A rank that keeps shards.

    Parameters
    ----------
    comm
        Communicator of all roles; used for nothing else meanwhile.
    layout, consistency, refuse_nan
        As in `ParameterServer`.
    on_failure
        Called with the MPI error of a receive or send; returns the dead ranks to go on without (see `drop`). A
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
        self.received: Counter[str] = Counter()  # messages and bytes in
        self.sent: Counter[str] = Counter()  # messages and bytes out
        self._sending: list[tuple[MPI.Request, Bytes]] = []
        self._dropped: set[int] = set()
        self._inbox = open_inbox(comm, REQUEST_TAG, layout, consistency.kind == "bsp")

    @property
    def open(self) -> bool:
        """Whether any worker is still there."""
        return any(shard.members for shard in self.shards.values())

    @property
    def owing(self) -> set[int]:
        """Workers that do not wait for this server, from whom a message will come."""
        return set().union(*(shard.owing for shard in self.shards.values()))

    @property
    def not_finite(self) -> Counter[int]:
        """Pushes with NaN or infinity, by worker rank."""
        return sum((shard.not_finite for shard in self.shards.values()), Counter())

    def serve(self) -> None:
        """Serve until every worker has left."""
        while self.open:
            try:
                self._take(self._inbox.take(lambda: self.owing))
            except MPI.Exception as failure:
                self._failed(failure)
        self._finish()

    def poll(self) -> bool:
        """Serve one message if one is there (for a rank that is worker and server)."""
        try:
            if self.open and (message := self._inbox.poll(lambda: self.owing)) is not None:
                self._take(message)
                return True
        except MPI.Exception as failure:
            self._failed(failure)
        return False

    def drop(self, rank: int) -> None:
        """Go on without a dead rank: a worker is no longer waited for, a server leaves its chains.

        From where on a worker is missing is the head's decision, and goes down the chain among its pushes: replicas
        that each went by their own news of a death would let different pushes count. A new head, or one whose
        successor may not have passed the news on, says it again.
        """
        self.layout.dead.add(rank)
        self._dropped.add(rank)
        for index in self.shards:
            if self.layout.chain(index)[0] == self.rank:
                for worker in sorted(self.layout.dead.intersection(self.layout.workers)):
                    message = messages.pack(messages.Header(messages.DROP, shard=index, worker=worker))
                    self._hand_on(index, message)
                    self._answer(self.shards[index].receive(message))

    def _take(self, message: Bytes) -> None:
        self.received.update(messages=1, bytes=len(message))
        header, _ = messages.unpack(message)
        if header.kind == messages.PUSH:
            self._phase("apply", step=header.clock)
        # It takes its place here before it goes down the chain: in between a death may become known, and what the head
        # then says of the dead worker must come behind this in every replica.
        replies = self.shards[header.shard].receive(message)
        if header.kind not in (messages.PULL, messages.FLUSH):
            self._hand_on(header.shard, message)
        self._answer(replies)

    def _hand_on(self, shard: int, message: Bytes) -> None:
        """Send a push, tick or leave to the next replica, unchanged."""
        chain = self.layout.chain(shard)
        place = chain.index(self.rank)
        if place + 1 < len(chain):
            self._send(message, chain[place + 1], REQUEST_TAG)

    def _answer(self, replies: list[tuple[int, Bytes]]) -> None:
        for worker, message in replies:
            header, _ = messages.unpack(message)
            # Who was asked answers; a leave came down the chain: its end, as this server or the worker knows it.
            asked = header.answers != messages.LEAVE or self.rank in (header.table, self.layout.chain(header.shard)[-1])
            if asked and worker not in self.layout.dead:
                self._send(message, worker, reply_tag(header.sequence, header.shard, len(self.layout.shards)))

    def _send(self, message: Bytes, rank: int, tag: int) -> None:
        self.sent.update(messages=1, bytes=len(message))
        try:
            self._sending.append((self.comm.Isend([message, MPI.BYTE], rank, tag), message))
            if len(self._sending) > 2 * len(self.layout.workers):
                self._sending = [pair for pair in self._sending if not pair[0].Test()]
        except MPI.Exception as failure:  # the message at hand must still be taken in: nobody sends it again
            self._sending = [pair for pair in self._sending if pair[0] != MPI.REQUEST_NULL]
            self._failed(failure)

    def _finish(self) -> None:
        for request, _ in self._sending:
            try:
                request.Wait()
            except MPI.Exception as failure:
                self._failed(failure)
        self._sending = []

    def _failed(self, failure: MPI.Exception) -> None:
        if self.on_failure is None:
            raise failure
        for rank in self.on_failure(failure):
            if rank not in self._dropped:
                self.drop(rank)
