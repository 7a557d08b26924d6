"""Collective calls of simulated ranks, and the requests of nonblocking ones."""

from __future__ import annotations

from typing import Any, ClassVar

from mpi4py import MPI

from emulator.core.operations import Operation


class JointCall(Operation):
    """A collective call, complete once every rank that must enter it has.

    Attributes
    ----------
    purpose : for what the missing ranks are awaited, in words
    result : what it gives all that have entered
    error : the MPI error that it ends with, 0 for none
    """

    purpose: ClassVar[str]
    result: Any = None
    error = 0
    complete = False

    @property
    def missing(self) -> list[int]:
        """Engine ranks that must still enter."""
        raise NotImplementedError

    def poll(self) -> bool:
        return self.complete


class JointRequest:
    """The request of a nonblocking collective call; a test that finds it incomplete lets simulated time pass."""

    def __init__(self, engine: Any, call: JointCall) -> None:
        self._engine, self._call = engine, call

    def Test(self, status: Any = None) -> bool:
        if not self._call.poll():
            self._engine.idle(self._call)
        return self._end() if self._call.poll() else False

    def Wait(self, status: Any = None) -> bool:
        self._engine.wait(self._call)
        return self._end()

    def _end(self) -> bool:
        if self._call.error:
            raise MPI.Exception(self._call.error)
        return True
