"""mpi4py's sends and receives over the emulated network, on buffers."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from emulator.comm.buffers import Incoming, outgoing
from emulator.comm.members import Addressing
from emulator.comm.persistent import Both, NullRequest, PersistentReceive, PersistentSend
from emulator.comm.requests import EmulatedRequest, describe
from emulator.comm.send_receive import EagerSend, ObjectReceive, PendingSend, ReceiveRequest
from emulator.core.instruments import Wait
from emulator.core.message import NOT_AT_ONCE, Arrival

_NULL: int = MPI.PROC_NULL
_ANY: int = MPI.ANY_SOURCE
_ANY_TAG: int = MPI.ANY_TAG


class PointToPoint(Addressing):
    """Sends and receives; an `EmulatedComm` adds the rest."""

    # -- buffers, which are ignored with PROC_NULL

    def _given(self, buf: Any, dest: int) -> Any:
        return outgoing(buf) if dest != _NULL else b""

    def _wanted(self, buf: Any, source: int) -> Incoming | None:
        return Incoming(buf) if source != _NULL else None

    # -- the two basic operations, of which all others are made

    def _send(self, payload: Any, dest: int, tag: int, sync: bool = False) -> EmulatedRequest:
        """Begin a send of bytes; the call ends here unless it waits for the request."""
        peer, tag = self._target(dest, tag)
        request = self._send_to(peer, tag, payload, sync)
        if self.engine.clock.measured:
            self.engine.clock.leave()
        return request

    def _send_to(self, peer: int | None, tag: int, payload: Any, sync: bool = False) -> EmulatedRequest:
        if peer is None:
            return NullRequest(self, receive=False)
        if not sync:
            end, transfer = self.engine.send(peer, self.context, tag, payload, len(payload))
            if transfer is None:
                return EagerSend().begin(self, peer, end)
        request = PendingSend().begin(self, peer, payload, sync)
        if sync:
            end, transfer = self.engine.send(peer, self.context, tag, payload, len(payload), request)
            if transfer is None:
                request.payload = None  # a program may keep many requests
        request.transfer = transfer
        if end > request.end:  # else the receiver has acknowledged it already
            request.end = end
        return request

    def _send_now(self, payload: Any, dest: int, tag: int) -> None:
        """Send, and wait until the last byte has left the card; a short message needs no request for that."""
        engine = self.engine
        clock = engine.clock
        peer, tag = self._target(dest, tag)
        if peer is not None:
            end, transfer = engine.send(peer, self.context, tag, payload, len(payload))
            if transfer is not None:
                request = PendingSend().begin(self, peer, payload, sync=False)
                request.end, request.transfer = end, transfer
                self._complete(request)
                return
            if end > clock.t:
                if engine.instruments.waited:
                    engine.wait_until(end, Wait.SEND, peer)
                else:
                    clock.t = end
                if engine.pacer.pace:
                    engine.pacer.hold(end)
        if clock.measured:
            clock.leave()

    def _look(self, origin: int | None, tag: int) -> Arrival | None:
        """Make progress, and return the message with which a receive of this source and tag can complete at once.

        Only a message that is here completely and due in emulated time: no receive need be posted for it. This is
        the usual case where messages arrive faster than this machine handles them.
        """
        engine = self.engine
        if origin is None or origin < 0:
            engine.progress()
            return None
        matcher = engine.matchers[self.context]
        message = matcher.find(origin, tag, None)
        if message is None:
            engine.progress()
            message = matcher.find(origin, tag, None)
        if message is None or message.flags & NOT_AT_ONCE:
            return None
        if engine.pacer.pace:
            now = engine.pacer.emulated()
            if message.first > now or message.port.serve(message) > max(now, engine.clock.t):
                return None
        return message

    def _take(self, message: Arrival, into: Incoming, status: MPI.Status | None) -> None:
        """Receive a message that `_look` has returned."""
        engine = self.engine
        engine.matchers[self.context].remove(message)
        if message.size:
            into.view[: message.size] = message.data
            if into.packed:
                into.finish(message.size)
        engine.complete(message, held=False)
        if status is not None:
            describe(status, self.rank_of(message.source), message.tag, message.size)
        if engine.clock.measured:
            engine.clock.leave()

    def _receive_from(self, origin: int | None, tag: int, into: Incoming | None) -> EmulatedRequest:
        if origin is None:
            return NullRequest(self, receive=True)
        engine = self.engine
        kind = ReceiveRequest if into is not None else ObjectReceive
        request = kind().begin(self, origin, tag, into)
        engine.matchers[self.context].post(request, engine.reached())
        return request

    def _complete(self, request: EmulatedRequest, status: MPI.Status | None = None) -> Any:
        self.engine.wait(request)
        result = request.finish(status)
        if self.engine.clock.measured:
            self.engine.clock.leave()
        if request.error:
            request.check(status)
        return result

    def _enter(self) -> None:
        """Begin a call: charge the compute since the last one; if paced, wait for the wall clock to catch up."""
        engine = self.engine
        engine.idling = False
        if engine.clock.measured:
            engine.clock.enter()
            if engine.pacer.pace:
                engine.pacer.hold(engine.clock.t)

    def _leave(self) -> None:
        if self.engine.clock.measured:
            self.engine.clock.leave()

    # -- blocking, upper case

    def Send(self, buf: Any, dest: int, tag: int = 0) -> None:
        self._enter()
        self._send_now(outgoing(buf) if dest != _NULL else b"", dest, tag)

    def Ssend(self, buf: Any, dest: int, tag: int = 0) -> None:
        self._enter()
        self._complete(self._send(self._given(buf, dest), dest, tag, sync=True))

    def Bsend(self, buf: Any, dest: int, tag: int = 0) -> None:
        self._enter()
        self._send(bytes(self._given(buf, dest)), dest, tag)

    def Ibsend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        self.Bsend(buf, dest, tag)
        return NullRequest(self, receive=False)

    Rsend = Send

    def Recv(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> None:
        self._enter()
        into = Incoming(buf) if source != _NULL else None
        origin, tag = self._accepted(source, tag)
        message = self._look(origin, tag)
        if message is not None and into is not None and message.size <= into.room:
            self._take(message, into, status)
        else:
            self._complete(self._receive_from(origin, tag, into), status)

    # -- nonblocking, upper case

    def Isend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        self._enter()
        return self._send(outgoing(buf) if dest != _NULL else b"", dest, tag)

    def Issend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        self._enter()
        return self._send(self._given(buf, dest), dest, tag, sync=True)

    def _begin_receive(self, into: Incoming | None, source: int, tag: int) -> MPI.Request:
        self.engine.progress()
        origin, tag = self._accepted(source, tag)
        request = self._receive_from(origin, tag, into)
        if self.engine.clock.measured:
            self.engine.clock.leave()
        return request

    Irsend = Isend

    def Irecv(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Request:
        self._enter()
        return self._begin_receive(Incoming(buf) if source != _NULL else None, source, tag)

    # -- persistent

    def Send_init(self, buf: Any, dest: int, tag: int = 0) -> MPI.Prequest:
        return PersistentSend(self, buf, dest, tag, sync=False)

    def Ssend_init(self, buf: Any, dest: int, tag: int = 0) -> MPI.Prequest:
        return PersistentSend(self, buf, dest, tag, sync=True)

    Rsend_init = Send_init

    def Recv_init(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Prequest:
        return PersistentReceive(self, self._wanted(buf, source), source, tag)

    # -- a send and a receive in one call: both progress at once, so that rings and pairs of ranks cannot deadlock

    def Sendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG, status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        self._enter()
        both = self._both(self._given(sendbuf, dest), dest, sendtag, self._wanted(recvbuf, source), source, recvtag)
        self._complete(both, status)

    def Sendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY, recvtag: int = _ANY_TAG,
        status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        self._enter()
        payload = bytes(self._given(buf, dest))
        self._complete(self._both(payload, dest, sendtag, self._wanted(buf, source), source, recvtag), status)

    def Isendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG,
    ) -> MPI.Request:  # fmt: skip
        self._enter()
        self.engine.progress()
        both = self._both(self._given(sendbuf, dest), dest, sendtag, self._wanted(recvbuf, source), source, recvtag)
        self._leave()
        return both

    def Isendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY, recvtag: int = _ANY_TAG
    ) -> MPI.Request:
        self._enter()
        self.engine.progress()
        payload = bytes(self._given(buf, dest))
        both = self._both(payload, dest, sendtag, self._wanted(buf, source), source, recvtag)
        self._leave()
        return both

    def _both(
        self, payload: Any, dest: int, sendtag: int, into: Incoming | None, source: int, recvtag: int
    ) -> EmulatedRequest:
        """Post the receive and send; a wrong destination or tag is an error before the receive is posted."""
        peer, sendtag = self._target(dest, sendtag)
        receive = self._receive_from(*self._accepted(source, recvtag), into)
        return Both(self, self._send_to(peer, sendtag, payload), receive)
