"""The starter of simulated ranks: it puts each on the host of its place in the running job, after a given time.

What follows is the policy's own code: they say that they are ready, are called, connect, merge and get the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from emulator.core.operations import Operation
from emulator.sim.failures import Failures
from faults.recover.replacements.admission import Starter


class SimulatedNewcomers(Operation):
    """Ranks started into the simulation, and the operation for which they wait.

    See `faults.recover.replacements.admission.Started`.

    Parameters
    ----------
    ranks : the new ones

    Attributes
    ----------
    source : the rank that has started them
    """

    launched = True

    def __init__(self, failures: Failures, ranks: Sequence[int]) -> None:
        self._failures, self._ranks = failures, ranks
        self.source = failures.own
        self._waiting: set[int] = set()
        self._port, self._closed = "", False

    def ready(self) -> bool:
        if not self._failures.died.keys().isdisjoint(self._ranks):
            raise MPI.Exception(MPI.ERR_SPAWN)
        return len(self._waiting) == len(self._ranks)

    def call(self) -> str:
        self._port = self._failures.open_port(self.source, self._ranks)
        self._failures.wake(self._waiting)
        return self._port

    def close(self) -> None:
        self._closed = True
        self._failures.wake(self._waiting)

    def poll(self) -> bool:
        return bool(self._port) or self._closed or self.source in self._failures.known

    def wait(self) -> str:
        """Wait as one of the new ranks to be called; returns the port, empty if the call will not come."""
        own = self._failures.own
        self._waiting.add(own)
        engine = self._failures.engines[own]
        engine.wait(self)
        engine.hold(engine.loop.now)
        return self._port


class SimulatedStarter(Starter):
    """Starts ranks in the running simulation.

    Parameters
    ----------
    program : what each of them runs, called with the communicator of those that are started together
    world : ranks that the job began with
    start_s : seconds until a new rank begins its program
    """

    onto_network = True

    def __init__(self, failures: Failures, program: Callable[[Any], None], world: int, start_s: float) -> None:
        self._failures, self._program, self._world, self._start_s = failures, program, world, start_s
        self._newcomers: dict[int, SimulatedNewcomers] = {}

    @property
    def spawned(self) -> bool:
        return self._failures.own >= self._world

    def start(self, places: Sequence[int]) -> SimulatedNewcomers:
        failures = self._failures
        hosts = [failures.engines[place].host for place in places]
        ranks = failures.start(self._program, hosts, failures.now + self._start_s)
        newcomers = SimulatedNewcomers(failures, ranks)
        self._newcomers.update(dict.fromkeys(ranks, newcomers))
        return newcomers

    def called(self) -> str:
        return self._newcomers[self._failures.own].wait()
