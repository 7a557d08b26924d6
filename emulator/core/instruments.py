"""Observers of a communicator: its phases, its messages, its faults. Several can listen at once."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from enum import IntEnum
from typing import Any

NO_PEER = -1


class Wait(IntEnum):
    """Why a rank waits, if not for the completion of a receive."""

    SEND = 1  # the last byte of its message must leave its card
    MATCH = 2  # the receiver must match its synchronous message
    PROBE = 3  # a message that it looks for must arrive
    ALIGN = 4  # all ranks set their clocks to the latest
    POLL = 5  # it tests for something again and again, or until an instant
    COLLECTIVE = 6  # it is inside a collective operation of MPI itself


class Instrument:
    """An observer of what a communicator does; override the methods of interest.

    Times are seconds on the clock of the communicator (`emulator.carrier.Carrier.now`). Phases and faults are
    reported on every carrier, messages and waits only on carriers that see them: emulated and simulated ones, and MPI
    itself behind `emulator.trace.traced_mpi`, which knows no card and gives NaN for `first`. Messages are those of all
    communicators of the emulated cluster, their ranks those of the communicator that was emulated. `token` and `source`
    together name a message: sender and receiver report the same.
    """

    def phase(self, name: str, **info: object) -> None:
        """Called when an algorithm enters a named phase.

        `info` may hold `step`, the number of its step, and `recovery`: until the next phase the rank recovers from a
        death, and does none of the program's work.
        """

    def sent(
        self, source: int, destination: int, tag: int, size: int, start: float, end: float, asked: float, first: float,
        queued: float, token: int,
    ) -> None:  # fmt: skip
        """Called when this rank sends a message of `size` bytes, which uses its card from `start` to `end`.

        The program asked for it at `asked`. The first byte is at the receiver's card at `first`, after `queued`
        seconds of waiting at links that hosts share.
        """

    def arrived(self, source: int, destination: int, tag: int, size: int, first: float) -> None:
        """Called when a message is delivered to this rank; its first byte is at the receiver's card at `first`."""

    def completed(
        self, source: int, destination: int, tag: int, size: int, waited: float, due: float, first: float,
        service: float, token: int,
    ) -> None:  # fmt: skip
        """Called when a receive completes, for which this rank waited since `waited`; its last byte was there at `due`.

        The first byte was at the receiver's card at `first`, which the message occupied for the last `service` seconds.
        """

    def waited(self, why: Wait, since: float, until: float, peer: int, token: int) -> None:
        """Called when this rank has waited from `since` to `until` for another reason than a receive.

        `peer` is the rank that it waited for, or NO_PEER, and `token` names the message, if any.
        """

    def fault(self, kind: str, **info: object) -> None:
        """Called when a fault has happened to this rank, or has become known to it."""


class Instruments(MutableSequence[Instrument]):
    """The observers of a communicator. An event reaches only those that override its method.

    Attributes
    ----------
    phase, sent, arrived, completed, waited, fault : the methods to call at each event
    """

    phase: tuple[Callable[..., None], ...] = ()
    sent: tuple[Callable[..., None], ...] = ()
    arrived: tuple[Callable[..., None], ...] = ()
    completed: tuple[Callable[..., None], ...] = ()
    waited: tuple[Callable[..., None], ...] = ()
    fault: tuple[Callable[..., None], ...] = ()

    def __init__(self) -> None:
        self._all: list[Instrument] = []

    def _find_hearers(self) -> None:
        for event in ("phase", "sent", "arrived", "completed", "waited", "fault"):
            ignored = getattr(Instrument, event)
            found = (getattr(one, event) for one in self._all if getattr(type(one), event) is not ignored)
            setattr(self, event, tuple(found))

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: Any) -> Any:
        return self._all[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._all[index] = value
        self._find_hearers()

    def __delitem__(self, index: Any) -> None:
        del self._all[index]
        self._find_hearers()

    def insert(self, index: int, value: Instrument) -> None:
        self._all.insert(index, value)
        self._find_hearers()
