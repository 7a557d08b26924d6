"""Simulate a message schedule message by message (max-plus arithmetic): the exact time where no closed form exists.

On an idle network of one rank per host, messages of different ranks may meet at a card, and a rank that has less to do
runs ahead of the others. No sum of alpha, beta and gamma describes that; a recurrence of maxima and additions does. For
a message of n bytes that a rank sends at time t, every card serving one message at a time::

    start = max(t, egress)          egress  = start + max(gap, n egress)      of the sender's card
    first = start + alpha
    due   = max(first, ingress) + n beta = ingress                            of the receiver's card

Where ranks share a host, or hosts an uplink, messages pass these queues too (`emulator.costs.message_paths`). A card
takes messages in the order of `first`, and of the senders' ranks where that is equal. The receive is complete at
``max(t, due)`` of the receiver, and n bytes are reduced in ``n gamma``. Nothing of the emulated network's code is used
here, so that each can be tested against the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emulator.costs.message_paths import Traffic, Ways, alike


@dataclass(frozen=True, slots=True)
class Send:
    """A step: `size` bytes leave for rank `to`; the rank continues at once."""

    to: int
    size: float


@dataclass(frozen=True, slots=True)
class Receive:
    """A step: the rank waits for the next message from rank `source`."""

    source: int


@dataclass(frozen=True, slots=True)
class Drain:
    """A step: the rank waits until the last byte of its sends has left its card."""


@dataclass(frozen=True, slots=True)
class Reduce:
    """A step: the rank reduces `size` bytes."""

    size: float


@dataclass(frozen=True, slots=True)
class Compute:
    """A step: the rank computes for `seconds`."""

    seconds: float


Step = Send | Receive | Drain | Reduce | Compute
Program = Sequence[Step]


class _Replay:
    """Clocks of the ranks, and the messages that have arrived for them."""

    def __init__(self, programs: Sequence[Program], ways: Ways, gamma: float) -> None:
        self.gamma, self.clock = gamma, [0.0] * len(programs)
        self.traffic = Traffic(ways, len(programs), left=self.go_on)
        self.steps, self.done = programs, [0] * len(programs)
        self.due: dict[tuple[int, int], deque[float]] = {}

    def go_on(self, rank: int) -> None:
        """Advance the rank as far as its received messages allow."""
        steps, traffic, clock, at = self.steps[rank], self.traffic, self.clock, self.done[rank]
        while at < len(steps):
            step = steps[at]
            if isinstance(step, Receive):
                arrived = self.due.get((step.source, rank))
                if not arrived:
                    break
                clock[rank] = max(clock[rank], arrived.popleft())
            elif isinstance(step, Send):
                traffic.send(clock[rank], rank, step.to, step.size)
            elif isinstance(step, Drain):
                if traffic.leaving[rank]:
                    break
                clock[rank] = max(clock[rank], traffic.gone[rank])
            elif isinstance(step, Reduce):
                clock[rank] += step.size * self.gamma
            else:
                clock[rank] += step.seconds
            at += 1
        self.done[rank] = at

    def run(self) -> None:
        for rank in range(len(self.steps)):
            self.go_on(rank)
        # Whatever a rank sends after a message arrives after it: the earliest event is the next at its station.
        while (arrival := self.traffic.next()) is not None:
            due, source, target, _ = arrival
            self.due.setdefault((source, target), deque()).append(due)
            self.go_on(target)


def replay(programs: Iterable[Program], alpha: float, beta: float, gamma: float = 0.0) -> list[float]:
    """Seconds until each rank has finished its program, with each rank on a host of its own and all hosts alike.

    Parameters
    ----------
    programs : what each rank does, one step after another
    alpha, beta, gamma : latency of a message in seconds; seconds per byte on a card; seconds per byte reduced

    Raises
    ------
    ValueError
        A rank waits for a message that no rank sends.
    """
    return follow(programs, alike(alpha, beta), gamma)


def follow(programs: Iterable[Program], ways: Ways, gamma: float = 0.0) -> list[float]:
    """Seconds until each rank has finished its program, on any network; see `replay`."""
    state = _Replay(list(programs), ways, gamma)
    state.run()
    for rank, (steps, done) in enumerate(zip(state.steps, state.done, strict=True)):
        if done < len(steps):
            raise ValueError(f"rank {rank} waits for a message that no rank sends: {steps[done]}")
    return state.clock
