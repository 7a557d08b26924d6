"""Requests of MPI itself whose completion is recorded; `emulator.trace.traced_mpi` makes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.comm.completion import replace_methods
from emulator.core.instruments import Wait
from emulator.core.wall_clock import perf_counter as _now

if TYPE_CHECKING:
    from emulator.trace.traced_mpi import TracedComm


class Operation:
    """The operation of a request; `comm` is its communicator. This base class records nothing."""

    def begins(self, comm: Any, since: float) -> None:
        """Called when the rank begins to wait for the operation."""

    def done(self, comm: Any, status: MPI.Status, since: float) -> None:
        """Called once the operation is complete, for which the rank waited since `since`."""

    def cancelled(self, comm: Any) -> None:
        """Called once the operation is cancelled."""


class _TracedOperation(Operation):
    """A recorded operation of a `TracedComm`, with member number `peer` or with any."""

    def __init__(self, peer: int, tag: int = MPI.ANY_TAG) -> None:
        self.peer, self.tag = peer, tag

    def begins(self, comm: TracedComm, since: float) -> None:
        comm.begin_to_wait(since, self.peer, self.tag)

    def cancelled(self, comm: TracedComm) -> None:
        comm.goes_on()


class Sending(_TracedOperation):
    """A send in progress."""

    def done(self, comm: TracedComm, status: MPI.Status, since: float) -> None:
        comm.tell_wait(Wait.SEND, since, self.peer)


class Receiving(_TracedOperation):
    """A posted receive; `token` is None if only its message will tell which one it is."""

    def __init__(self, token: int | None, peer: int, tag: int) -> None:
        super().__init__(peer, tag)
        self.token = token

    def done(self, comm: TracedComm, status: MPI.Status, since: float) -> None:
        comm.tell_receive(status, self.token, since)


def _waiting(original: Any) -> Any:
    def call(self: _Traced, status: MPI.Status | None = None) -> Any:
        since, status = _now(), status if status is not None else MPI.Status()
        self.begins(since)
        answer = original(self, status)
        self.done(status, since)
        return answer

    return functools.wraps(original)(call)


def _testing(original: Any) -> Any:
    def call(self: _Traced, status: MPI.Status | None = None) -> Any:
        status = status if status is not None else MPI.Status()
        answer = original(self, status)
        if _all(answer, 1):
            self.done(status, _now())
        return answer

    return functools.wraps(original)(call)


class _Traced:
    """Mixin of traced requests: the operation in progress is recorded once, when it is complete."""

    comm: Any
    operation: Operation | None

    def done(self, status: MPI.Status, since: float) -> None:
        """Record the completion."""
        operation, self.operation = self.operation, None
        if operation is None:
            return
        if status.Is_cancelled():
            operation.cancelled(self.comm)
        else:
            operation.done(self.comm, status, since)

    def begins(self, since: float) -> None:
        """Record that this rank begins to wait."""
        if self.operation is not None:
            self.operation.begins(self.comm, since)

    Wait, wait = _waiting(MPI.Request.Wait), _waiting(MPI.Request.wait)
    Test, test = _testing(MPI.Request.Test), _testing(MPI.Request.test)


class TracedRequest(_Traced, MPI.Request):
    """A request whose completion is recorded."""

    def __new__(cls, request: MPI.Request, *_: Any) -> TracedRequest:
        return MPI.Request.__new__(cls, request)

    def __init__(self, request: MPI.Request, comm: Any, operation: Operation) -> None:
        self.comm, self.operation = comm, operation


class TracedPrequest(_Traced, MPI.Prequest):
    """A persistent request; `begin` returns the operation that a start begins."""

    def __new__(cls, request: MPI.Prequest, *_: Any) -> TracedPrequest:
        return MPI.Prequest.__new__(cls, request)

    def __init__(self, request: MPI.Prequest, comm: Any, begin: Callable[[], Operation]) -> None:
        self.comm, self.operation, self.begin = comm, None, begin

    def Start(self) -> None:
        self.operation = self.begin()
        super().Start()


def _completing(original: Any, complete: Callable[[Any, int], Sequence[int]], several: bool, waits: bool) -> Any:
    """Wrap a class method of MPI.Request, such as Waitall; `complete` lists which requests its result completes."""

    @functools.wraps(original)
    def call(cls: type, requests: Sequence[MPI.Request], statuses: Any = None) -> Any:
        if not any(isinstance(one, _Traced) for one in requests):
            return original(requests, statuses)
        since = _now()
        if waits:  # for the first of them, as far as is known
            next(one for one in requests if isinstance(one, _Traced)).begins(since)
        given: Any = statuses if statuses is not None else [] if several else MPI.Status()
        answer = original(requests, given)
        for place, index in enumerate(complete(answer, len(requests))):
            one = requests[index]
            if isinstance(one, _Traced):
                one.done(given[place] if several else given, since)
        return answer

    return classmethod(call)


def _all(answer: Any, count: int) -> Sequence[int]:
    flag = answer[0] if isinstance(answer, tuple) else answer
    return range(count) if flag is not False else ()


def _one(answer: Any, count: int) -> Sequence[int]:
    index = answer[0] if isinstance(answer, tuple) else answer
    return (index,) if index != MPI.UNDEFINED and index >= 0 else ()


def _some(answer: Any, count: int) -> Sequence[int]:
    indices = answer[0] if isinstance(answer, tuple) else answer
    return indices or ()


_WAITS = ("Wait", "wait")


@functools.cache
def install() -> None:
    """Make MPI's class methods record the starts and completions of traced requests, once per process."""
    kinds = {"all": (_all, True), "any": (_one, False), "some": (_some, True)}
    replace_methods(
        MPI.Request,
        {
            verb + suffix: _completing(getattr(MPI.Request, verb + suffix), *kinds[suffix], verb in _WAITS)
            for verb in (*_WAITS, "Test", "test")
            for suffix in kinds
        },
    )
    start_all = MPI.Prequest.Startall

    def start(cls: type, requests: list[MPI.Prequest]) -> None:
        for one in requests:
            if isinstance(one, TracedPrequest):
                one.operation = one.begin()
        start_all(requests)

    replace_methods(MPI.Prequest, {"Startall": classmethod(start)})
