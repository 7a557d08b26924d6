"""Waiting for several requests at once, where some are emulated and others MPI's own.

``MPI.Request.Waitall`` and its relatives are class methods of a compiled class, and a program may have imported that
class before anything was emulated. So `install` replaces the methods in the class itself, as ``forbiddenfruit`` does;
the replacements call the originals for lists without an emulated request.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.comm.compiled_classes import replace_methods
from emulator.comm.persistent import PersistentRequest
from emulator.comm.requests import EmulatedRequest, empty_status
from emulator.core.operations import Operation

if TYPE_CHECKING:
    from emulator.core.engine import Engine


class _NativeRequest(Operation):
    """A request of MPI itself in a list with emulated ones."""

    error = 0

    def __init__(self, request: MPI.Request, engine: Engine) -> None:
        self.request, self.engine = request, engine
        self.active = request != MPI.REQUEST_NULL
        self._status = MPI.Status()
        self._outcome: tuple[bool, Any] = (not self.active, None)

    def poll(self) -> bool:
        if not self._outcome[0]:
            self._outcome = self.request.test(self._status)
        return self._outcome[0]

    def time(self) -> float:
        return self.engine.clock.t

    def finish(self, status: MPI.Status | None = None) -> Any:
        if status is not None:
            status.source, status.tag, status.error = self._status.source, self._status.tag, self._status.error
            status.Set_elements(MPI.BYTE, self._status.Get_elements(MPI.BYTE))
            status.Set_cancelled(self._status.cancelled)
        return self._outcome[1]


class Batch(Operation):
    """The requests of one call of Waitall, Waitany, Testall or the like."""

    def __init__(self, requests: Sequence[MPI.Request]) -> None:
        self.engine = next(r.engine for r in requests if isinstance(r, EmulatedRequest))
        self.operations: list[Any] = [
            r if isinstance(r, EmulatedRequest) else _NativeRequest(r, self.engine) for r in requests
        ]

    def __enter__(self) -> Batch:
        if self.engine.clock.measured:
            self.engine.clock.enter()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.engine.clock.measured:
            self.engine.clock.leave()

    def complete(self) -> list[int]:
        """List the active requests that are complete, the earliest in emulated time first."""
        ready = [i for i, one in enumerate(self.operations) if one.active and one.poll()]
        return sorted(ready, key=lambda i: (self.operations[i].time(), i)) if len(ready) > 1 else ready

    def idle(self) -> None:
        """Note that a test of these requests has found nothing."""
        self.engine.idle(tuple(one for one in self.operations if one.active))

    def some(self, wait: bool) -> list[int] | None:
        """The complete requests, after waiting for one if `wait`; None if no request is active."""
        if not any(one.active for one in self.operations):
            return None
        self.engine.progress()  # all that has come counts, not only what the first request to be polled takes in
        if not wait:
            return self.complete()
        self._found: list[int] = []
        self.engine.wait(self)
        return self._found

    def poll(self) -> bool:
        self._found = self.complete()
        return bool(self._found)

    @property
    def hint(self) -> float | None:  # type: ignore[override]
        """The earliest time at which a poll may succeed; unknown if one request's is."""
        hints = [one.hint for one in self.operations if one.active]
        return None if None in hints else min(hints)

    @property
    def soonest(self) -> float | None:  # type: ignore[override]
        """The earliest time at which a poll will succeed, among those known."""
        return min((one.hint for one in self.operations if one.active and one.hint is not None), default=None)

    @property
    def awaits_message(self) -> bool:  # type: ignore[override]
        return all(one.awaits_message for one in self.operations if one.active)

    def finish(self, indices: Sequence[int], statuses: list[MPI.Status] | None, one_by_one: bool = False) -> list[Any]:
        """Complete these requests and return their objects; raises if one has failed."""
        self.engine.idling = False
        _lengthen(statuses, len(indices))
        results: list[Any] = []
        wrong = None
        for place, index in enumerate(indices):
            one = self.operations[index]
            status = None if statuses is None else statuses[place]
            if not one.active:
                empty_status(status)
                results.append(None)
                continue
            results.append(one.finish(status))
            if one.error:
                wrong = one
        if wrong is not None:
            wrong.comm.raise_error(wrong.error if one_by_one or len(self.operations) == 1 else MPI.ERR_IN_STATUS)
        return results


def _wait_all(requests: Sequence[MPI.Request], statuses: list[MPI.Status] | None = None) -> list[Any]:
    with Batch(requests) as batch:
        for one in batch.operations:
            if one.active:
                batch.engine.wait(one)
        return batch.finish(range(len(batch.operations)), statuses)


