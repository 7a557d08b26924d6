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
