"""Arrivals can be known before anything is received, and without time passing."""

from __future__ import annotations

from typing import Any

import pytest

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
