"""Simulated and emulated ranks agree to the bit: in what a program returns, and in the clock of every rank."""

from __future__ import annotations

from functools import partial
from typing import Any

from mpi4py import MPI

import emulator
from emulator import sim
from emulator.network import Network
from tests.emulator.sim import random_programs
from tests.emulator.sim.programs import PROGRAMS, Program
from tests.ranks import on_ranks

NET = "10gbe"
COLLECTIVE = [name for name in PROGRAMS if name.startswith("all_reduce") or name in ("rooted", "unrooted", "mpi4py")]
"""Programs whose messages depend on the number of ranks: a power of two, odd, prime, more than twice of one."""


def apart(result: Any, clock: float) -> tuple[Any, list[float]]:
    """What a program computed on a rank, and its times."""
    return (result.values, [*result.times, clock]) if isinstance(result, random_programs.Seen) else (result, [clock])


def emulated_rows(comm: Any, program: Program, net: str | Network) -> list[Any] | None:
    """Run a program on emulated ranks; on rank 0 the result, the times and the inversions of each rank."""
    emulated = emulator.emulate(comm, net)
    result = program(emulated)
    rows: list[Any] | None = comm.gather((*apart(result, emulated.engine.clock.t), emulated.engine.inversions()))
    return rows


def agree(comm: Any, program: Program, net: str | Network = NET) -> bool:
    """Run a program on emulated ranks, and in rank 0 on as many simulated ones; whether their times could be compared.

    Without pacing a card serves messages of one instant in their physical order, which is no inversion. So where the
    times of both carriers differ the emulated run is repeated: one that does not repeat itself is no witness.
    """
    rows, same = emulated_rows(comm, program, net), None
    if rows is not None and not any(row[2] for row in rows):
        outcome = sim.run(program, comm.Get_size(), net)
        found = [apart(*one) for one in zip(outcome.results, outcome.clocks, strict=True)]
        assert [values for values, _ in found] == [row[0] for row in rows]
        same = [times for _, times in found] == [row[1] for row in rows]
    same = comm.bcast(same)
    if same is None:
        return False  # with inversions the emulated times depend on what the machine ran first
    if not same:
        again = emulated_rows(comm, program, net)
        assert again is None or rows is None or [row[1] for row in again] != [row[1] for row in rows]
    return same


@on_ranks(13, p=[2, 3, 5, 8, 13], name=COLLECTIVE)
def test_collectives(comm: Any, p: int, name: str) -> None:
    _on_the_first(comm, p, name)


@on_ranks(13, p=[2, 5, 8, 13], name=[name for name in PROGRAMS if name not in COLLECTIVE])
def test_patterns(comm: Any, p: int, name: str) -> None:
    _on_the_first(comm, p, name)


def _on_the_first(comm: Any, p: int, name: str) -> None:
    part = comm.Split(0 if comm.rank < p else MPI.UNDEFINED, comm.rank)
    if part != MPI.COMM_NULL:
        agree(part, PROGRAMS[name])
        part.Free()


@on_ranks(4)
def test_randomly_generated_programs(comm: Any) -> None:
    """How many seeds it takes until 25 runs had no inversion depends on how the machine runs the ranks."""
    seeds, compared = iter(range(600)), 0
    while compared < 25:
        compared += agree(comm, partial(random_programs.program, seed=next(seeds)))
