"""Requests that move no message themselves: null requests, conditions, send-receive pairs, persistent requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.comm.buffers import Incoming, outgoing
from emulator.comm.requests import EmulatedRequest, empty_status
from emulator.core.operations import Operation

if TYPE_CHECKING:
    from emulator.comm.point_to_point import PointToPoint


class _Composed(EmulatedRequest):
    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return MPI.Request.__new__(cls)  # the compiled class takes no arguments but a request to copy


class NullRequest(_Composed):
    """A send or receive with PROC_NULL: complete at once, without a message."""

    def __init__(self, comm: Any, receive: bool) -> None:
        self.comm, self.engine = comm, comm.engine
        self.active, self.error, self.receive = True, 0, receive
        self.hint = None

    def poll(self) -> bool:
        return True

    def time(self) -> float:
        return self.engine.clock.t

    def finish(self, status: MPI.Status | None = None) -> None:
        self.active = False
        self.fill(status)

    def fill(self, status: MPI.Status | None) -> None:
        empty_status(status)
        if status is not None and self.receive:
            status.source = MPI.PROC_NULL


class Condition(NullRequest):
    """A request that completes once messages, to `receives` if given, make `holds` true; costs no emulated time."""

    def __init__(self, comm: Any, holds: Callable[[], bool], receives: Sequence[Operation] = ()) -> None:
        super().__init__(comm, receive=False)
        self.poll = holds  # type: ignore[method-assign]
        self._receives = receives

    @property
    def awaits_message(self) -> bool:  # type: ignore[override]
        return all(one.awaits_message for one in self._receives)


class Both(_Composed):
    """A send and a receive as one request; its status and its object are those of the receive."""

    def __init__(self, comm: Any, send: EmulatedRequest, receive: EmulatedRequest) -> None:
        self.comm, self.engine = comm, comm.engine
        self.send, self.receive, self.source = send, receive, receive.source
        self.active, self.error = True, 0
        self.hint = None

    def poll(self) -> bool:
        if not self.receive.poll():
            self.hint = self.receive.hint
            return False
        if not self.send.poll():
            self.hint = self.send.hint
            return False
        return True

    @property
    def awaits_message(self) -> bool:  # type: ignore[override]
        return self.receive.awaits_message and self.send.awaits_message

    def time(self) -> float:
        return max(self.send.time(), self.receive.time())

    def finish(self, status: MPI.Status | None = None) -> Any:
        self.active = False
        self.send.finish()
        result = self.receive.finish(status)
        self.error = self.send.error or self.receive.error
        return result

    def fill(self, status: MPI.Status | None) -> None:
        self.receive.fill(status)


class PersistentRequest(MPI.Prequest, EmulatedRequest):
    """A persistent send or receive; each Start makes a plain request. Small: a schedule may have a million."""

    __slots__ = ("_current", "comm", "error", "freed", "peer", "tag")

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return MPI.Prequest.__new__(cls)

    def __init__(self, comm: PointToPoint, peer: int, tag: int) -> None:
        self.comm, self.peer, self.tag = comm, peer, tag
        self._current: EmulatedRequest | None = None
        self.freed, self.error = False, 0

    def _begin(self) -> EmulatedRequest:
        """Make the plain request."""
        raise NotImplementedError

    @property
    def engine(self) -> Any:  # type: ignore[override]
        return self.comm.engine

    @property
    def active(self) -> bool:  # type: ignore[override]
        return self._current is not None

    @property
    def hint(self) -> float | None:  # type: ignore[override]
        return self._current.hint if self._current is not None else None

    @property
    def awaits_message(self) -> bool:  # type: ignore[override]
        return self._current is None or self._current.awaits_message

    def __eq__(self, other: object) -> bool:
        return self is other or (self.freed and type(other) is MPI.Request and other == MPI.REQUEST_NULL)

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return not self.freed

    def Start(self) -> None:
        """Begin the operation once more."""
        if self._current is not None:
            self.comm.raise_error(MPI.ERR_REQUEST)
        self._current = self._begin()

    def Wait(self, status: MPI.Status | None = None) -> bool:  # type: ignore[override]
        current = self._current
        if current is None:
            empty_status(status)
            return True
        try:
            return current.Wait(status)
        finally:
            if not current.active:
                self._current, self.error = None, current.error

    def wait(self, status: MPI.Status | None = None) -> Any:
        current = self._current
        if current is None:
            empty_status(status)
            return None
        try:
            return current.wait(status)
        finally:
            if not current.active:
                self._current, self.error = None, current.error

    def poll(self) -> bool:
        return self._current is None or self._current.poll()

    def time(self) -> float:
        return self.engine.clock.t if self._current is None else self._current.time()

    def finish(self, status: MPI.Status | None = None) -> Any:
        current, self._current = self._current, None
        if current is None:
            empty_status(status)
            return None
        result = current.finish(status)
        self.error = current.error
        return result

    def fill(self, status: MPI.Status | None) -> None:
        if self._current is None:
            empty_status(status)
        else:
            self._current.fill(status)

    def Cancel(self) -> None:
        if self._current is not None:
            self._current.Cancel()

    def Free(self) -> None:
        self._current, self.freed = None, True


class PersistentSend(PersistentRequest):
    """A persistent send, synchronous if `sync`; data that must be packed are packed at each start."""

    __slots__ = ("payload", "spec", "sync")

    def __init__(self, comm: PointToPoint, spec: Any, dest: int, tag: int, sync: bool) -> None:
        super().__init__(comm, dest, tag)
        self.payload, self.sync = comm._given(spec, dest), sync
        self.spec = spec if type(self.payload) is bytearray else None

    def _begin(self) -> EmulatedRequest:
        comm = self.comm
        comm._enter()
        return comm._send(self.payload if self.spec is None else outgoing(self.spec), self.peer, self.tag, self.sync)


class PersistentReceive(PersistentRequest):
    """A persistent receive."""

    __slots__ = ("into",)

    def __init__(self, comm: PointToPoint, into: Incoming | None, source: int, tag: int) -> None:
        super().__init__(comm, source, tag)
        self.into = into

    def _begin(self) -> EmulatedRequest:
        comm = self.comm
        comm._enter()
        request = comm._receive_from(*comm._accepted(self.peer, self.tag), self.into)
        comm._leave()
        return request
