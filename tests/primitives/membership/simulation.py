"""A SWIM group in virtual time: detection times and false alarms.

The members are those of `swim`; messages take a delay and may be lost, and nothing is random but the seed. What the
simulation counts can be set beside the paper's formulas:

    P(a living member fails its probe) = (1 - q^2) (1 - q^4)^indirect        q: share of messages delivered
    periods until the first ping meets a dead member = 1 / (1 - (1 - 1/(n-1))^(n-1)), about e / (e - 1) for large n
    (members whose periods begin at different times: about 1 until the ping and 1 until its period ends)

Source: Das, Gupta and Motivala (DSN 2002), sections 3 and 5.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from primitives.membership.messages import Message, State
from primitives.membership.swim import Settings, Swim


@dataclass
class Figures:
    """Counts of one simulation; times in periods after the death.

    Attributes
    ----------
    suspected, declared, known_to_all
        When the first survivor suspected the dead member, when the first declared it dead, and when all had.
        NaN if it has not happened, or nobody died.
    failed_probes, false_deaths
        Probes that found nobody (of living members, if nobody died), and beliefs that a living member is dead.
    probes
        Periods times living members.
    messages
        Sent by living members.
    """

    suspected: float = float("nan")
    declared: float = float("nan")
    known_to_all: float = float("nan")
    failed_probes: int = 0
    false_deaths: int = 0
    probes: int = 0
    messages: int = 0


@dataclass
class Group:
    """n members on a fake network.

    Parameters
    ----------
    n
        Number of members.
    loss
        Share of messages lost.
    delay_s
        Time that each message takes; absent: a hundredth of a period.
    """

    n: int
    settings: Settings = field(default_factory=Settings)
    loss: float = 0.0
    delay_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng((self.seed, self.n))
        phases = self._rng.uniform(0, self.settings.period_s, self.n)
        self.members = [
            Swim(i, range(self.n), self.settings, seed=self.seed, now=float(phases[i])) for i in range(self.n)
        ]
        self.gone: set[int] = set()
        self.now = 0.0
        self.messages = 0
        self._agenda: list[tuple[float, int, Message]] = []
        self._counter = 0

    def kill(self, member: int) -> None:
        """Let a member fall silent; what it has sent is still delivered."""
        self.gone.add(member)

    def revive(self, member: int) -> None:
        """Wake a member that was only stopped."""
        self.gone.discard(member)

    def run_until(self, end: float) -> None:
        """Let virtual time pass."""
        while True:
            acting = [m for m in self.members if m.me not in self.gone and not m.evicted]
            tick = min((m.due for m in acting), default=end)
            arrival = self._agenda[0][0] if self._agenda else end
            step = max(self.now, min(tick, arrival))
            if step >= end:
                self.now = end
                return
            self.now = step
            if arrival <= tick:
                _, _, message = heapq.heappop(self._agenda)
                if message.destination not in self.gone:
                    self._send(self.members[message.destination].receive(message, self.now))
            else:
                for member in acting:
                    if member.due <= self.now:
                        self._send(member.tick(self.now))

    def _send(self, messages: list[Message]) -> None:
        delay = self.settings.period_s / 100 if self.delay_s is None else self.delay_s
        self.messages += len(messages)
        for message in messages:
            if self._rng.random() >= self.loss:
                self._counter += 1
                heapq.heappush(self._agenda, (self.now + delay, self._counter, message))


def simulate(
    n: int,
    *,
    settings: Settings | None = None,
    loss: float = 0.0,
    periods: float = 50,
    victims: Collection[int] = (),
    seed: int = 0,
) -> Figures:
    """Run a group of n for some periods; `victims` die at a random instant of the tenth period."""
    used = settings or Settings()
    group = Group(n, used, loss, seed=seed)
    death = (10 + float(np.random.default_rng((seed, n, 1)).random())) * used.period_s
    if victims:
        group.run_until(death)
        for victim in victims:
            group.kill(victim)
    group.run_until(periods * used.period_s)
    living = [m for m in group.members if m.me not in victims]
    figures = Figures(messages=group.messages, probes=round(periods * len(living)))
    first: dict[State, list[float]] = {State.SUSPECT: [], State.DEAD: []}
    for member in living:
        for event in member.events:
            if event.member in victims and event.time >= death:
                if event.state in first:
                    first[event.state].append((event.time - death) / used.period_s)
            elif event.state is State.DEAD:
                figures.false_deaths += 1
    figures.failed_probes = sum(m.failed_probes for m in living)
    if first[State.SUSPECT]:
        figures.suspected = min(first[State.SUSPECT])
    if first[State.DEAD]:
        figures.declared = min(first[State.DEAD])
        if len(first[State.DEAD]) == len(living) * len(victims):
            figures.known_to_all = max(first[State.DEAD])
    return figures


def periods_to_first_ping(n: int) -> float:
    """Expected periods until somebody pings a member that has just died."""
    return 1 / (1 - (1 - 1 / (n - 1)) ** (n - 1)) if n > 2 else 1.0


def false_probe_rate(loss: float, indirect: int) -> float:
    """Probability that the probe of a living member fails, with independent losses."""
    delivered = 1 - loss
    return float((1 - delivered**2) * (1 - delivered**4) ** indirect)
