"""Simulated and emulated ranks agree to the bit: in what a program returns, and in the clock of every rank."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

import emulator
from emulator import network, sim
from tests.emulator.sim.programs import PROGRAMS
from tests.ranks import on_ranks

NET = "10gbe"


@on_ranks(16, name=list(PROGRAMS), p=[2, 3, 4, 5, 8, 13, 16])
def test_the_same_as_emulated(comm: Any, name: str, p: int) -> None:
    part = comm.Split(0 if comm.rank < p else MPI.UNDEFINED, comm.rank)
    if part == MPI.COMM_NULL:
        return
    emulated = emulator.emulate(part, network.load(NET))
    result = PROGRAMS[name](emulated)
    rows = part.gather((result, emulated.engine.clock.t, emulated.engine.inversions()))
    part.Free()
    if comm.rank == 0:
        outcome = sim.run(PROGRAMS[name], p, NET)
        assert outcome.results == [row[0] for row in rows]
        if not any(row[2] for row in rows):  # with inversions the emulated times depend on the machine
            assert outcome.clocks == [row[1] for row in rows]
