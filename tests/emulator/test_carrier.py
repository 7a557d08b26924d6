"""Arrivals can be known before anything is received, and without time passing."""

from __future__ import annotations

from typing import Any

import pytest
from mpi4py import MPI

import emulator
from emulator import carrier
from emulator.core.wall_clock import wait_until
from tests.ranks import on_ranks

ALPHA, BETA = 20e-6, 8 / 9.41e9  # the preset 10gbe
SIZE = 10_000


@on_ranks(3, net="10gbe", emulation={"pace": "none"})
def test_arrivals_in_emulated_time(comm: Any) -> None:
    """Two messages queue at the receiver's card; neither look nor wait moves its clock, the receives do."""
    comm.align()
    start, rank = comm.now(), comm.Get_rank()
    assert carrier.of(comm).ordered
    if rank:
        emulator.compute(comm, 1e-3 if rank == 1 else 1e-3 + 2e-6)  # the second arrives while the first is taken in
        comm.Send(bytearray(SIZE), 0, tag=5)
        return
    assert wait_until(lambda: len(carrier.of(comm).arrivals([1, 2], 5)) == 2, timeout=30)
    there = carrier.of(comm).arrivals([1, 2], 5)
    assert comm.now() == start
    first = 1e-3 + ALPHA + SIZE * BETA
    assert there[1] - start == pytest.approx(first)
    assert there[2] - start == pytest.approx(first + SIZE * BETA)
    assert carrier.of(comm).arrivals([1, 2], 6) == {}
    for source in (1, 2):
        comm.Recv(bytearray(SIZE), source, tag=5)
        assert comm.now() == there[source]
    carrier.of(comm).advance(there[1])
    assert comm.now() == there[2]
    carrier.of(comm).advance(there[2] + 1.0)
    assert comm.now() == there[2] + 1.0


@on_ranks(2)
def test_a_bare_communicator_is_not_unpaced(comm: Any) -> None:
    assert not carrier.of(comm).ordered


@on_ranks(2, net="10gbe", emulation={"pace": 2.0})
def test_a_paced_one_is_not_either(comm: Any) -> None:
    assert not carrier.of(comm).ordered


@on_ranks(3, net="10gbe", emulation={"pace": "none"})
def test_the_earliest_is_the_first_in_emulated_time(comm: Any) -> None:
    """Rank 1's message is physically here first and arrives last; a deadline before both comes as soon as certain."""
    start = comm.align()
    mine = carrier.of(comm)
    if comm.Get_rank():
        if comm.Get_rank() == 2:
            comm.Recv(bytearray(1), 0, tag=6)
        emulator.compute(comm, 2e-3 if comm.Get_rank() == 1 else start + 1e-3 - comm.now())
        comm.Send(bytearray(8), 0, tag=5)
        return
    assert mine.wait_until(lambda: bool(mine.arrivals([1], 5)))
    assert mine.earliest([1, 2], 5, patience_s=0) is None  # rank 2 owes one: nobody can tell
    comm.Isend(bytearray(1), 2, tag=6)
    assert mine.earliest([1, 2], 5, until=start + 0.5e-3) is None
    assert comm.now() == start + 0.5e-3
    for source in (2, 1):
        assert mine.earliest([1, 2], 5, owing=[1, 2] if source == 2 else [1]) == source
        comm.Recv(bytearray(8), source, tag=5)


@on_ranks(3, net="10gbe", emulation={"pace": "none"})
def test_who_is_silent_is_not_waited_for_for_ever(comm: Any) -> None:
    if comm.Get_rank() == 1:
        comm.Send(bytearray(8), 0, tag=5)
    if comm.Get_rank() == 0:
        silent: set[int] = set()
        assert carrier.of(comm).earliest([1, 2], 5, silence_s=0.02, silent=silent) == 1
        assert silent == {2}
        comm.Recv(bytearray(8), 1, tag=5)
        assert carrier.of(comm).earliest([1, 2], 5, until=comm.now() + 1, silence_s=0.02, silent=silent) is None
        comm.Send(bytearray(8), 2, tag=6)
        assert carrier.of(comm).earliest([2], 5, silent=silent, owing=[2]) == 2
        assert not silent - {1}
        comm.Recv(bytearray(8), 2, tag=5)
    if comm.Get_rank() == 2:
        comm.Recv(bytearray(8), 0, tag=6)
        comm.Send(bytearray(8), 0, tag=5)


@on_ranks(3)
def test_on_mpi_itself_the_earliest_is_what_is_delivered(comm: Any) -> None:
    mine = carrier.of(comm)
    if comm.Get_rank() == 2:
        comm.Send(bytearray(8), 0, tag=5)
    if comm.Get_rank() == 0:
        assert mine.earliest([1, 2], 5) == 2
        assert mine.earliest([MPI.ANY_SOURCE], 5) == 2
        comm.Recv(bytearray(8), 2, tag=5)
        assert mine.earliest([1, 2], 5, until=mine.now() + 1e-3) is None
        assert mine.earliest([1, 2], 5, patience_s=0) is None
