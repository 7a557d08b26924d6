"""Simulated and emulated ranks agree to the bit: in what a program returns, and in the clock of every rank."""

from __future__ import annotations

from functools import partial
from typing import Any

from mpi4py import MPI

import emulator
from emulator import network, sim
from tests.emulator.sim import random_programs
from tests.emulator.sim.programs import PROGRAMS, Program
from tests.ranks import on_ranks

NET = "10gbe"


def agree(comm: Any, program: Program) -> bool:
    """Run a program on emulated ranks, and in rank 0 on as many simulated ones; whether they could be compared."""
    emulated = emulator.emulate(comm, network.load(NET))
    result = program(emulated)
    rows = comm.gather((result, emulated.engine.clock.t, emulated.engine.inversions()))
    if comm.Get_rank() != 0 or any(row[2] for row in rows):
        return False  # with inversions the emulated times depend on what the machine ran first
    outcome = sim.run(program, comm.Get_size(), NET)
    assert outcome.results == [row[0] for row in rows]
    assert outcome.clocks == [row[1] for row in rows]
    return True


@on_ranks(16, p=[2, 3, 5, 8, 13, 16], name=list(PROGRAMS))
def test_primitives(comm: Any, p: int, name: str) -> None:
    part = comm.Split(0 if comm.rank < p else MPI.UNDEFINED, comm.rank)
    if part != MPI.COMM_NULL:
        agree(part, PROGRAMS[name])
        part.Free()


@on_ranks(4)
def test_randomly_generated_programs(comm: Any) -> None:
    compared = [agree(comm, partial(random_programs.program, seed=seed)) for seed in range(60)]
    assert comm.Get_rank() or sum(compared) >= 15
