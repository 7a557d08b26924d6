"""Faults of the emulated network: cuts, slow ranks, weak cards, extra loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator.errors import UsageError
from tests.emulator.small_networks import ALPHA, BETA, plain
from tests.ranks import on_ranks

_world: list[Any] = []


def emulated() -> Any:
    if not _world:
        _world.append(emulator.emulate(MPI.COMM_WORLD, plain()))
    return _world[0]


def exactly(seconds: float) -> Any:
    return pytest.approx(seconds, rel=1e-9)


@on_ranks(4)
def test_a_cut_with_an_end_holds_messages_back(comm: MPI.Intracomm) -> None:
    """What crosses the cut arrives after it; what does not, in its time."""
    world = emulated()
    begin = world.align()
    world.network_state.cut([0, 1], [2, 3], until=begin + 2.0)
    size = 1000
    box = np.zeros(size, "B")
    for distance, expected in ((1, ALPHA + size * BETA), (2, 2.0 + ALPHA + size * BETA)):
        world.Sendrecv(box, world.rank ^ distance, 0, box, world.rank ^ distance, 0)
        assert world.now() - begin == exactly(expected)
    # After its end the cut is no longer felt.
    world.align()
    again = world.now()
    world.Sendrecv(box, world.rank ^ 2, 0, box, world.rank ^ 2, 0)
    assert world.now() - again == exactly(ALPHA + size * BETA)
    world.network_state.restore()


@on_ranks(4)
def test_a_cut_that_comes_and_goes_is_felt_within_its_windows_only(comm: MPI.Intracomm) -> None:
    """Nobody needs to do anything between two windows, however short they are."""
    world = emulated()
    begin = world.align()
    world.network_state.cut_at([0, 1], [2, 3], [(begin + 1.0, begin + 1.5), (begin + 2.0, begin + 2.5)])
    size = 1000
    box = np.zeros(size, "B")
    for leaves, held in ((0.0, 0.0), (1.2, 0.3), (1.7, 0.0), (2.4, 0.1), (3.0, 0.0)):
        world.compute(begin + leaves - world.now())
        world.Sendrecv(box, world.rank ^ 2, 0, box, world.rank ^ 2, 0)
        assert world.now() - begin == exactly(leaves + held + ALPHA + size * BETA)
    world.network_state.restore()


@on_ranks(4)
def test_a_cut_without_an_end_waits_to_be_healed(comm: MPI.Intracomm) -> None:
    world = emulated()
    begin = world.align()
    if world.rank == 0:
        world.network_state.cut([0], [1])
        for turn in range(3):
            world.isend(turn, 1, 5)
        world.Isend(np.full(300_000, 9, "B"), 1, 6)
        world.send("uncut", 2, 5)
        world.compute(1.0)
        world.network_state.heal()
    elif world.rank == 1:
        assert [world.recv(source=0, tag=5) for _ in range(3)] == [0, 1, 2]
        assert world.now() - begin >= 1.0 + ALPHA
        long = np.zeros(300_000, "B")
        world.Recv(long, 0, 6)
        assert (long == 9).all()
    elif world.rank == 2:
        assert world.recv(source=0, tag=5) == "uncut"
        assert world.now() - begin < 2 * ALPHA
    comm.Barrier()


@on_ranks(4)
def test_an_unreachable_rank_hears_nothing(comm: MPI.Intracomm) -> None:
    world = emulated()
    world.align()
    if world.rank == 0:
        world.network_state.cut([0], [1], lost=True)
        world.send("lost", 1, 6)
        world.network_state.restore()
        world.send("heard", 1, 6)
    elif world.rank == 1:
        assert world.recv(source=0, tag=6) == "heard"
    comm.Barrier()


@on_ranks(4)
def test_a_slow_rank_computes_longer(comm: MPI.Intracomm) -> None:
    world = emulated()
    begin = world.align()
    if world.rank == 3:
        world.network_state.slow(4.0)
    world.compute(0.1)
    assert world.now() - begin == exactly(0.4 if world.rank == 3 else 0.1)
    world.network_state.restore()
    world.compute(0.1)
    assert world.now() - begin == exactly(0.5 if world.rank == 3 else 0.2)


@on_ranks(4)
def test_a_weak_card_slows_both_directions(comm: MPI.Intracomm) -> None:
    """Only what goes through that card: at a tenth of the speed its bytes take ten times as long."""
    world = emulated()
    begin = world.align()
    size = 100_000
    box = np.zeros(size, "B")
    if world.rank == 0:
        world.network_state.weaken(0.1)
    world.Sendrecv(box, world.rank ^ 1, 0, box, world.rank ^ 1, 0)
    assert world.now() - begin == exactly(ALPHA + size * BETA * (10 if world.rank < 2 else 1))
    world.network_state.restore()
    begin = world.align()
    world.Sendrecv(box, world.rank ^ 1, 0, box, world.rank ^ 1, 0)
    assert world.now() - begin == exactly(ALPHA + size * BETA)


@on_ranks(4)
def test_extra_loss_costs_time_from_its_beginning(comm: MPI.Intracomm) -> None:
    world = emulated()
    begin = world.align()
    world.network_state.lose(0.5, since=begin + 1.0, rto=0.01)
    box = np.zeros(1000, "B")

    def rounds() -> float:
        before = world.now()
        for _ in range(20):
            world.Sendrecv(box, world.rank ^ 1, 0, box, world.rank ^ 1, 0)
        return world.now() - before

    assert rounds() == exactly(20 * (ALPHA + 1000 * BETA))
    world.compute(1.0)
    world.align()
    assert rounds() > 0.05
    world.network_state.lose(0.0)
    world.align()
    assert rounds() == exactly(20 * (ALPHA + 1000 * BETA))
    world.network_state.restore()


@on_ranks(2)
def test_nonsense_is_refused(comm: MPI.Intracomm) -> None:
    state = emulated().network_state
    for call, word in [
        (lambda: state.cut([0, 1], [1]), "common"), (lambda: state.slow(0), "> 0"), (lambda: state.weaken(2), "(0, 1]"),
        (lambda: state.lose(1.0), "[0, 1)"),
    ]:  # fmt: skip
        with pytest.raises(UsageError) as caught:
            call()
        assert word in str(caught.value)
