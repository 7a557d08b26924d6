"""Pending sends and receives, and when they are complete."""

from __future__ import annotations

from typing import Any, Self

from mpi4py import MPI

from emulator.comm.buffers import Incoming
from emulator.comm.requests import EmulatedRequest, describe, empty_status
from emulator.core.instruments import Wait
from emulator.core.message import ANY_SOURCE, FOLLOWS, Arrival
from emulator.core.operations import Handshake, Transfer


class SendRequest(EmulatedRequest):
    """A pending send: complete when its last byte has left the network card.

    Attributes
    ----------
    destination : the receiver, a rank of the engine
    end : emulated time at which the last byte has left
    why : what the rank waits for until then
    """

    __slots__ = ("active", "comm", "destination", "end")

    destination: int
    end: float
    why: Wait

    def poll(self) -> bool:
        pacer = self.engine.pacer
        return not pacer.pace or self.end <= self.engine.clock.t or self.end <= pacer.emulated()

    def fill(self, status: MPI.Status | None) -> None:
        empty_status(status)
        if status is not None:
            status.error = self.error

    def time(self) -> float:
        return self.end

    def finish(self, status: MPI.Status | None = None) -> None:
        engine = self.engine
        if self.end > engine.clock.t:
            engine.wait_until(self.end, self.why, self.destination)
        self.active = False
        if status is not None:
            self.fill(status)


class EagerSend(SendRequest):
    """A standard send whose payload has been copied: only the time of its end is still needed."""

    __slots__ = ()

    error = 0
    awaits_message = True
    why = Wait.SEND

    def begin(self, comm: Any, destination: int, end: float) -> Self:
        """Set the attributes; the compiled class takes no arguments, and a Python method costs time."""
        self.comm, self.destination, self.end = comm, destination, end
        self.active = True
        return self

    @property
    def engine(self) -> Any:  # type: ignore[override]
        return self.comm.engine

    @property
    def hint(self) -> float | None:  # type: ignore[override]
        return self.end

    def Wait(self, status: MPI.Status | None = None) -> bool:  # type: ignore[override]
        engine = self.comm.engine
        if self.end > engine.clock.t or status is not None or engine.clock.measured or not self.active:
            return super().Wait(status)
        engine.idling = self.active = False
        return True


class PendingSend(SendRequest):
    """A send that is not complete with its last byte: it waits for its match, or a transfer still reads its payload.

    Attributes
    ----------
    payload : bytes that must not change until it is complete
    transfer : what `Engine.send` returned; `end` is later if the receiver's acknowledgement is
    """

    __slots__ = ("engine", "error", "hint", "payload", "transfer", "unmatched", "why")

    def begin(self, comm: Any, destination: int, payload: Any, sync: bool) -> Self:
        """Set the attributes; see `EagerSend.begin`."""
        self.comm, self.engine = comm, comm.engine
        self.destination, self.payload, self.unmatched = destination, payload, sync
        self.active, self.error = True, 0
        self.hint = None
        self.end = 0.0
        self.transfer: Transfer | None = None
        self.why = Wait.SEND
        return self

    def __del__(self) -> None:
        """Keep the payload of an unfinished send that the program has dropped, because its transfer continues."""
        try:
            transfer = self.transfer
        except AttributeError:  # Ctrl-C has come while it was being made
            return
        if transfer is not None:
            self.engine.keep(transfer, self.payload)

    def acknowledged(self, time: float) -> None:
        """Note that the receiver has matched this synchronous send; the acknowledgement arrives at `time`."""
        self.unmatched = False
        if time > self.end:
            self.end, self.why = time, Wait.MATCH

    def poll(self) -> bool:
        if self.unmatched:
            self.hint = None
            self.error = self.comm.failure(self.destination, blocking=True)
            return self.error != 0
        if self.transfer is not None and not self.transfer.Test():
            self.hint = None
            # A transfer runs on the wire, which is not revoked: the receiver may never receive it.
            self.error = self.comm.failure(self.destination, blocking=True)
            return self.error != 0
        if isinstance(self.transfer, Handshake):
            self.end, self.why = max(self.end, self.transfer.end or 0.0), Wait.MATCH
        self.transfer = self.payload = None
        self.hint = self.end
        return super().poll()

    @property
    def awaits_message(self) -> bool:  # type: ignore[override]
        return self.transfer is None


