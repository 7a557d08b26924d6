"""Simulated and emulated ranks agree to the bit: in what a program returns, and in the clock of every rank."""

from __future__ import annotations

from functools import partial
from typing import Any

from mpi4py import MPI

from emulator.network import Network, load
from tests.emulator.sim import random_programs
from tests.emulator.sim.differences import NETWORKS, alike
from tests.emulator.sim.programs import PROGRAMS, Program
from tests.ranks import on_ranks

NET = "10gbe"
COLLECTIVE = [name for name in PROGRAMS if name.startswith("all_reduce") or name in ("rooted", "unrooted", "mpi4py")]
"""Programs whose messages depend on the number of ranks: powers of two, odd, one below and one above such a power."""


def agree(comm: Any, program: Program, net: str | Network = NET) -> bool:
    """Run a program on emulated ranks, and in rank 0 on as many simulated ones; whether they could be compared.

    Without pacing ranks run as the machine lets them. Where that has put no message out of order the results and the
    times must be the same, to the bit.
    """
    found = alike(comm, program, (load(net) if isinstance(net, str) else net).sized(comm.Get_size()))
    assert found is not False
    return found is not None


@on_ranks(8, p=[2, 3, 7, 8], name=COLLECTIVE)
def test_collectives(comm: Any, p: int, name: str) -> None:
    _on_the_first(comm, p, name)


@on_ranks(8, p=[2, 5, 8], name=[name for name in PROGRAMS if name not in COLLECTIVE])
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


@on_ranks(4, network=[name for name in NETWORKS if name != "one rank on each host"])
def test_randomly_generated_programs_that_share_cards_and_links(comm: Any, network: str) -> None:
    """`test_unpaced.py` says how many can be compared where the ranks run in the order of their time."""
    for seed in range(8):
        agree(comm, partial(random_programs.program, seed=seed), NETWORKS[network](4))
