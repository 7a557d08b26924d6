"""A worker's messages: numbered pushes to the heads of the servers' chains, requests to their tails.

With replicas, what no reply has confirmed is kept, and sent again when a server dies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator import carrier
from primitives.inbox import Outbox
from primitives.parameter_server import messages
from primitives.parameter_server.layout import Layout
from primitives.parameter_server.messages import HEADER_BYTES, Bytes, Header, KeyCache, Piece
from primitives.parameter_server.server import REQUEST_TAG, OnFailure, Server, reply_tag

Array = NDArray[Any]
_LONGEST_NAP_S = 200e-6
_NOTHING: Array = np.empty(0, np.uint8)


class PendingRequest:
    """A request that awaits its reply, kept to be sent again if its server dies."""

    __slots__ = ("buffer", "header", "piece", "request")

    def __init__(self, header: Header, piece: Piece | None = None, size: int = 0) -> None:
        self.header, self.piece = header, piece
        self.buffer: Bytes = np.empty(HEADER_BYTES + size, np.uint8)
        self.request: MPI.Request = MPI.REQUEST_NULL


class Channel:
    """The messages of one worker to and from servers.

    Attributes
    ----------
    waited : seconds spent waiting for replies, on the communicator's clock
    clock, number : iterations closed; pulls and flushes so far
    sent_bytes, received_bytes : headers included
    half : whether values travel as float16, in both directions
    not_finite : by shard: pushes of this worker with NaN or infinity, as far as replies have told
    """

    def __init__(
        self, comm: MPI.Intracomm, layout: Layout, server: Server | None = None, on_failure: OnFailure | None = None,
        half: bool = False,
    ) -> None:  # fmt: skip
        self.comm, self.layout = comm, layout
        self.rank, self.half = comm.Get_rank(), half
        self._carrier = carrier.of(comm)
        self._nap_s = self._carrier.nap_s(_LONGEST_NAP_S)
        self.clock = self.number = 0
        self.waited = 0.0
        self.sent_bytes = self.received_bytes = 0
        self.not_finite: dict[int, int] = {}
        self._server, self._on_failure = server, on_failure
        self._sequence = [0] * len(layout.shards)
        self._retained: list[deque[tuple[int, Bytes]]] = [deque() for _ in layout.shards]
        self._lists: dict[tuple[int, int, int], KeyCache] = {}
        self._outbox = Outbox(
            comm, REQUEST_TAG, lost=lambda rank, failure: self._failed(failure), most=4 * len(layout.shards), least=0
        )
        self._dropped: set[int] = set()

    def header(self, kind: int, shard: int, table: int = 0) -> Header:
        """Make a header; pulls and flushes are numbered by `number`, the rest by shard when sent."""
        flags = messages.HALF if self.half else 0
        return Header(
            kind, messages.RANGE, flags, shard, table, self.rank, self.clock, self.number, self._sequence[shard]
        )

    def tell(
        self, kind: int, shard: int, table: int = 0, values: Array = _NOTHING, piece: Piece | None = None,
        flags: int = 0,
    ) -> None:  # fmt: skip
        """Send a numbered push, tick or leave to the head of the shard's chain."""
        self._sequence[shard] += 1
        sequence = self._sequence[shard]
        seen = self.number if flags & messages.ASKS else sequence
        flags |= messages.HALF if self.half else 0
        header = Header(kind, messages.RANGE, flags, shard, table, self.rank, self.clock, sequence, seen)
        if self.layout.replicas > 1:  # before it is sent: if the send finds the server dead, its successor needs it
            self._retained[shard].append((header.sequence, messages.pack_request(header, piece, values)))
        self._send(self._message(header, piece, values), self.layout.chain(shard)[0])

    def away(self) -> None:
        """Tell the servers that this worker waits for other workers before its next request."""
        for shard in self.layout.shards:
            self._send(messages.pack(self.header(messages.AWAY, shard)), self.layout.chain(shard)[0])

    def ask(self, asked: PendingRequest) -> PendingRequest:
        """Send a pull or flush to the tail of the shard's chain, and post the receive of the reply."""
        self.listen(asked)
        if asked.header.kind != messages.LEAVE:  # a leave is resent with the pushes that no reply has confirmed
            self._send(self._message(asked.header, asked.piece), self.layout.chain(asked.header.shard)[-1])
        return asked

    def listen(self, asked: PendingRequest) -> PendingRequest:
        """Post the receive of a reply."""
        shard = asked.header.shard
        tag = reply_tag(asked.header.sequence, shard, len(self.layout.shards))
        try:
            asked.request = self.comm.Irecv([asked.buffer, MPI.BYTE], self.layout.chain(shard)[-1], tag)
        except MPI.Exception as failure:
            self._failed(failure)
            return self.listen(asked)
        return asked

    def goodbye(self) -> None:
        """Leave every shard, and wait until each has confirmed it."""
        answers = []
        for shard in self.layout.shards:
            header = self.header(messages.LEAVE, shard)._replace(sequence=self._sequence[shard] + 1)
            answers.append(self.listen(PendingRequest(header)))
            self.tell(messages.LEAVE, shard, table=self.layout.chain(shard)[-1])  # the rank that is to reply
        for asked in answers:
            self.receive(asked)
        if self._server is None and self._on_failure is None:
            self._outbox.drain()
        else:
            self._serve_until(self._outbox.done)

    @property
    def unconfirmed(self) -> int:
        """Largest number of pushes to one shard that no reply has confirmed (kept only with replicas)."""
        return max(len(retained) for retained in self._retained)

    def serve_others(self) -> bool:
        """Serve one waiting request if this rank is a server, too."""
        return self._server is not None and self._server.poll()

    def arrived(self, asked: PendingRequest) -> bool:
        """Whether a reply has arrived; repeats a request whose server has died meanwhile."""
        try:
            return asked.request.Test()
        except MPI.Exception as failure:
            self._failed(failure)
            self.ask(asked)
            return False

    def receive(self, asked: PendingRequest) -> tuple[Header, Bytes]:
        """Wait for a reply; repeats a request whose server has died meanwhile."""
        start = self._carrier.now()
        while not self._wait(asked.request):
            self.ask(asked)
        self.waited += self._carrier.now() - start
        self.received_bytes += len(asked.buffer)
        header, body = messages.unpack(asked.buffer)
        if header.not_finite:
            self.not_finite[header.shard] = header.not_finite
        retained = self._retained[header.shard]
        while retained and retained[0][0] <= header.seen:
            retained.popleft()
        return header, body

    def drop(self, rank: int) -> None:
        """Go on without a dead server: send its successors what no reply has confirmed."""
        self.layout.dead.add(rank)
        self._dropped.add(rank)
        self._lists.clear()  # the new ends of the chains may not know what the old ones knew
        for shard, retained in enumerate(self._retained):
            if rank in self.layout.servers and shard in self.layout.kept_by(rank):
                for _, message in retained:
                    self._send(self._readdressed(message), self.layout.chain(shard)[0])
        if self._server is not None:
            self._server.drop(rank)

    def _readdressed(self, message: Bytes) -> Bytes:
        """Address a leave to the living tail, because a server may not know of the old tail's death yet."""
        header, _ = messages.unpack(message)
        if header.kind != messages.LEAVE:
            return message
        return messages.pack(header._replace(table=self.layout.chain(header.shard)[-1]))

    def _message(self, header: Header, piece: Piece | None, values: Array = _NOTHING) -> Bytes:
        """Pack a request; a key list that the shard has seen lately is sent as its signature."""
        known = False
        if piece is not None and piece.keys is not None:
            cache = self._lists.setdefault((header.shard, header.table, header.kind), KeyCache())
            known = cache.add(piece.last, None)
        return messages.pack_request(header, piece, values, known)

    def _send(self, message: Bytes, rank: int) -> None:
        self.sent_bytes += len(message)
        self._outbox.send(rank, message)

    def _wait(self, request: MPI.Request) -> bool:
        """Wait for a request, serving others meanwhile; False if it failed and the policy says to go on."""
        try:
            if self._server is None and self._on_failure is None:
                request.Wait()
            else:
                self._serve_until(request.Test)
        except MPI.Exception as failure:
            self._failed(failure)
            return False
        return True

    def _serve_until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready`, serving others and asking the policy for dead ranks meanwhile."""
        over = False

        def look() -> bool:
            nonlocal over
            over = ready()
            if over or self.serve_others():  # a rank that has just served looks again at once
                return True
            self._failed(None)
            return False

        while not over:
            self._carrier.wait_until(look, longest_s=self._nap_s)

    def _failed(self, failure: MPI.Exception | None) -> None:
        """Go on without the ranks that the policy names as dead."""
        if self._on_failure is None:
            if failure is not None:
                raise failure
            return
        for rank in self._on_failure(failure):
            if rank not in self._dropped:
                self.drop(rank)
