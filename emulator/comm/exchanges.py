"""A send and a receive in one call: both go on at once, so that rings and pairs cannot wait for each other for ever."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from emulator.comm.buffers import Incoming
from emulator.comm.persistent import Both
from emulator.comm.point_to_point import PointToPoint, as_c_int

_NULL: int = MPI.PROC_NULL
_ANY: int = MPI.ANY_SOURCE
_ANY_TAG: int = MPI.ANY_TAG


class Exchanges(PointToPoint):
    """Sendrecv and its relatives."""

    def Sendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG, status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        self._enter()
        payload, size = self._given(sendbuf, dest)
        self._exchange(payload, size, dest, sendtag, self._wanted(recvbuf, source), source, recvtag, status)

    def Sendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY, recvtag: int = _ANY_TAG,
        status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        self._enter()
        payload, size = self._given(buf, dest)
        self._exchange(bytes(payload), size, dest, sendtag, self._wanted(buf, source), source, recvtag, status)

    def _exchange(
        self, payload: Any, size: int, dest: int, sendtag: int, into: Incoming | None, source: int, recvtag: int,
        status: MPI.Status | None,
    ) -> Any:  # fmt: skip
        self._check_target(dest, sendtag)
        receive = self._receive(into, source, recvtag)
        send = self._send(payload, size, dest, sendtag)
        self.engine.wait(receive)
        self.engine.wait(send)
        send.finish()
        result = receive.finish(status)
        self._leave()
        send.check()
        receive.check(status)
        return result

    def _check_target(self, dest: int, tag: int) -> None:
        """Raise what a send would raise before a receive is posted that nobody would wait for."""
        dest, tag = as_c_int(dest), as_c_int(tag)
        if dest != _NULL:
            self._check_tag(tag)
            self._peer(dest)

    def Isendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG,
    ) -> MPI.Request:  # fmt: skip
        self._enter()
        payload, size = self._given(sendbuf, dest)
        return self._start(payload, size, dest, sendtag, self._wanted(recvbuf, source), source, recvtag)

    def Isendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY, recvtag: int = _ANY_TAG
    ) -> MPI.Request:
        self._enter()
        payload, size = self._given(buf, dest)
        return self._start(bytes(payload), size, dest, sendtag, self._wanted(buf, source), source, recvtag)

    def _start(
        self, payload: Any, size: int, dest: int, sendtag: int, into: Incoming | None, source: int, recvtag: int
    ) -> MPI.Request:
        self.engine.progress()
        self._check_target(dest, sendtag)
        receive = self._receive(into, source, recvtag)
        both = Both(self, self._send(payload, size, dest, sendtag), receive)
        self._leave()
        return both
