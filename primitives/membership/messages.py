"""Messages between members of a SWIM group, and the reports of members' states that they carry.

Which of two reports of a member holds is decided by `Update.overrides`, without clocks; the rule is in `swim`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.IntEnum):
    """The state of a member as the group knows it."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2


class Kind(enum.IntEnum):
    """Kinds of messages."""

    PING = 0
    ACK = 1
    PING_REQ = 2


@dataclass(frozen=True)
class Update:
    """A report of a member's state."""

    member: int
    state: State
    incarnation: int

    def overrides(self, known: Update) -> bool:
        """Whether this report replaces what is known of the same member."""
        if known.state is State.DEAD or self.state is State.DEAD:
            return known.state is not State.DEAD
        if self.state is State.SUSPECT and known.state is State.ALIVE:
            return self.incarnation >= known.incarnation
        return self.incarnation > known.incarnation


@dataclass(frozen=True)
class Message:
    """A datagram; `subject` is the member that a PING_REQ wants pinged, `sequence` is repeated in the ACK."""

    kind: Kind
    source: int
    destination: int
    sequence: int
    subject: int = -1
    updates: tuple[Update, ...] = ()


@dataclass(frozen=True)
class Event:
    """A change of a member's known state, with its time on the caller's clock."""

    time: float
    member: int
    state: State
