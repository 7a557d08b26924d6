"""SWIM: members detect one another's failures, at a constant number of messages per member.

    every period, each member i picks one member j:
        i -- ping --> j -- ack --> i                          fine
        no ack in time:  i -- ping-req --> k others -- ping --> j -- ack --> them -- ack --> i
        still none at the end of the period:  i reports "j is suspect"
    j learns that it is suspect:  it raises its incarnation number and reports "j is alive"
    no such report within the suspicion time:  "j is dead", finally

Reports are piggybacked on pings and acks (each on about `repeats` lg n messages of each member, the least sent first),
so they cost no messages of their own. Which of two reports holds is decided without clocks:

    dead(j)              overrides everything
    suspect(j, i)        overrides alive(j, i') with i >= i', and suspect(j, i') with i > i'
    alive(j, i)          overrides alive and suspect(j, i') with i > i'    (only j itself raises i)

Targets are taken from a shuffled list, round robin: a dead member is pinged within 2 n - 1 periods, on average
within about e / (e - 1) = 1.6. Load: at most 2 + 4 * indirect messages per member and period, whatever n is.

This file is the protocol alone, without transport and without a clock of its own: `tick(now)` and `receive(message,
now)` return the messages to send, on any clock.

Sources: Das, Gupta and Motivala, "SWIM: scalable weakly-consistent infection-style process group membership protocol"
(DSN 2002); a ping that tells its target that it is suspected is from Dadgar, Phillips and Currey, "Lifeguard" (2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from emulator.errors import UsageError
from primitives.membership.messages import Event, Kind, Message, State, Update


@dataclass(frozen=True)
class Settings:
    """Times in seconds, and sizes of messages.

    Attributes
    ----------
    period_s : one probe per member and period
    ping_timeout_s : after which others are asked to ping; below the period, above a round trip. Absent: period / 3.
    indirect : how many others are asked
    suspicion_periods : from suspect to dead; absent: 2 lg n, at least 4, for a report takes about lg n periods to reach
        all members, and a suspicion must spread and be contradicted. More means fewer false alarms and later detection.
    repeats : a report is sent on repeats * ceil(lg(n + 1)) messages of each member that has it
    piggyback : most reports per message
    """

    period_s: float = 0.2
    ping_timeout_s: float | None = None
    indirect: int = 3
    suspicion_periods: float | None = None
    repeats: int = 3
    piggyback: int = 6

    def __post_init__(self) -> None:
        if not self.period_s > 0:
            raise UsageError(f"SWIM's period is above 0 s, got {self.period_s}")
        if self.ping_timeout_s is not None and not 0 < self.ping_timeout_s < self.period_s:
            raise UsageError(
                f"SWIM's ping timeout lies between 0 and the period of {self.period_s} s, got {self.ping_timeout_s}"
            )
        if self.indirect < 0 or self.piggyback < 1 or self.repeats < 1:
            raise UsageError(
                "SWIM needs indirect >= 0, repeats >= 1 and piggyback >= 1, got "
                f"{self.indirect}, {self.repeats} and {self.piggyback}"
            )

    @property
    def timeout(self) -> float:
        """Seconds without an answer until other members are asked to ping."""
        return self.period_s / 3 if self.ping_timeout_s is None else self.ping_timeout_s

    def suspicion(self, n: int) -> float:
        """Seconds from the suspicion of a member to its declaration as dead, in a group of n."""
        periods = max(4.0, 2 * math.log2(n)) if self.suspicion_periods is None else self.suspicion_periods
        return periods * self.period_s


@dataclass
class _Probe:
    """The probe of the current period."""

    target: int
    sequence: int
    asked_others: bool = False
    answered: bool = False


class Swim:
    """One member's side of the protocol.

    Parameters
    ----------
    me, members : numbers; `me` is one of `members`
    now : time at which the first period begins; give members different fractions of a period to spread the load

    Attributes
    ----------
    events : changes of known states, oldest first; the caller may clear it
    evicted : the group has declared this member dead: it must stop, even if it is alive
    failed_probes : periods that ended without an answer, direct or indirect
    """

    def __init__(
        self, me: int, members: Iterable[int], settings: Settings | None = None, *, seed: int = 0, now: float = 0.0
    ) -> None:
        self.settings = settings or Settings()
        self.me = me
        self.known = {m: Update(m, State.ALIVE, 0) for m in members}
        if me not in self.known:
            raise UsageError(f"member {me} is not in its own group {sorted(self.known)}")
        self.events: list[Event] = []
        self.evicted = False
        self._rng = np.random.default_rng((seed, me))
        self._limit = self.settings.repeats * len(self.known).bit_length()
        self._suspected_until: dict[int, float] = {}
        self._news: dict[int, tuple[Update, int]] = {}
        self._queue: list[int] = []
        self._relays: dict[int, tuple[int, int, float]] = {}
        self._probe: _Probe | None = None
        self._period_begin = now
        self._next_period = now
        self._sequence = 0
        self.failed_probes = 0

    # What the group knows.

    def state(self, member: int) -> State:
        """The known state of one member."""
        return self.known[member].state

    @property
    def alive(self) -> set[int]:
        """Members not declared dead; suspects count as alive."""
        return {m for m, update in self.known.items() if update.state is not State.DEAD}

    @property
    def dead(self) -> set[int]:
        """Members declared dead."""
        return set(self.known) - self.alive

    @property
    def incarnation(self) -> int:
        """Number of suspicions of itself that this member has refuted."""
        return self.known[self.me].incarnation

    @property
    def due(self) -> float:
        """The latest time for the next call of `tick`."""
        times = [self._next_period, *self._suspected_until.values()]
        if self._probe and not self._probe.asked_others and not self._probe.answered:
            times.append(self._period_begin + self.settings.timeout)
        return min(times)

    # What happens.

    def tick(self, now: float) -> list[Message]:
        """Do what is due by `now`; returns the messages to send."""
        if self.evicted:
            return []
        messages: list[Message] = []
        probe = self._probe
        late = now >= self._period_begin + self.settings.timeout
        if probe and late and not probe.answered and not probe.asked_others:
            probe.asked_others = True
            messages += self._ask_others(probe)
        if now >= self._next_period:
            if probe and not probe.answered:
                self.failed_probes += 1
                self._learn(Update(probe.target, State.SUSPECT, self.known[probe.target].incarnation), now)
            messages += self._begin_period(now)
        for member in [m for m, until in self._suspected_until.items() if now >= until]:
            self._learn(Update(member, State.DEAD, self.known[member].incarnation), now)
        return messages

    def receive(self, message: Message, now: float) -> list[Message]:
        """Process one message; returns the answers to send."""
        if self.evicted or message.source not in self.known:
            return []
        for update in message.updates:
            self._learn(update, now)
        if self.evicted:
            return []
        if message.kind is Kind.PING:
            return [self._message(Kind.ACK, message.source, message.sequence)]
        if message.kind is Kind.PING_REQ:
            self._sequence += 1
            self._relays[self._sequence] = (message.source, message.sequence, now + self.settings.period_s)
            return [self._message(Kind.PING, message.subject, self._sequence)]
        if self._probe and message.sequence == self._probe.sequence:
            self._probe.answered = True
        relay = self._relays.pop(message.sequence, None)
        return [self._message(Kind.ACK, relay[0], relay[1])] if relay else []

    def declare_dead(self, member: int, now: float) -> None:
        """Declare a member dead, from a source that is never wrong, such as the MPI runtime."""
        self._learn(Update(member, State.DEAD, self.known[member].incarnation), now)

    # How it is done.

    def _begin_period(self, now: float) -> list[Message]:
        # A member that was delayed (a long computation) skips the periods that it has missed.
        behind = now - self._next_period
        self._period_begin = now if behind > self.settings.period_s else self._next_period
        self._next_period = self._period_begin + self.settings.period_s
        self._relays = {s: relay for s, relay in self._relays.items() if relay[2] > now}
        target = self._next_target()
        if target is None:
            self._probe = None
            return []
        self._sequence += 1
        self._probe = _Probe(target, self._sequence)
        return [self._message(Kind.PING, target, self._sequence)]

    def _next_target(self) -> int | None:
        """The next member of a shuffled round; None if there is no other."""
        others = self.alive - {self.me}
        self._queue = [m for m in self._queue if m in others]
        if not self._queue:
            self._queue = [int(m) for m in self._rng.permutation(sorted(others))]
        return self._queue.pop() if self._queue else None

    def _ask_others(self, probe: _Probe) -> list[Message]:
        helpers = sorted(self.alive - {self.me, probe.target})
        chosen = self._rng.permutation(helpers)[: self.settings.indirect]
        return [self._message(Kind.PING_REQ, int(h), probe.sequence, probe.target) for h in chosen]

    def _learn(self, update: Update, now: float) -> None:
        known = self.known.get(update.member)
        if known is None or not update.overrides(known):
            if update.member == self.me and update.state is State.SUSPECT:
                self._news[self.me] = (self.known[self.me], 0)  # a member has missed the contradiction: report it again
            return
        if update.member == self.me:
            self.evicted = update.state is State.DEAD
            if update.state is State.SUSPECT:
                update = Update(self.me, State.ALIVE, update.incarnation + 1)
        self.known[update.member] = update
        self._news[update.member] = (update, 0)
        if update.state is not known.state:
            self.events.append(Event(now, update.member, update.state))
        if update.state is State.SUSPECT:
            self._suspected_until.setdefault(update.member, now + self.settings.suspicion(len(self.known)))
        else:
            self._suspected_until.pop(update.member, None)

    def _message(self, kind: Kind, destination: int, sequence: int, subject: int = -1) -> Message:
        return Message(kind, self.me, destination, sequence, subject, self._pick_news(destination))

    def _pick_news(self, destination: int) -> tuple[Update, ...]:
        """Choose the reports sent least often, first the one about the receiver, which may refute it or must stop."""
        chosen: list[Update] = []
        about = self.known.get(destination)
        if about is not None and about.state is not State.ALIVE:
            chosen.append(about)
        fresh = sorted((m for m in self._news if m != destination or not chosen), key=lambda m: self._news[m][1])
        for member in fresh[: self.settings.piggyback - len(chosen)]:
            update, told = self._news[member]
            chosen.append(update)
            if told + 1 < self._limit:
                self._news[member] = (update, told + 1)
            else:
                del self._news[member]
        return tuple(chosen)
