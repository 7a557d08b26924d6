"""Requests of a communicator of survivors: they note whom they wait for, and name senders by survivors' ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

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

    def rank_of(self, origin: int) -> int:
        """The survivors' rank of a rank of the engine."""
        return self._comm.rank_of_member(self._parent.rank_of(origin))


class RenamingRequest(MPI.Request):
    """A receive whose status names the sender by the survivors' rank."""

    def __new__(cls, request: MPI.Request, comm: SurvivorMessages) -> RenamingRequest:
        return super().__new__(cls, request)

    def __init__(self, request: MPI.Request, comm: SurvivorMessages) -> None:
        self._comm = comm

    def Wait(self, status: MPI.Status | None = None) -> Any:
        done = super().Wait(status)
        self._comm.rename(status)
        return done

    def wait(self, status: MPI.Status | None = None) -> Any:
        found = super().wait(status)
        self._comm.rename(status)
        return found

    def Test(self, status: MPI.Status | None = None) -> bool:
        done = super().Test(status)
        self._comm.rename(status if done else None)
        return done

    def test(self, status: MPI.Status | None = None) -> tuple[bool, Any]:
        found = super().test(status)
        self._comm.rename(status if found[0] else None)
        return found
