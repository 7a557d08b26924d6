"""The engine of a simulated rank: messages move within memory, and a rank that waits lets others run.

Every rank lives on the time of the loop, which is that of the rank with the least clock. To the engine that is what the
wall clock is to a paced emulation, only that no rank is ever late: a card serves its messages when their first bytes
have arrived, ANY_SOURCE takes the earliest message, and a probe sees what has arrived by now.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

from emulator.comm.send_receive import ReceiveRequest, SendRequest
from emulator.core.cards import Cards
from emulator.core.clock import Clock, Pacer
from emulator.core.engine import Engine
from emulator.core.instruments import Wait
from emulator.core.message import ANY_SOURCE, FOLLOWS, SYNC, Arrival
from emulator.core.operations import Operation, Transfer
from emulator.core.routes import Route
from emulator.network import Network
from emulator.sim.collectives import phantom
from emulator.sim.failures import Failures
from emulator.sim.loop import Loop, Sleeper
from emulator.sim.port import SimulatedPort
from emulator.sim.simple_messages import PlainMessages

_LEAST_STEP_S = 1e-6
_STEP_SHARE = 1 / 8
_EXCUSED = 10_000  # tests of sends at one instant


class SimulatedTime(Pacer):
    """Connects a rank's clock to the time of the loop."""

    __slots__ = ("emulated", "engine", "loop")

    pace = 1.0

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.emulated = partial(getattr, loop, "now")  # type: ignore[method-assign]  # quicker than a method
        self.engine: Any = None

    def hold(self, t: float) -> None:
        while t > self.loop.now:  # a message that arrives meanwhile wakes the rank
            self.engine.sleep(t)

    def record(self, due: float, held: bool) -> None:
        """Do nothing: no receive is late."""


