"""What a rank waits for: operations, transfers of payloads, synchronous sends, the handshake of a rendezvous."""

from __future__ import annotations

from typing import Protocol

from emulator.core.message import ANY_SOURCE


class Transfer(Protocol):
    """A payload's transfer under way, such as a request of MPI."""

    def Test(self) -> bool:
        """Whether it is complete: the buffer is free, or filled."""


class Synchronous(Protocol):
    """A synchronous send, complete only when its receiver has matched it."""

    def acknowledged(self, time: float) -> None:
        """Note that it was matched; `time` is when the sender learns of it."""


class Handshake:
    """A message that waits for its receive (rendezvous), and the send that is told when it was matched.

    Attributes
    ----------
    end : emulated time at which its last byte leaves the sender's card; None until it was matched
    payload : the physical transfer of its bytes, if any
    """

    def __init__(self, sync: Synchronous | None) -> None:
        self.end: float | None = None
        self.payload: Transfer | None = None
        self._sync = sync

    def acknowledged(self, time: float) -> None:
        self.end = time
        if self._sync is not None:
            self._sync.acknowledged(time)

    def Test(self) -> bool:
        return self.end is not None and (self.payload is None or self.payload.Test())


class Operation:
    """An operation for which a rank can wait.

    Attributes
    ----------
    hint : emulated time before which another poll cannot succeed; None when that is unknown
    soonest : emulated time at which a poll will succeed if none has before; None when that is unknown
    source : rank of the engine that must send something, or ANY_SOURCE
    awaits_message : only a message that has not come yet can complete it; no payload is on its way already
    """

    __slots__ = ()

    hint: float | None = None
    soonest: float | None = None
    source: int = ANY_SOURCE
    awaits_message: bool = False

    def poll(self) -> bool:
        """Whether it is complete, if paced also in emulated time."""
        raise NotImplementedError
