"""The lower-case sends and receives of any object, pickled as mpi4py does."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from emulator.comm.point_to_point import PointToPoint

_ANY: int = MPI.ANY_SOURCE
_ANY_TAG: int = MPI.ANY_TAG


class Pickled(PointToPoint):
    """send, recv and their relatives."""

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        self._enter()
        self._send_now(MPI.pickle.dumps(obj), dest, tag)

    def ssend(self, obj: Any, dest: int, tag: int = 0) -> None:
        self._enter()
        self._complete(self._send(MPI.pickle.dumps(obj), dest, tag, sync=True))

    def bsend(self, obj: Any, dest: int, tag: int = 0) -> None:
        self.Bsend(MPI.pickle.dumps(obj), dest, tag)

    def ibsend(self, obj: Any, dest: int, tag: int = 0) -> MPI.Request:
        return self.Ibsend(MPI.pickle.dumps(obj), dest, tag)

    def isend(self, obj: Any, dest: int, tag: int = 0) -> MPI.Request:
        self._enter()
        return self._send(MPI.pickle.dumps(obj), dest, tag)

    def issend(self, obj: Any, dest: int, tag: int = 0) -> MPI.Request:
        self._enter()
        return self._send(MPI.pickle.dumps(obj), dest, tag, sync=True)

    def recv(self, buf: Any = None, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> Any:
        self._enter()
        origin, tag = self._accepted(source, tag)
        self._look(origin, tag)
        return self._complete(self._receive_from(origin, tag, None), status)

    def irecv(self, buf: Any = None, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Request:
        self._enter()
        return self._begin_receive(None, source, tag)

    def sendrecv(
        self, sendobj: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG, status: MPI.Status | None = None,
    ) -> Any:  # fmt: skip
        self._enter()
        return self._complete(self._both(MPI.pickle.dumps(sendobj), dest, sendtag, None, source, recvtag), status)
