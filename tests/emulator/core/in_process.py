"""A transport inside one process: the ranks are generators, and the one with the least clock goes on.

::

    def program(engine):
        send(engine, destination, size)
        message = yield receive(engine, source)

It shows that the meaning of messages needs neither MPI nor processes, and lets tests run it without them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Any

from emulator.core.cards import Cards, private_queue
from emulator.core.clock import Clock, Pacer
from emulator.core.engine import Engine
from emulator.core.message import ANY_TAG, Arrival
from emulator.core.operations import Operation
from emulator.core.routes import Route
from emulator.network import Network

Program = Callable[["LocalEngine"], Generator[Operation | None, Any, Any]]


class LocalEngine(Engine):
    """The engine of one rank of many in this process; a message is there as soon as it is sent."""

    def __init__(self, network: Network, rank: int, cards: Cards, engines: list[LocalEngine]) -> None:
        super().__init__(network, rank, network.ranks, 0, Clock(measured=False), Pacer(), cards)
        self._engines = engines

    def transmit(
        self, route: Route, context: int, tag: int, flags: int, first: float, service: float, size: int, token: int,
        payload: Any,
    ) -> None:  # fmt: skip
        data = memoryview(bytes(payload))
        message = Arrival(context, self.rank, tag, flags, first, service, size, token, data)
        self._engines[route.destination].deliver(message)

    def reply(self, message: Arrival, time: float) -> None:
        self._engines[message.source].acknowledged(message.token, time)

    def fetch(self, message: Arrival, place: memoryview) -> Any:
        raise AssertionError("no payload follows its message here")

    def keep(self, transfer: Any, payload: Any) -> None: ...

    def progress(self) -> None: ...

    def wait(self, operation: Operation) -> None:
        raise AssertionError("a rank yields what it waits for")

    def idle(self, polled: Hashable) -> None: ...

    def ranks_of(self, group: Any) -> Sequence[int]:
        ranks: Sequence[int] = group
        return ranks

    def align(self, t: float, comm: Any) -> None: ...

    def fidelity(self, control: Any) -> dict[str, Any]:
        return {}


class Receive(Operation):
    """A posted receive; a rank yields it to wait for it."""

    def __init__(self, engine: Engine, source: int, tag: int) -> None:
        self.engine, self.source, self.tag = engine, source, tag
        self.turn, self.posted, self.transfer = 0, engine.clock.t, None
        self.message: Arrival | None = None

    def take(self, message: Arrival) -> memoryview | None:
        self.message = message
        return None

    def poll(self) -> bool:
        return self.message is not None

    def finish(self) -> Arrival:
        assert self.message is not None
        self.engine.complete(self.message, held=False)
        return self.message


class SynchronousSend(Operation):
    """A send to wait for until it is matched."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.end, self.known = engine, 0.0, False

    def acknowledged(self, time: float) -> None:
        self.end, self.known = max(self.end, time), True

    def poll(self) -> bool:
        return self.known

    def finish(self) -> None:
        self.engine.clock.t = max(self.engine.clock.t, self.end)


def send(engine: Engine, destination: int, size: int, tag: int = 0) -> None:
    """Send zeros; this rank's clock goes on to when the last byte has left."""
    engine.clock.t, _ = engine.send(destination, 1, tag, bytes(size), size)


def ssend(engine: Engine, destination: int, size: int) -> SynchronousSend:
    """Send zeros; yield what is returned to wait for the match."""
    request = SynchronousSend(engine)
    request.end = engine.send(destination, 1, 0, bytes(size), size, request)[0]
    return request


def receive(engine: Engine, source: int, tag: int = ANY_TAG) -> Receive:
    """Post a receive; yield it to wait for its message."""
    posted = Receive(engine, source, tag)
    engine.matchers[1].post(posted, None)
    return posted


def engines_of(network: Network) -> list[LocalEngine]:
    """Make the engines of all ranks of a network."""
    links = [private_queue(remembers=True) for _ in network.links]
    cards = [Cards(private_queue(remembers=True), private_queue(remembers=True), links) for _ in network.hosts]
    engines: list[LocalEngine] = []
    engines.extend(LocalEngine(network, rank, cards[network.host_of(rank)], engines) for rank in range(network.ranks))
    return engines


def run(engines: list[LocalEngine], program: Program) -> list[float]:
    """Run a program on every rank; returns their clocks at the end."""
    running = {engine.rank: program(engine) for engine in engines}
    awaited: dict[int, Any] = dict.fromkeys(running)
    while running:
        ready = [rank for rank, what in awaited.items() if what is None or what.poll()]
        assert ready, f"deadlock: {sorted(running)} wait"
        rank = min(ready, key=lambda rank: (engines[rank].clock.t, rank))
        what = awaited[rank]
        try:
            awaited[rank] = running[rank].send(None if what is None else what.finish())
        except StopIteration:
            del running[rank], awaited[rank]
    return [engine.clock.t for engine in engines]
