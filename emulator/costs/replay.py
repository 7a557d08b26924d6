"""Simulate a message schedule message by message (max-plus arithmetic): the exact time where no closed form exists.

On an idle network of one rank per host, messages of different ranks may meet at a card, and a rank that has less to do
runs ahead of the others. No sum of alpha, beta and gamma describes that; a recurrence of maxima and additions does. For
a message of n bytes that a rank sends at time t, every card serving one message at a time::

    start = max(t, egress)          egress  = start + max(gap, n egress)      of the sender's card
    first = start + alpha
    due   = max(first, ingress) + n beta = ingress                            of the receiver's card

Where ranks share a host, or hosts an uplink, messages pass these queues too (`emulator.costs.ways`). A card takes
messages in the order of `first`, and of the senders' ranks where that is equal. The receive is complete at
``max(t, due)`` of the receiver, and n bytes are reduced in ``n gamma``. Nothing of the emulated network's code is used
here, so that each can be tested against the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from emulator.costs.ways import Queues, Ways, alike


@dataclass(frozen=True, slots=True)
class Send:
    """`size` bytes leave for rank `to`; the rank goes on at once."""

    to: int
    size: float


@dataclass(frozen=True, slots=True)
class Receive:
    """The rank waits for the next message of rank `source`."""

    source: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The rank waits until the last byte of its sends has left its card."""


@dataclass(frozen=True, slots=True)
class Reduce:
    """The rank reduces `size` bytes."""

    size: float


@dataclass(frozen=True, slots=True)
class Compute:
    """The rank computes for so many seconds."""

    seconds: float


Step = Send | Receive | Drain | Reduce | Compute
Program = Sequence[Step]


_ARRIVING = -1
_Event = tuple[float, int, int, int, int, float]
"""When, source, number, stage (station that is next, or _ARRIVING at the receiver's card), target, bytes."""


class _Replay:
    """Clocks and cards of the ranks, and the messages on their way."""

    def __init__(self, programs: Sequence[Program], ways: Ways, gamma: float) -> None:
        self.ways, self.gamma, self.queues = ways, gamma, Queues()
        self.clock, self.left = ([0.0] * len(programs) for _ in range(2))
        self.steps = [deque(program) for program in programs]
        self.leaving = [0] * len(programs)  # messages that wait for a card which others use as well
        self.flying: list[_Event] = []
        self.due: dict[tuple[int, int], deque[float]] = {}
        self.sent = 0

    def go_on(self, rank: int) -> None:
        """Take the rank as far as the messages that it has received allow."""
        steps = self.steps[rank]
        while steps:
            step = steps[0]
            if isinstance(step, Send):
                self.send(rank, step)
            elif isinstance(step, Reduce):
                self.clock[rank] += step.size * self.gamma
            elif isinstance(step, Compute):
                self.clock[rank] += step.seconds
            elif isinstance(step, Drain):
                if self.leaving[rank]:
                    return
                self.clock[rank] = max(self.clock[rank], self.left[rank])
            else:
                arrived = self.due.get((step.source, rank))
                if not arrived:
                    return
                self.clock[rank] = max(self.clock[rank], arrived.popleft())
            steps.popleft()

    def send(self, rank: int, step: Send) -> None:
        self.sent += 1
        event = (self.clock[rank], rank, self.sent, 0, step.to, step.size)
        if self.ways(rank, step.to).shared:  # its turn comes with those of the other ranks, in the order of time
            self.leaving[rank] += 1
            heappush(self.flying, event)
        else:
            self.leave(event)

    def leave(self, event: _Event) -> None:
        """A message leaves its sender's card."""
        time, source, number, _, target, size = event
        way = self.ways(source, target)
        start = self.queues.take(way.out, time, size)
        self.left[source] = max(self.left[source], start + max(way.out.gap, size * way.out.beta))
        if way.links:
            heappush(self.flying, (start, source, number, 1, target, size))
        else:
            heappush(self.flying, (start + way.alpha, source, number, _ARRIVING, target, size))

    def cross(self, event: _Event) -> None:
        """A message crosses a link that hosts share."""
        time, source, number, stage, target, size = event
        way = self.ways(source, target)
        start = self.queues.take(way.links[stage - 1], time, size)
        if stage < len(way.links):
            heappush(self.flying, (start, source, number, stage + 1, target, size))
        else:
            heappush(self.flying, (start + way.alpha, source, number, _ARRIVING, target, size))

    def arrive(self, event: _Event) -> None:
        """A message passes its receiver's card."""
        first, source, _, _, target, size = event
        into = self.ways(source, target).into
        due = self.queues.take(into, first, size) + size * into.beta
        self.due.setdefault((source, target), deque()).append(due)
        self.go_on(target)

    def run(self) -> None:
        for rank in range(len(self.steps)):
            self.go_on(rank)
        # Whatever a rank sends after a message arrives after it: the earliest event is the next at its station.
        while self.flying:
            event = heappop(self.flying)
            stage, source = event[3], event[1]
            if stage == _ARRIVING:
                self.arrive(event)
            elif stage:
                self.cross(event)
            else:
                self.leave(event)
                self.leaving[source] -= 1
                self.go_on(source)


def replay(
    programs: Iterable[Program], alpha: float, beta: float, gamma: float = 0.0, gap: float = 0.0,
    egress: float | None = None,
) -> list[float]:  # fmt: skip
    """When each rank, on a host of its own and all hosts alike, is done with its program, in seconds.

    Parameters
    ----------
    programs : what each rank does, one step after another
    alpha, beta, gamma : latency of a message in seconds; seconds per byte on a card; seconds per byte reduced
    gap : least time between two messages that leave one card, in seconds
    egress : seconds per byte of the sender's card where it is quicker than the path; absent: `beta`

    Raises
    ------
    ValueError
        A rank waits for a message that no rank sends.
    """
    return follow(programs, alike(alpha, beta, egress, gap), gamma)


def follow(programs: Iterable[Program], ways: Ways, gamma: float = 0.0) -> list[float]:
    """When each rank is done with its program, on any network; see `replay`."""
    state = _Replay(list(programs), ways, gamma)
    state.run()
    for rank, steps in enumerate(state.steps):
        if steps:
            raise ValueError(f"rank {rank} waits for a message that no rank sends: {steps[0]}")
    return state.clock