class ReceiveRequest(EmulatedRequest):
    """A pending receive: complete when the message's last byte has passed the receiver's card.

    Attributes
    ----------
    source, tag : the source (a rank of the engine) and the tag that it accepts
    turn : its place among the posted receives
    message : what it was matched with
    """

    __slots__ = (
        "active", "cancelled", "comm", "data", "engine", "error", "held", "hint", "into", "message", "posted",
        "source", "tag", "transfer", "turn",
    )  # fmt: skip

    def begin(self, comm: Any, source: int, tag: int, into: Incoming | None) -> Self:
        """Set the attributes; see `EagerSend.begin`."""
        self.comm, self.engine = comm, comm.engine
        self.source, self.tag, self.into = source, tag, into
        self.active, self.error = True, 0
        self.hint = None
        self.turn = 0
        self.message: Arrival | None = None
        self.data: Any = None
        self.transfer: Transfer | None = None
        self.posted = self.engine.clock.t
        self.held = self.cancelled = False
        return self

    def take(self, message: Arrival) -> memoryview | None:
        """Take a matched message: copy its payload into the user's buffer, or keep it for a lower-case receive.

        Returns the memory to receive the payload into, if it is sent separately.
        """
        self.message = message
        into, size = self.into, message.size
        fits = into is not None and size <= into.room
        if into is not None and not fits:
            self.error = MPI.ERR_TRUNCATE
        if message.flags & FOLLOWS:
            if into is None or not fits:
                self.data = memoryview(bytearray(size))
            else:
                self.data = into.view if size == into.room else into.view[:size]
            return self.data
        data: Any = message.data
        message.data = None
        if into is None:
            self.data = bytes(data)
        elif fits and size:
            into.view[:size] = data
        return None

    def poll(self) -> bool:
        message = self.message
        engine = self.engine
        if message is None:
            return self._unmatched()
        if self.transfer is not None:
            if not self.transfer.Test():
                self.hint = None
                return False
            self.transfer = None
        pacer = engine.pacer
        if not pacer.pace:
            return True
        now = pacer.emulated()
        if message.due is None and message.first > now:
            self.hint, self.held = message.first, True
            if message.port.whole:
                self.hint += message.service
            return False
        due = message.port.serve(message) if message.due is None else message.due
        if due > now and due > engine.clock.t:
            self.hint, self.held = due, True
            return False
        return True

    @property
    def awaits_message(self) -> bool:  # type: ignore[override]
        return self.transfer is None

    def _unmatched(self) -> bool:
        if self.cancelled:
            return True
        self.error = self.comm.failure(self.source, blocking=False)
        if self.error:
            self.engine.matchers[self.comm.context].withdraw(self)
            return True
        self.hint = self.engine.matchers[self.comm.context].next_time() if self.source == ANY_SOURCE else None
        return False

    def time(self) -> float:
        message = self.message
        if message is None:
            return self.engine.clock.t
        return message.port.serve(message) if message.due is None else message.due

    def finish(self, status: MPI.Status | None = None) -> Any:
        self.active = False
        message = self.message
        if message is None:
            if status is not None:
                self.fill(status)
            return None
        self.engine.complete(message, self.held)
        into = self.into
        if into is not None and into.packed is not None and not self.error:
            into.finish(message.size)
        if status is not None:
            self.fill(status)
        return None

    def fill(self, status: MPI.Status | None) -> None:
        if status is None:
            return
        message = self.message
        if message is None:
            empty_status(status)
            status.Set_cancelled(self.cancelled)
            return
        size = message.size if self.into is None else min(message.size, self.into.room)
        describe(status, self.comm.rank_of(message.source), message.tag, size, self.error)

    def Cancel(self) -> None:
        if self.active and self.message is None:
            self.cancelled = self.engine.matchers[self.comm.context].withdraw(self)


class ObjectReceive(ReceiveRequest):
    """A lower-case receive: takes a message of any size and unpickles it."""

    __slots__ = ()

    def finish(self, status: MPI.Status | None = None) -> Any:
        super().finish(status)
        return None if self.message is None else MPI.pickle.loads(self.data)