def _test_all(
    requests: Sequence[MPI.Request], statuses: list[MPI.Status] | None = None
) -> tuple[bool, list[Any] | None]:
    with Batch(requests) as batch:
        batch.engine.progress()
        if not all(one.poll() for one in batch.operations if one.active):
            batch.idle()
            return False, None
        return True, batch.finish(range(len(batch.operations)), statuses)


def _any(requests: Sequence[MPI.Request], status: MPI.Status | None, wait: bool) -> tuple[int, bool, Any]:
    with Batch(requests) as batch:
        found = batch.some(wait)
        if found is None:
            empty_status(status)
            return MPI.UNDEFINED, True, None
        if not found:
            batch.idle()
            return MPI.UNDEFINED, False, None
        statuses = None if status is None else [status]
        return found[0], True, batch.finish(found[:1], statuses, one_by_one=True)[0]


def _some(
    requests: Sequence[MPI.Request], statuses: list[MPI.Status] | None, wait: bool
) -> tuple[list[int] | None, list[Any] | None]:
    with Batch(requests) as batch:
        found = batch.some(wait)
        if found is None:
            return None, None
        if not found:
            batch.idle()
        return found, batch.finish(found, statuses)


def _status_all(requests: Sequence[MPI.Request], statuses: list[MPI.Status] | None = None) -> bool:
    _lengthen(statuses, len(requests))
    return all(
        request.Get_status(None if statuses is None else statuses[place]) for place, request in enumerate(requests)
    )


def _status_some(requests: Sequence[MPI.Request], statuses: list[MPI.Status] | None = None) -> list[int] | None:
    active = [i for i, r in enumerate(requests) if (r.active if isinstance(r, EmulatedRequest) else bool(r))]
    found = [i for i in active if requests[i].Get_status()]
    _lengthen(statuses, len(found))
    for i, status in zip(found, statuses or (), strict=False):
        requests[i].Get_status(status)
    return found if active else None


def _status_any(requests: Sequence[MPI.Request], status: MPI.Status | None = None) -> tuple[int, bool]:
    found = _status_some(requests)
    if not found:
        empty_status(status)
        return MPI.UNDEFINED, found is None
    return found[0], requests[found[0]].Get_status(status)


def _lengthen(statuses: list[MPI.Status] | None, length: int) -> None:
    if statuses is not None:
        statuses.extend(MPI.Status() for _ in range(length - len(statuses)))


METHODS: dict[str, Callable[..., Any]] = {
    "Waitall": lambda requests, statuses=None: _wait_all(requests, statuses) is not None,
    "waitall": _wait_all,
    "Testall": lambda requests, statuses=None: _test_all(requests, statuses)[0],
    "testall": _test_all,
    "Waitany": lambda requests, status=None: _any(requests, status, wait=True)[0],
    "waitany": lambda requests, status=None: _any(requests, status, wait=True)[::2],
    "Testany": lambda requests, status=None: _any(requests, status, wait=False)[:2],
    "testany": lambda requests, status=None: _any(requests, status, wait=False),
    "Waitsome": lambda requests, statuses=None: _some(requests, statuses, wait=True)[0],
    "waitsome": lambda requests, statuses=None: _some(requests, statuses, wait=True),
    "Testsome": lambda requests, statuses=None: _some(requests, statuses, wait=False)[0],
    "testsome": lambda requests, statuses=None: _some(requests, statuses, wait=False),
    **dict.fromkeys(("Get_status_all", "get_status_all"), _status_all),
    **dict.fromkeys(("Get_status_any", "get_status_any"), _status_any),
    **dict.fromkeys(("Get_status_some", "get_status_some"), _status_some),
}


def _dispatcher(original: Any, ours: Callable[..., Any], emulated: type = EmulatedRequest) -> Any:
    @functools.wraps(original)
    def call(cls: type, requests: Sequence[MPI.Request], *rest: Any, **named: Any) -> Any:
        if any(isinstance(request, emulated) for request in requests):
            return ours(requests, *rest, **named)
        return original(requests, *rest, **named)

    return classmethod(call)


def _start_all(requests: Sequence[Any]) -> None:
    for request in requests:
        request.Start()


@functools.cache
def install() -> None:
    """Make MPI.Request's class methods handle emulated requests too, once per process."""
    methods: dict[str, Any] = {
        name: _dispatcher(getattr(MPI.Request, name), ours)
        for name, ours in METHODS.items()
        if hasattr(MPI.Request, name)
    }
    replace_methods(MPI.Request, methods)
    replace_methods(MPI.Prequest, {"Startall": _dispatcher(MPI.Prequest.Startall, _start_all, PersistentRequest)})
