"""Thousands of ranks in one process and in simulated time: `run`, phantom payloads, deadlock reports.

::

    from emulator import sim

    outcome = sim.run(program, 1024, "100gbe")    # program(comm) is an ordinary mpi4py program
    outcome.results[0], outcome.seconds
"""

from __future__ import annotations

from emulator.sim.collectives.phantom import PhantomRead, ignore, phantom
from emulator.sim.communicator import SimulatedComm
from emulator.sim.deadlock import DeadlockError
from emulator.sim.run import Outcome, run

__all__ = ["DeadlockError", "Outcome", "PhantomRead", "SimulatedComm", "ignore", "phantom", "run"]
