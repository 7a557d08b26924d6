"""Deaths, stops and later starts of simulated ranks, and when other ranks learn of a death.

    kill(3)   rank 3 never runs again ── detect_s ──► the others know: waits for rank 3 end with MPI_ERR_PROC_FAILED

A message whose last byte has not left its sender's card by then is lost. What the runtime of MPI takes to report a
death, to agree and to build a communicator is not simulated but given (`FailureCosts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit

from emulator.core.failure_costs import FailureCosts
from emulator.core.instruments import Wait
from emulator.sim.connection import Connection
from emulator.sim.loop import Loop, Sleeper

if TYPE_CHECKING:
    from emulator.sim.ulfm.engine import MortalEngine

Begin = Callable[[Callable[[Any], Any], Sequence[int], float], list[int]]


class Failures:
    """The failures of one simulation; given to `emulator.sim.run`, which otherwise makes one without failures.

    Attributes
    ----------
    costs : what detection, agreement and repair take
    known : ranks that the others know to be dead, with the simulated time at which they learned of it
    died : when each dead rank died
    on_known : called when the death of a rank becomes known
    ports : groups of ranks to come together, by the name of the port that both are told
    """

    loop: Loop
    engines: Sequence[MortalEngine]
    _begin: Begin

    def __init__(self, costs: FailureCosts | None = None) -> None:
        self.costs = costs or FailureCosts()
        self.known: dict[int, float] = {}
        self.died: dict[int, float] = {}
        self.on_known: list[Callable[[], None]] = []
        self.ports: dict[str, Connection] = {}

    def attach(self, loop: Loop, engines: Sequence[MortalEngine], begin: Begin) -> None:
        """Begin with these ranks, and with the function that starts further ones."""
        self.loop, self.engines, self._begin = loop, engines, begin

    @property
    def now(self) -> float:
        """Simulated time in seconds."""
        return self.loop.now

    @property
    def own(self) -> int:
        """The running rank; -1 in a call of the loop on behalf of no rank."""
        return -1 if self.loop.running is None else self.loop.running.rank

    def lives(self, rank: int) -> bool:
        """Whether a rank has neither ended nor died; a stopped rank lives."""
        thread = self.engines[rank].thread
        return rank not in self.died and thread is not None and not thread.dead

    def start(self, program: Callable[[Any], Any], hosts: Sequence[int], time: float) -> list[int]:
        """Start further ranks on these hosts at a simulated time, in a world of their own; returns their numbers."""
        return self._begin(program, hosts, time)

    def open_port(self, starter: int, newcomers: Sequence[int]) -> str:
        """Name a port at which started ranks and the communicator of their starter meet."""
        name = f"port {len(self.ports)}"
        self.ports[name] = Connection(self, starter, newcomers, name)
        return name

    def at(self, time: float, act: Callable[[], None], owner: int = -1, background: bool = False) -> Sleeper:
        """Call a function at a simulated time, on behalf of a rank while it lives, or of none.

        Returns
        -------
        The call, for `Loop.cancel`.
        """

        def call() -> None:
            if owner >= 0:
                if not self.lives(owner):
                    return
                self.loop.running = self.engines[owner]
            act()

        return self.loop.call_at(time, call, background)

    def wake(self, ranks: Iterable[int]) -> None:
        """Make ranks check again whether what they wait for has come."""
        for rank in ranks:
            self.loop.wake(self.engines[rank], self.loop.now)

    def sleep(self, seconds: float) -> None:
        """Let time pass for the running rank, whatever happens to it meanwhile."""
        engine = self.engines[self.own]
        until = self.loop.now + seconds
        while self.loop.now < until:
            engine.sleep(until)
        engine.wait_until(until, Wait.POLL)

    def kill(self, rank: int) -> None:
        """Kill a rank now; a rank that kills itself does not return."""
        if not self.lives(rank):
            return
        engine, now = self.engines[rank], self.loop.now
        self.died[rank] = now
        engine.lose_unsent()
        self.loop.call_at(now + self.costs.detect_s, lambda: self._announce(rank))
        self.loop.kill(engine)

    def stop(self, rank: int) -> None:
        """Stop a rank until `resume`, or until it is killed."""
        engine = self.engines[rank]
        if not self.lives(rank) or engine.held:
            return
        engine.held, engine.missed, engine.stopped_at = True, False, self.loop.now
        if engine is self.loop.running:
            if self.loop.calling:
                raise GreenletExit
            self.loop.block(engine, self.loop.now)

    def resume(self, rank: int) -> None:
        """Resume a stopped rank."""
        engine = self.engines[rank]
        if engine.held:
            engine.held = False
            if engine.missed:
                engine.wait_until(self.loop.now, Wait.POLL)
                self.loop.go_on(engine)

    def waiting(self) -> list[MortalEngine]:
        """Ranks that live and have not ended."""
        return [engine for engine in self.engines if self.lives(engine.rank)]

    def _announce(self, rank: int) -> None:
        self.known[rank] = self.loop.now
        for engine in self.engines:
            engine.dead.add(rank)
            engine.quick = False
            self.loop.wake(engine, self.loop.now)
        for act in list(self.on_known):
            act()
