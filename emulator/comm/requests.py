"""The base class of an emulated communicator's requests; those that move messages are in `emulator.comm.send_receive`.

They are MPI.Request objects, so an unchanged program keeps them in lists and hands them to
``MPI.Request.Waitall``; `emulator.comm.completion` makes those class methods understand them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from emulator.comm.refused import NoHandle
from emulator.core.operations import Operation

if TYPE_CHECKING:
    from emulator.core.engine import Engine

_BYTE = MPI.BYTE


def empty_status(status: MPI.Status | None) -> None:
    """Fill `status` with what MPI returns for an operation that received nothing."""
    if status is not None:
        status.source, status.tag, status.error = MPI.ANY_SOURCE, MPI.ANY_TAG, MPI.SUCCESS
        status.Set_elements(_BYTE, 0)
        status.Set_cancelled(False)


def describe(status: MPI.Status, source: int, tag: int, size: int, error: int = MPI.SUCCESS) -> None:
    """Fill `status` as MPI does for a receive of `size` bytes from rank `source`."""
    status.source, status.tag, status.error = source, tag, error
    status.Set_elements(_BYTE, size)
    status.Set_cancelled(False)


class EmulatedRequest(NoHandle, Operation, MPI.Request):
    """Base class of emulated requests.

    Attributes
    ----------
    active : not completed yet; an inactive request is what MPI calls a null (or inactive persistent) request
    error : MPI error code, MPI.SUCCESS as long as nothing went wrong
    """

    __slots__ = ()

    active: bool
    error: int
    engine: Engine
    comm: Any

    def time(self) -> float:
        """The emulated time (s) at which the operation is complete; call it after a successful poll."""
        raise NotImplementedError

    def finish(self, status: MPI.Status | None = None) -> Any:
        """Complete the request: advance the clock, fill `status`, return the received object, if any."""
        raise NotImplementedError

    def check(self, status: MPI.Status | None = None) -> None:
        """Raise the request's error, if it has one, through the communicator's error handler."""
        if self.error:
            if status is not None:
                status.error = self.error
            self.comm.raise_error(self.error)

    def __eq__(self, other: object) -> bool:
        return self is other or (other == MPI.REQUEST_NULL if not self.active and type(other) is MPI.Request else False)

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return self.active

    # mpi4py's methods.

    def Wait(self, status: MPI.Status | None = None) -> bool:  # type: ignore[override]
        engine = self.engine
        if status is not None or not self.active or engine.clock.measured:
            self.wait(status)
            return True
        engine.wait(self)
        engine.idling = False
        self.finish()
        if self.error:
            self.check()
        return True

    def Test(self, status: MPI.Status | None = None) -> bool:
        return self.test(status)[0]

    def wait(self, status: MPI.Status | None = None) -> Any:
        """Wait, and return the received object of a lower-case receive."""
        if not self.active:
            empty_status(status)
            return None
        engine = self.engine
        clock = engine.clock
        if clock.measured:
            clock.enter()
        engine.wait(self)
        engine.idling = False
        result = self.finish(status)
        if clock.measured:
            clock.leave()
        if self.error:
            self.check(status)
        return result

    def test(self, status: MPI.Status | None = None) -> tuple[bool, Any]:
        """Test, and return the received object of a lower-case receive as well."""
        if not self.active:
            empty_status(status)
            return True, None
        engine = self.engine
        clock = engine.clock
        if clock.measured:
            clock.enter()
        engine.progress()
        result = None
        if done := self.poll():
            engine.idling = False
            result = self.finish(status)
        else:
            engine.idle(self)
        if clock.measured:
            clock.leave()
        if done:
            self.check(status)
        return done, result

    def Get_status(self, status: MPI.Status | None = None) -> bool:
        self.engine.progress()
        if self.active and not self.poll():
            self.engine.idle(self)
            return False
        self.fill(status)
        return True

    get_status = Get_status

    def fill(self, status: MPI.Status | None) -> None:
        """Write the outcome into `status`."""
        empty_status(status)

    def Cancel(self) -> None:
        """Cancel the operation if that is still possible; like MPI, a send never is."""

    def cancel(self) -> None:
        self.Cancel()

    def Free(self) -> None:
        """Free the request; the operation goes on."""
        self.active = False

    def free(self) -> None:
        self.Free()
