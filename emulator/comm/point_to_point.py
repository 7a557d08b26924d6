"""mpi4py's sends and receives over the emulated network, on buffers."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from emulator.comm.buffers import Incoming, outgoing
from emulator.comm.members import Addressing, as_c_int
from emulator.comm.persistent import NullRequest, PersistentRequest
from emulator.comm.requests import EmulatedRequest, describe
from emulator.comm.send_receive import ObjectReceive, ReceiveRequest, SendRequest
from emulator.core.instruments import Wait
from emulator.core.message import NOT_AT_ONCE, Arrival

_NULL: int = MPI.PROC_NULL
_ANY: int = MPI.ANY_SOURCE
_ANY_TAG: int = MPI.ANY_TAG


class PointToPoint(Addressing):
    """Sends and receives; an `EmulatedComm` adds the rest."""

    # -- buffers, which are ignored with PROC_NULL

    def _given(self, buf: Any, dest: int) -> tuple[Any, int]:
        return outgoing(buf) if dest != _NULL else (b"", 0)

    def _wanted(self, buf: Any, source: int) -> Incoming | None:
        return Incoming(buf) if source != _NULL else None

    # -- the two basic operations, of which all others are made

    def _send(self, payload: Any, size: int, dest: int, tag: int, sync: bool = False) -> EmulatedRequest:
        if type(dest) is not int or type(tag) is not int:
            dest, tag = as_c_int(dest), as_c_int(tag)
        if dest == _NULL:
            return NullRequest(self, receive=False)
        if tag < 0:
            self._check_tag(tag)
        peer = self._peer(dest)
        request = SendRequest(self, peer, sync)
        end, transfer = self.engine.send(peer, self.context, tag, payload, size, request if sync else None)
        return request.sent(end, transfer, payload)

    def _send_now(self, payload: Any, size: int, dest: int, tag: int) -> None:
        """Send and wait until the last byte has left: a short message needs no request for that."""
        if type(dest) is not int or type(tag) is not int or dest < 0 or tag < 0:
            self._complete(self._send(payload, size, dest, tag))
            return
        engine = self.engine
        clock = engine.clock
        peer = self._peer(dest)
        end, transfer = engine.send(peer, self.context, tag, payload, size)
        if transfer is not None:
            self._complete(SendRequest(self, peer).sent(end, transfer, payload))
            return
        if end > clock.t:
            engine.wait_until(end, Wait.SEND, peer)
            if engine.pacer.pace:
                engine.pacer.hold(end)
        if clock.measured:
            clock.leave()

    def _look(self, source: int, tag: int) -> Arrival | None:
        """Progress, and return the message that a receive from this source and tag can complete with at once.

        Only a message that is here completely and due in emulated time: no receive need be posted for it. This is
        the usual case where messages arrive faster than this machine handles them.
        """
        engine = self.engine
        if type(source) is not int or type(tag) is not int or not 0 <= source < len(self.members):
            engine.progress()
            return None
        if tag < 0:
            tag = self._tag_of(tag)
        matcher, origin = engine.matcher(self.context), self.members[source]
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
        """Receive a message that `_look` has given."""
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

    def _receive(self, into: Incoming | None, source: int, tag: int) -> EmulatedRequest:
        if type(source) is not int or type(tag) is not int:
            source, tag = as_c_int(source), as_c_int(tag)
        if source == _NULL:
            return NullRequest(self, receive=True)
        if tag < 0:
            tag = self._tag_of(tag)
        engine = self.engine
        kind = ReceiveRequest if into is not None else ObjectReceive
        request = kind(self, self._origin(source), tag, into)
        engine.matcher(self.context).post(request, engine.reached())
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
        """Begin a call: charge the compute since the last one; paced, wait until the wall clock has reached it."""
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
        payload, size = outgoing(buf) if dest != _NULL else (b"", 0)
        self._send_now(payload, size, dest, tag)

    def Ssend(self, buf: Any, dest: int, tag: int = 0) -> None:
        self._enter()
        payload, size = self._given(buf, dest)
        self._complete(self._send(payload, size, dest, tag, sync=True))

    def Bsend(self, buf: Any, dest: int, tag: int = 0) -> None:
        self._enter()
        payload, size = self._given(buf, dest)
        payload = bytes(payload)
        request = self._send(payload, size, dest, tag)
        if isinstance(request, SendRequest):
            self.engine.keep(request.transfer, payload)
        self._leave()

    def Ibsend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        self.Bsend(buf, dest, tag)
        return NullRequest(self, receive=False)

    Rsend = Send

    def Recv(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> None:
        self._enter()
        into = Incoming(buf) if source != _NULL else None
        message = self._look(source, tag)
        if message is not None and into is not None and message.size <= into.room:
            self._take(message, into, status)
        else:
            self._complete(self._receive(into, source, tag), status)

    # -- nonblocking, upper case

    def Isend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        self._enter()
        payload, size = self._given(buf, dest)
        return self._begin_send(payload, size, dest, tag)

    def Issend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        self._enter()
        payload, size = self._given(buf, dest)
        return self._begin_send(payload, size, dest, tag, sync=True)

    def _begin_send(self, payload: Any, size: int, dest: int, tag: int, sync: bool = False) -> MPI.Request:
        request = self._send(payload, size, dest, tag, sync)
        if self.engine.clock.measured:
            self.engine.clock.leave()
        return request

    def _begin_receive(self, into: Incoming | None, source: int, tag: int) -> MPI.Request:
        self.engine.progress()
        request = self._receive(into, source, tag)
        if self.engine.clock.measured:
            self.engine.clock.leave()
        return request

    Irsend = Isend

    def Irecv(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Request:
        self._enter()
        return self._begin_receive(self._wanted(buf, source), source, tag)

    # -- persistent

    def Send_init(self, buf: Any, dest: int, tag: int = 0) -> MPI.Prequest:
        return self._persistent_send(buf, dest, tag, sync=False)

    def Ssend_init(self, buf: Any, dest: int, tag: int = 0) -> MPI.Prequest:
        return self._persistent_send(buf, dest, tag, sync=True)

    Rsend_init = Send_init

    def _persistent_send(self, buf: Any, dest: int, tag: int, sync: bool) -> MPI.Prequest:
        payload, size = self._given(buf, dest)
        packed = type(payload) is bytearray and payload is not buf

        def begin() -> Any:
            self._enter()
            data = outgoing(buf)[0] if packed else payload
            return self._begin_send(data, size, dest, tag, sync)

        return PersistentRequest(self, begin)

    def Recv_init(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Prequest:
        into = self._wanted(buf, source)

        def begin() -> EmulatedRequest:
            self._enter()
            request = self._receive(into, source, tag)
            self._leave()
            return request

        return PersistentRequest(self, begin)
