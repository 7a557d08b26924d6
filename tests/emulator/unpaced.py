"""The emulated network without pacing, on ranks of one process: another physical order of its messages for every seed.

The engine, its cards and the communicator are those of real emulated ranks. What differs is the transport: messages
lie in a list until their receiver makes progress, and a generator of random numbers chooses which rank goes on, after
every call that can let others run. So one test sees as many physical orders as it likes, and each can be had again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple

from emulator.comm import completion
from emulator.comm.carrier import EmulatedCarrier
from emulator.comm.communicator import EmulatedComm
from emulator.comm.management import context_number
from emulator.core.cards import Cards, Port, private_queue
from emulator.core.clock import Pacer
from emulator.core.engine import Engine
from emulator.core.message import Arrival
from emulator.core.operations import Operation
from emulator.network import Network
from emulator.sim.communicator import SimulatedComm
from emulator.sim.control import Control, Shared
from emulator.sim.engine import SimulatedEngine
from emulator.sim.failures import Failures
from emulator.sim.loop import Loop

_POLL_S = 1e-6


class Seen(NamedTuple):
    """What every rank returned, its clock at the end, and how many messages of all ranks were served out of order."""

    results: list[Any]
    clocks: list[float]
    inversions: int
    swaps: int


class UnpacedEngine(SimulatedEngine):
    """One rank's engine as it is between real processes, but for the transport."""

    def __init__(self, *arguments: Any, order: random.Random | None) -> None:
        super().__init__(*arguments)
        self.pacer = Pacer()  # type: ignore[assignment]
        self.nic, self.loopback = Port(self.queues[1]), Port(private_queue(remembers=True))  # type: ignore[assignment]
        self._plain = self.quick = False
        self._order = order
        self._inbox: list[Arrival] = []
        self.came = 0  # messages and acknowledgements

    def send(self, *arguments: Any) -> Any:
        self._let_others_run()
        return Engine.send(self, *arguments)

    def deliver(self, message: Arrival) -> None:
        if message.source == self.rank:
            Engine.deliver(self, message)
        else:
            self._inbox.append(message)
            self.came += 1
            self.loop.wake(self, self._turn(message.first))

    def progress(self) -> None:
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            Engine.deliver(self, message)

    def acknowledged(self, token: int, time: float) -> None:
        Engine.acknowledged(self, token, time)
        self.came += 1
        self.loop.wake(self, self._turn(time))

    def reached(self) -> None:  # type: ignore[override]
        return None

    def now(self) -> float:
        return self.clock.t

    def hold(self, t: float) -> None: ...

    def wait(self, operation: Operation) -> None:
        while not operation.poll():
            self.progress()
            if operation.poll():
                break
            self.loop.block(self, math.inf)

    def sleep(self, until: float = math.inf) -> None:
        self.waits += 1
        self.loop.block(self, until if until == math.inf else self._turn())

    pass_time = sleep

    def idle(self, polled: Hashable) -> None:
        self.idling = True
        self.loop.block(self, self._turn() + _POLL_S)

    def waits_on(self, now: float) -> None:
        return None

    def _turn(self, event: float = 0.0) -> float:
        """The time of the loop at which a rank goes on: its own, or that of an event; or any."""
        return self.loop.now + self._order.random() if self._order else max(self.clock.t, self.loop.now, event)

    def _let_others_run(self) -> None:
        if self._order is None or self._order.random() < 0.5:
            self.loop.block(self, self._turn())


class _Carrier(EmulatedCarrier):
    def wait_until(
        self, ready: Callable[[], bool], deadline: float = math.inf, patience_s: float = math.inf,
        longest_s: float = 0.0,
    ) -> bool:  # fmt: skip
        """See `Carrier.wait_until`; patience on the wall clock ends after one look."""
        engine = self.comm.engine
        came = engine.came
        while not ready():
            if patience_s < math.inf:
                engine.idle(ready)
                return ready()
            if engine.came == came:
                engine.sleep()
            came = engine.came
        return True


class UnpacedComm(SimulatedComm):
    """The emulated communicator over such an engine."""

    def _make_carrier(self) -> EmulatedCarrier:
        return _Carrier(self, self.engine.instruments)

    raise_error = EmulatedComm.raise_error


def run(program: Callable[[Any], Any], ranks: int, network: Network, order: int | None, seed: int = 0) -> Seen:
    """Run a program.

    Parameters
    ----------
    order : seed of the order in which ranks go on; None: always the one with the least clock
    seed : of jitter and loss
    """
    completion.install()
    network = network.sized(ranks)
    loop, rng, failures = Loop(), None if order is None else random.Random(order), Failures()
    links = [private_queue(remembers=True) for _ in network.links]
    cards = [(private_queue(remembers=True), private_queue(remembers=True)) for _ in network.hosts]
    engines: list[Any] = []
    results: list[Any] = [None] * ranks
    world = Shared(range(ranks))
    for rank in range(ranks):
        out, into = cards[network.host_of(rank)]
        mine = Cards(out, into, links)
        engines.append(UnpacedEngine(loop, engines, network, rank, seed, False, mine, failures, order=rng))

    def body(engine: Any) -> None:
        comm = UnpacedComm(engine, Control(world, engine.rank, engine), context_number("world"))  # type: ignore[arg-type]
        results[engine.rank] = program(comm)

    stuck = loop.run(engines, [partial(body, engine) for engine in engines])
    assert not stuck, f"ranks {[one.rank for one in stuck]} wait for ever"  # type: ignore[attr-defined]
    queues = {id(queue): queue for engine in engines for queue in (engine.loopback.queue, *engine.queues)}.values()
    return Seen(
        results, [engine.clock.t for engine in engines], sum(one.inversions for one in queues),
        sum(one.swaps for one in queues),
    )  # fmt: skip