class SimulatedEngine(PlainMessages):
    """The engine of a simulated rank; see `emulator.core.engine.Engine`.

    Attributes
    ----------
    loop, engines, failures : the loop, the engines of all ranks, and which of these have failed
    polled : what it looked for in vain, if it waits by looking now and then
    leaves : when the last byte of the message that is being sent leaves the card
    quick : messages may be simple, compute is not measured, no rank is known to be dead, no communicator revoked
    mortal : this rank may die
    missed : its turn came while it was stopped
    """

    pacer: SimulatedTime
    mortal = False

    def __init__(
        self, loop: Loop, engines: Sequence[SimulatedEngine], network: Network, rank: int, seed: int, measured: bool,
        cards: Cards, failures: Failures,
    ) -> None:  # fmt: skip
        Sleeper.__init__(self)
        clock = Clock(network.hosts[network.host_of(rank)].slowdown, measured)
        super().__init__(network, rank, network.ranks, seed, clock, SimulatedTime(loop), cards)
        self.pacer.engine = self
        if self.flows is None:
            self.nic = SimulatedPort(self.nic.queue, loop)
        self.loopback = SimulatedPort(self.loopback.queue, loop)
        self.loop, self.engines, self.failures = loop, engines, failures
        self.polled: Any = None
        self.leaves = 0.0
        self.missed = False
        self._polled: dict[Hashable, int] = {}  # with the number of messages sent before
        self._excused = 0
        self._plain = self.flows is None and network.spec.protocol is None
        self.quick = self._plain and not measured
        self._polled_at = self._passed_at = self._polling_since = 0.0

    # -- the transport

    def transmit(
        self, route: Route, context: int, tag: int, flags: int, first: float, service: float, size: int, token: int,
        payload: Any,
    ) -> None:  # fmt: skip
        if phantom.holds(payload):
            flags, payload = flags | FOLLOWS, None
        message = Arrival(context, self.rank, tag, flags, first, service, size, token, payload)
        self.engines[route.destination].deliver(message)
        if message.data is not None:  # a copy: the sender may use its memory again before a receive takes the message
            message.data = memoryview(bytes(payload))

    def count_sent(self, messages: int) -> None:
        """Count messages that were sent by other means; see `emulator.sim.collectives.lockstep`."""
        self._token += messages

    def deliver(self, message: Arrival) -> None:
        self._arrived = message.token - 1  # the order of its source, for messages to several ranks of this host, too
        super().deliver(message)
        if message.early and message.flags & SYNC:  # its sender hears of the match, whatever this rank does then
            self.loop.call_at(message.first, self.release)
        if self.sleeping and message.first < self.wake_at:
            self.notice(message)

    def fetch(self, message: Arrival, place: memoryview) -> Transfer | None:
        return phantom.Arrived(message.source, self.rank) if phantom.is_bytes(place) else None

    def reply(self, message: Arrival, time: float) -> None:
        self.engines[message.source].acknowledged(message.token, time)

    def acknowledged(self, token: int, time: float) -> None:
        super().acknowledged(token, time)
        self.loop.wake(self, self.loop.now)

    def keep(self, transfer: Any, payload: Any) -> None:
        """Do nothing: a payload was copied when it was sent."""

    progress = Engine.release

    def reached(self) -> float:
        return self.loop.now

    def unexpected(self) -> list[Arrival]:
        """List the messages that have arrived here and match no receive."""
        return [message for matcher in self.matchers.values() for message in matcher.unexpected()]

    # -- waiting

    def sleep(self, until: float = math.inf) -> None:
        """Let others run until simulated time `until`, or until something happens to this rank."""
        self.waits += 1
        self.loop.block(self, until)

    def wait(self, operation: Operation) -> None:
        if operation.poll():
            return
        self.operation = operation
        self.waits += 1
        receive = operation if isinstance(operation, ReceiveRequest) else None
        try:
            while True:
                until = operation.hint
                if until is None:
                    until = math.inf if operation.soonest is None else operation.soonest
                    if operation.source == ANY_SOURCE:
                        until = min(until, self._next_event())
                self.awaited = None if receive is None else receive.message
                self.loop.block(self, until)
                self.awaited = None
                if self.later:
                    self.release()
                if operation.poll():
                    break
        finally:
            self.operation = self.awaited = None

    def turn(self) -> None:
        self.missed = True

    def idle(self, polled: Hashable) -> None:
        """Note that a poll has found nothing; the same poll repeated at one instant lets time pass.

        It passes up to the next message, but by an eighth of the time that this rank has polled at the most (and by
        1 us at the least): a program may poll for something else than messages. To test a send after having sent
        something else is no polling: a program may look after its sends whenever it makes another one. Nor are two
        polls at an instant to which no polling has led: one may end what was done before, one begin what follows.
        """
        self.idling, self.polled = True, polled
        now = self.loop.now
        if now != self._polled_at:
            self._polled.clear()
            self._polled_at, self._excused = now, 0
        before = self._polled.get(polled)
        if before is None or (before < self._token and isinstance(polled, SendRequest) and self._excused < _EXCUSED):
            self._polled[polled] = self._token
            self._excused += before is not None
            return
        if now != self._passed_at:
            if (again := ("again", polled)) not in self._polled:
                self._polled[again] = self._token
                return
            self._polling_since = now
        self.pass_time(now + max(_LEAST_STEP_S, (now - self._polling_since) * _STEP_SHARE))
        self._passed_at = self.loop.now

    def pass_time(self, until: float = math.inf) -> None:
        """Let time pass, up to `until` or the next message, for a rank that has found nothing to do."""
        self.waits += 1
        self.loop.block(self, min(until, self._next_event()))
        self.wait_until(self.loop.now, Wait.POLL)
        self._polled.clear()

    def _next_event(self) -> float:
        now = self.loop.now
        return min(self.nic.next_event(now), self.loopback.next_event(now))

    def now(self) -> float:
        return self.clock.t

    # -- all ranks together

    @property
    def exact(self) -> bool:
        """Whether times are the same in every repetition: they depend on no chance, machine or earlier message."""
        spec = self.network.spec
        return spec.jitter is None and spec.loss is None and spec.slow_start is None and not self.clock.measured

    def ranks_of(self, group: Any) -> Sequence[int]:
        return group.ranks

    def align(self, t: float, comm: Any) -> None:
        """Do nothing: the ranks have waited for this time."""

    def fidelity(self, control: Any) -> dict[str, Any]:
        return describe_fidelity(int(control.allreduce(self.inversions())), self.exact)


def describe_fidelity(inversions: int, exact: bool) -> dict[str, Any]:
    """Make the fidelity record of a simulation's result.

    Parameters
    ----------
    inversions : messages that asked for a card or link after one that started later, of all ranks
    exact : of `SimulatedEngine`
    """
    words = None
    if inversions:
        words = (
            f"{inversions} message{'s' * (inversions != 1)} asked for a card or link after one that "
            "started later: queueing there is approximate"
        )
    return {
        "overrun_share": 0.0, "late_p50": 0.0, "late_p99": 0.0, "inversions": inversions, "pace": None,
        "exact": exact, "words": words,
    }  # fmt: skip
