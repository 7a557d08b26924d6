"""SWIM over MPI: the protocol of `swim` on the messages of `primitives.mailbox`, with a given clock.

    detector = Detector(comm)
    while training:
        step()
        for event in detector.poll():          # costs some microseconds; at least once per ping timeout
            print(event.member, event.state.name)
    detector.close()

A rank answers pings only while it polls: a computation longer than the suspicion time makes it look dead. Poll inside
it, or set the period from the longest step.

An error of MPI ("that process has died") is certain: the member is declared dead at once and the others are told.
Messages are 6 + 3 * piggyback int64, 192 bytes by default.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator import carrier
from emulator.errors import UsageError
from primitives.mailbox import Mailbox
from primitives.membership.messages import Event, Kind, Message, State, Update
from primitives.membership.swim import Settings, Swim
from primitives.peers import Peers

_TAG = 661
_HEADER = 6


def encode(message: Message, piggyback: int) -> NDArray[np.int64]:
    """Encode a message as 6 + 3 * piggyback integers."""
    wire = np.zeros(_HEADER + 3 * piggyback, np.int64)
    wire[:_HEADER] = (
        message.kind, message.source, message.destination, message.sequence, message.subject, len(message.updates)
    )  # fmt: skip
    for k, update in enumerate(message.updates):
        wire[_HEADER + 3 * k : _HEADER + 3 * k + 3] = (update.member, update.state, update.incarnation)
    return wire


def decode(wire: NDArray[np.int64]) -> Message:
    """Decode a message."""
    kind, source, destination, sequence, subject, count = (int(v) for v in wire[:_HEADER])
    rows = wire[_HEADER : _HEADER + 3 * count].reshape(-1, 3).tolist()
    updates = tuple(Update(m, State(s), i) for m, s, i in rows)
    return Message(Kind(kind), source, destination, sequence, subject, updates)


class Detector:
    """A failure detector among the members of a communicator.

    Parameters
    ----------
    comm : bare or emulated communicator, best a duplicate of its own
    members : ranks that take part; absent: all. Events name ranks.
    settings : times on `clock`. Set the period to several times the longest gap between polls.
    clock : seconds; absent: the communicator's, emulated or the wall's

    Attributes
    ----------
    swim : the protocol and the states that it knows, by position in the members' table

    Raises
    ------
    UsageError
        Emulated time without pacing, and no other clock.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        members: list[int] | None = None,
        settings: Settings | None = None,
        *,
        seed: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if clock is None and carrier.of(comm).ordered:
            raise UsageError(
                "a failure detector needs time that passes while it waits, emulated time without pacing does not: "
                "give --pace auto or a factor"
            )
        self.clock = clock or carrier.of(comm).now
        self.peers = Peers(comm, members, on_failure=self._refused)
        used = settings or Settings()
        phase = used.period_s * self.peers.rank / self.peers.size
        others = [i for i in range(self.peers.size) if i != self.peers.rank]
        self.swim = Swim(self.peers.rank, range(self.peers.size), used, seed=seed, now=self.clock() + phase)
        self._box = Mailbox(self.peers, others, np.int64, _TAG)
        self._piggyback = used.piggyback

    def _refused(self, rank: int, error: MPI.Exception) -> None:
        self.swim.declare_dead(self.peers.members.index(rank), self.clock())

    def poll(self) -> list[Event]:
        """Receive and answer messages, and do what is due; returns the changes since the last call."""
        answers: list[Message] = []
        for _, wire in self._box.poll():
            answers += self.swim.receive(decode(wire), self.clock())
        answers += self.swim.tick(self.clock())
        for message in answers:
            self._box.send(message.destination, encode(message, self._piggyback))
        events = [Event(e.time, self.peers.members[e.member], e.state) for e in self.swim.events]
        self.swim.events.clear()
        return events

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> list[Event]:
        """Poll, asleep in between, for some seconds on the clock or until a condition holds."""
        events: list[Event] = []
        end = self.clock() + seconds

        def over() -> bool:
            events.extend(self.poll())
            return self.clock() >= end or until()

        # The detector's own timers run out without a message, and `until` may come true without one.
        most = self.swim.settings.timeout
        least = most / 10
        while True:
            now = self.clock()
            wait = max(least, min(most, self.swim.due - now, end - now))
            if self.peers.carrier.wait_until(over, self.peers.carrier.now() + wait, longest_s=least):
                return events

    @property
    def alive(self) -> set[int]:
        """Ranks not declared dead."""
        return {self.peers.members[i] for i in self.swim.alive}

    @property
    def dead(self) -> set[int]:
        """Ranks declared dead."""
        return {self.peers.members[i] for i in self.swim.dead}

    @property
    def evicted(self) -> bool:
        """Whether the others have declared this rank dead, so that it must stop."""
        return self.swim.evicted

    def close(self) -> None:
        """Complete the sends. Ranks should close together, because the others declare a silent rank dead."""
        self._box.flush()
