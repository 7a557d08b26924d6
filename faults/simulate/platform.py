"""The clock and the executioner of simulated ranks: time is the simulation's, a signal is one of its events."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit

from emulator import carrier
from emulator.sim.failures import Failures
from faults.platform import Clock, Executioner

FIRST_ID = 1
"""The process id of rank 0; the others follow."""
_YIELD_S = 20e-6  # to give way: about what the kernel takes to come back to a process


class SimulatedClock(Clock):
    """Simulated seconds, counted on from the end of the job's earlier launches.

    Parameters
    ----------
    failures : of the running simulation
    origin : seconds at which this launch begins
    work_s : seconds of a piece of work whose length the pattern does not declare

    Attributes
    ----------
    worlds : the communicator of all ranks, as each rank has it
    """

    def __init__(self, failures: Failures, origin: float, work_s: float) -> None:
        self.failures, self.origin, self.work_s = failures, origin, work_s
        self.worlds: dict[int, Any] = {}
        self._worked: dict[int, float] = {}
        self.now = self._now
        self.sleep = failures.sleep
        self.give_way = lambda: failures.sleep(_YIELD_S)
        self.cpu = lambda: self._worked.get(failures.own, 0.0)

    def _now(self) -> float:
        own = self.failures.own
        if own in self.failures.died:  # a dead rank, unwound at the end of the simulation, does nothing more
            raise GreenletExit
        return self.origin + self.failures.now

    def work(self, declared_s: float) -> None:
        own = self.failures.own
        if not declared_s:
            declared_s = self.work_s
            self._worked[own] = self.cpu() + declared_s
        carrier.of(self.worlds[own]).compute(declared_s)

    def call_at(self, at: float, act: Callable[[], None], owner: int = -1) -> Any:
        """Call a function at `at` seconds of this clock; see `Failures.at`."""
        return self.failures.at(at - self.origin, act, owner)

    def every(self, period_s: float, act: Callable[[], None], over: threading.Event) -> None:
        failures, own = self.failures, self.failures.own

        def turn() -> None:
            if not over.is_set():
                act()
                failures.at(failures.now + period_s, turn, own, background=True)

        failures.at(failures.now + period_s, turn, own, background=True)


class SimulatedExecutioner(Executioner):
    """Kills, stops, wakes and observes simulated ranks.

    Parameters
    ----------
    stopped : called with a rank that was stopped
    """

    clock: SimulatedClock

    def __init__(self, failures: Failures, clock: SimulatedClock, stopped: Callable[[int], None]) -> None:
        super().__init__(clock)
        self._failures, self._stopped = failures, stopped
        self._heeded: dict[tuple[int, int], list[float]] = {}

    def own_id(self) -> int:
        return self._failures.own + FIRST_ID

    def strike(self, number: signal.Signals, at: float = 0.0) -> Any:
        own = self._failures.own
        if at > self.clock.now():
            return self.clock.call_at(at, lambda: self._deliver(own, number), own)
        self._deliver(own, number)
        return None

    def heed(self, number: signal.Signals) -> Callable[[], bool]:
        came = self._heeded[self._failures.own, number] = []
        return lambda: bool(came)

    def cancel(self, timer: object) -> None:
        if timer is not None:
            self._failures.loop.cancel(timer)

    def send(self, process: int, number: int = signal.SIGKILL) -> bool:
        rank = process - FIRST_ID
        if not 0 <= rank < len(self._failures.engines) or not self._failures.lives(rank):
            return False
        if number:
            self._deliver(rank, number)
        return True

    def _deliver(self, rank: int, number: int) -> None:
        if number == signal.SIGSTOP:
            self._stopped(rank)
            self._failures.stop(rank)
        elif number == signal.SIGCONT:
            self._failures.resume(rank)
        elif (rank, number) in self._heeded:
            self._heeded[rank, number].append(self._failures.now)
        else:
            self._failures.kill(rank)

    def state(self, process: int) -> str:
        rank = process - FIRST_ID
        if not self.exists(process):
            return ""
        return "T" if self._failures.engines[rank].held else "R"

    def later(self, at: float, act: Callable[[], None]) -> None:
        self.clock.call_at(at, act)

    def kill_daemon(self) -> None:
        """Do nothing: simulated ranks have no daemon."""
