"""`run`: a program on many ranks of one process, over a simulated network."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from emulator.comm import completion, refused
from emulator.comm.management import context_number
from emulator.core.cards import Cards, Queue, private_queue
from emulator.core.flows import Flows
from emulator.errors import UsageError
from emulator.network import Network, load
from emulator.sim.communicator import SimulatedComm
from emulator.sim.control import Control, Shared
from emulator.sim.deadlock import DeadlockError, report
from emulator.sim.engine import SimulatedEngine
from emulator.sim.failures import Failures
from emulator.sim.loop import Loop
from emulator.sim.port import SimulatedPort
from emulator.sim.ulfm.engine import MortalEngine

RANK_BYTES = 48 * 1024
"""Memory of a rank with its greenlet, engine and a few messages; a program's own arrays come on top."""
_COLLECTED_EVERY = 100_000


@dataclass(frozen=True)
class Outcome:
    """The result of a simulation.

    Attributes
    ----------
    results : what the program returned on each rank
    clocks : simulated time in seconds at which each rank ended
    messages : messages that were sent
    """

    results: list[Any]
    clocks: list[float]
    messages: int

    @property
    def seconds(self) -> float:
        """Simulated time at which the last rank ended."""
        return max(self.clocks)


def run(
    program: Callable[[SimulatedComm], Any],
    ranks: int,
    network: Network | str,
    *,
    seed: int = 0,
    compute: str = "none",
    collectives: Any = None,
    failures: Failures | None = None,
) -> Outcome:
    """Run an mpi4py program on simulated ranks.

    All ranks live in this process, so what the program keeps in modules is common to them.

    Parameters
    ----------
    program : called on each rank with the communicator of all ranks
    ranks : how many
    network, seed, compute, collectives : as of `emulator.wire.emulate.emulate`
    failures : lets ranks die and stop; None: no rank does

    Raises
    ------
    UsageError
        `ranks` or `compute` are not as above, the network has too few hosts, or the ranks do not fit into memory.
    DeadlockError
        All ranks wait.
    Exception
        What the first failing rank raised; a note names the rank.
    """
    if ranks < 1:
        raise UsageError(f"a simulation needs at least 1 rank, got {ranks}")
    if compute not in ("measured", "none"):
        raise UsageError(f"compute is 'measured' or 'none', got {compute!r}")
    check_memory(ranks)
    completion.install()
    refused.refuse_outside()
    network = (load(network) if isinstance(network, str) else network).sized(ranks)
    loop = Loop()
    making = _Making(loop, network, seed, compute == "measured", failures)
    engines = making.engines
    results: list[Any] = [None] * ranks

    def body(engine: SimulatedEngine, world: Shared, program: Callable[[SimulatedComm], Any]) -> Any:
        control = Control(world, world.members.place(engine.rank), engine)
        comm = SimulatedComm(engine, control, context_number("world"), collectives)
        engine.clock.t = loop.now
        engine.clock.leave()
        result = program(comm)
        if engine.rank < ranks:
            results[engine.rank] = result
        if engine.clock.measured:
            engine.clock.enter()

    def begin(program: Callable[[SimulatedComm], Any], hosts: Sequence[int], at: float) -> list[int]:
        network.joined += hosts
        made = [making.add() for _ in hosts]
        world = Shared([engine.rank for engine in made])
        for engine in made:
            loop.start(engine, partial(body, engine, world, program), at)
        return list(world.ranks)

    making.failures.attach(loop, engines, begin)  # type: ignore[arg-type]
    world = Shared([making.add().rank for _ in range(ranks)])

    with _rare_garbage_collection(loop), _interrupted_by_signals(loop):
        stuck = loop.run(engines, [partial(body, engine, world, program) for engine in engines])
    if stuck:
        waiting = [engine for engine in engines if engine in stuck]
        text = report(waiting, engines)
        loop.close(stuck)
        raise DeadlockError(text)
    sent = sum(route.messages for engine in engines for route in engine.routes.values())
    return Outcome(results, [engine.clock.t for engine in engines], sent)


def check_memory(ranks: int, each: int = RANK_BYTES) -> None:
    """Refuse a simulation whose ranks need more memory than is free, at `each` bytes a rank."""
    import psutil

    needed, free = ranks * each, psutil.virtual_memory().available
    if needed > free:
        raise UsageError(
            f"{ranks} simulated ranks need about {needed >> 20} MiB and {free >> 20} MiB are free: simulate fewer ranks"
        )


class _Making:
    """Makes the engines of ranks, with the cards of their hosts and the links that hosts share.

    Attributes
    ----------
    engines : those that it has made, by rank
    failures : as given, or those of a simulation in which no rank fails
    """

    def __init__(self, loop: Loop, network: Network, seed: int, measured: bool, failures: Failures | None) -> None:
        self._kind: type[SimulatedEngine] = SimulatedEngine if failures is None else MortalEngine
        self.failures = failures or Failures()
        self._loop, self._network, self._seed, self._measured = loop, network, seed, measured
        self._queues = [private_queue(remembers=True) for _ in network.links]
        crowded = network.ranks > len(network.hosts) or network.spec.protocol is not None
        self._cards = [(private_queue(crowded), private_queue(crowded)) for _ in network.hosts]
        self._receiving: dict[int, SimulatedPort] = {}
        self.engines: list[SimulatedEngine] = []
        self._flows = Flows(network) if network.spec.sharing == "packet" else None
        if self._flows is not None:
            self._flows.forgotten = self._look_again

    def add(self) -> SimulatedEngine:
        """Make the engine of the next rank."""
        rank = len(self.engines)
        out, into = self._cards[self._network.host_of(rank)]
        queues = [_same(queue) for queue in self._queues]
        cards = Cards(_same(out), _same(into), queues, self._flows, lambda host: _same(self._cards[host][0]))
        engine = self._kind(
            self._loop, self.engines, self._network, rank, self._seed, self._measured, cards, self.failures
        )
        port = engine.nic
        if isinstance(port, SimulatedPort) and (first := self._receiving.setdefault(engine.host, port)) is not port:
            port.share(first)
        self.engines.append(engine)
        return engine

    def _look_again(self, flights: Iterable[Any]) -> None:
        """Make ranks that wait for the ends of messages ask again, because these ends may have changed."""
        for one in flights:
            self._loop.wake(self.engines[one.destination], self._loop.now)


def _same(queue: Queue) -> Queue:
    """A rank's own queue on shared cells, which counts the inversions that this rank causes."""
    return type(queue)(queue.cells, queue.cell, None, queue.remembers)


@contextmanager
def _interrupted_by_signals(loop: Loop) -> Iterator[None]:
    """Make a signal that would raise KeyboardInterrupt anywhere in the program end all ranks."""
    raising = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is signal.default_int_handler]
    raising = raising if threading.current_thread() is threading.main_thread() else []
    for one in raising:
        signal.signal(one, loop.interrupt)
    try:
        yield
    finally:
        for one in raising:
            signal.signal(one, signal.default_int_handler)


@contextmanager
def _rare_garbage_collection(loop: Loop) -> Iterator[None]:
    """Collect garbage rarely; a collection visits all ranks' objects, so its time is charged to no rank's clock."""
    before = gc.get_threshold()
    began = 0.0

    def excluded(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time()
        elif isinstance(loop.running, SimulatedEngine):
            loop.running.clock.mark += time.thread_time() - began

    gc.set_threshold(_COLLECTED_EVERY, *before[1:])
    gc.callbacks.append(excluded)
    try:
        yield
    finally:
        gc.callbacks.remove(excluded)
        gc.set_threshold(*before)
