"""A send and a receive in one call: both progress at once, so that rings and pairs of ranks cannot deadlock."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from emulator.comm.buffers import Incoming
from emulator.comm.persistent import Both
from emulator.comm.point_to_point import PointToPoint
from emulator.comm.requests import EmulatedRequest

_ANY: int = MPI.ANY_SOURCE
_ANY_TAG: int = MPI.ANY_TAG


class Exchanges(PointToPoint):
    """Sendrecv and its relatives."""

    def Sendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG, status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        self._enter()
        payload = self._given(sendbuf, dest)
        self._exchange(payload, dest, sendtag, self._wanted(recvbuf, source), source, recvtag, status)

    def Sendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY, recvtag: int = _ANY_TAG,
        status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        self._enter()
        payload = bytes(self._given(buf, dest))
        self._exchange(payload, dest, sendtag, self._wanted(buf, source), source, recvtag, status)

    def _exchange(
        self, payload: Any, dest: int, sendtag: int, into: Incoming | None, source: int, recvtag: int,
        status: MPI.Status | None,
    ) -> Any:  # fmt: skip
        send, receive = self._begin_both(payload, dest, sendtag, into, source, recvtag)
        self.engine.wait(receive)
        self.engine.wait(send)
        send.finish()
        result = receive.finish(status)
        self._leave()
        send.check()
        receive.check(status)
        return result

    def _begin_both(
        self, payload: Any, dest: int, sendtag: int, into: Incoming | None, source: int, recvtag: int
    ) -> tuple[EmulatedRequest, EmulatedRequest]:
        """Post the receive and send; a wrong destination or tag is an error before the receive is posted."""
        peer, sendtag = self._target(dest, sendtag)
        receive = self._receive(into, source, recvtag)
        return self._send_to(peer, sendtag, payload), receive

    def Isendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG,
    ) -> MPI.Request:  # fmt: skip
        self._enter()
        payload = self._given(sendbuf, dest)
        return self._start(payload, dest, sendtag, self._wanted(recvbuf, source), source, recvtag)

    def Isendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY, recvtag: int = _ANY_TAG
    ) -> MPI.Request:
        self._enter()
        payload = bytes(self._given(buf, dest))
        return self._start(payload, dest, sendtag, self._wanted(buf, source), source, recvtag)

    def _start(
        self, payload: Any, dest: int, sendtag: int, into: Incoming | None, source: int, recvtag: int
    ) -> MPI.Request:
        self.engine.progress()
        both = Both(self, *self._begin_both(payload, dest, sendtag, into, source, recvtag))
        self._leave()
        return both
