"""Requests of a communicator of survivors: they note whom they wait for, and name senders by survivors' ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.trace.traced_requests import Operation, TracedPrequest, TracedRequest, install
from faults.record.status_board import NO_RANK

if TYPE_CHECKING:
    from faults.recover.survivors.messages import SurvivorMessages

Note = Callable[[int], None]


class NotedRequest(MPI.Prequest):
    """A persistent request that notes which rank it waits for."""

    def __new__(cls, request: MPI.Prequest, peer: int, note: Note) -> NotedRequest:
        return super().__new__(cls, request)

    def __init__(self, request: MPI.Prequest, peer: int, note: Note) -> None:
        self._peer, self._note = peer, note

    def Wait(self, status: MPI.Status | None = None) -> Any:
        self._note(self._peer)
        super().Wait(status)
        self._note(NO_RANK)
        return True


class RenamingParent:
    """The parent of emulated requests, which translates to the survivors' ranks."""

    def __init__(self, parent: Any, comm: SurvivorMessages) -> None:
        self._parent, self._comm = parent, comm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parent, name)

    def _receive_from(self, *arguments: Any) -> Any:
        """Begin a persistent receive once more."""
        request = self._parent._receive_from(*arguments)
        request.comm = self
        return request

    def rank_of(self, origin: int) -> int:
        """The survivors' rank of a rank of the engine."""
        return self._comm.rank_of_member(self._parent.rank_of(origin))


class Renaming(Operation):
    """A receive of MPI whose status names the sender by the survivors' rank, after the parent's `told` has seen it."""

    def __init__(self, survivors: SurvivorMessages, told: Operation) -> None:
        self._survivors, self._told = survivors, told

    def begins(self, comm: Any, since: float) -> None:
        self._told.begins(comm, since)

    def done(self, comm: Any, status: MPI.Status, since: float) -> None:
        self._told.done(comm, status, since)
        self._survivors.rename(status)

    def cancelled(self, comm: Any) -> None:
        self._told.cancelled(comm)


class _Noting(Operation):
    """A receive that notes which of the parent's ranks it waits for."""

    def __init__(self, peer: int, note: Note) -> None:
        self._peer, self._note = peer, note

    def begins(self, comm: Any, since: float) -> None:
        self._note(self._peer)

    def done(self, comm: Any, status: MPI.Status, since: float) -> None:
        self._note(NO_RANK)

    def cancelled(self, comm: Any) -> None:
        self._note(NO_RANK)


def renamed(request: Any, survivors: SurvivorMessages, peer: int) -> MPI.Request:
    """Make a receive from the parent's rank `peer` complete with a status in the survivors' ranks."""
    if type(request) is MPI.Request:
        install()
        return TracedRequest(request, survivors, Renaming(survivors, Operation()))
    if type(request) is MPI.Prequest:
        install()
        return TracedPrequest(request, survivors, lambda: Renaming(survivors, _Noting(peer, survivors.note)))
    if isinstance(request, TracedRequest):
        assert request.operation is not None
        request.operation = Renaming(survivors, request.operation)
    elif isinstance(request, TracedPrequest):
        begin = request.begin
        request.begin = lambda: Renaming(survivors, begin())
    else:  # an emulated one asks its communicator for the sender's rank
        request.comm = RenamingParent(request.comm, survivors)
    return request
