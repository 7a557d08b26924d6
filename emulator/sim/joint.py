"""Calls in which simulated ranks wait for each other, and the requests of those that a rank need not wait in."""

from __future__ import annotations

from typing import Any, ClassVar

from mpi4py import MPI

from emulator.core.operations import Operation


class JointCall(Operation):
    """A call that ends when all have entered it that must.

    Attributes
    ----------
    purpose : what the others are waited for to do, in words
    result : what it gives all that have entered
    error : the MPI error that it ends with, 0 for none
    """

    purpose: ClassVar[str]
    result: Any = None
    error = 0
    complete = False

    @property
    def missing(self) -> list[int]:
        """Ranks of the engine that have not entered."""
        raise NotImplementedError

    def poll(self) -> bool:
        return self.complete


class JointRequest:
    """The request of a call that a rank does not wait in; a test that finds it open lets simulated time pass."""

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
