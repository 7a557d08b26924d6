"""Interfaces of what a rank waits for: operations, transfers of payloads, synchronous sends."""

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
