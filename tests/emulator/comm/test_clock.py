"""When an operation is complete on a rank's own clock: sends, late receivers, compute, jitter."""

from __future__ import annotations

import sys
import time

import numpy as np
from mpi4py import MPI

import emulator
from emulator import carrier
from tests.emulator.clusters import emulated, exactly, story
from tests.emulator.small_networks import ALPHA, BETA, plain
from tests.ranks import on_ranks


@on_ranks(4)
def test_sends_complete_when_the_last_byte_has_left(comm: MPI.Intracomm) -> None:
    world = emulated()
    for size in (10, 500_000):
        box = np.zeros(size, "B")
        begin = world.align()
        if world.rank == 0:
            world.Send(box, 1)
            assert world.now() - begin == exactly(size * BETA)
            request = world.Isend(box, 1)
            assert world.now() - begin == exactly(size * BETA)
            request.Wait()
            assert world.now() - begin == exactly(2 * size * BETA)
        if world.rank == 1:
            for _ in range(2):
                world.Recv(box, 0)
            assert world.now() - begin == exactly(ALPHA + 2 * size * BETA)
        comm.Barrier()


@on_ranks(4)
def test_a_synchronous_send_waits_for_the_match_and_its_way_back(comm: MPI.Intracomm) -> None:
    world = emulated()
    begin = world.align()
    box = np.zeros(100, "B")
    if world.rank == 0:
        world.Ssend(box, 1)
        assert world.now() - begin == exactly(3e-3 + ALPHA)
        world.Ssend(box, 1)
        # The receive has been waiting: matched when the first byte arrives.
        assert world.now() - begin == exactly(3e-3 + 3 * ALPHA)
    if world.rank == 1:
        world.compute(3e-3)
        world.Recv(box, 0)
        world.Recv(box, 0)
    comm.Barrier()


@on_ranks(4)
def test_late_receivers_find_their_message(comm: MPI.Intracomm) -> None:
    """A receive after the arrival takes no time; a computing receiver delays nobody but itself."""
    world = emulated()
    begin = world.align()
    box = np.zeros(1000, "B")
    if world.rank == 0:
        world.Send(box, 1)
    if world.rank == 1:
        world.compute(0.25)
        world.Recv(box, 0)
        assert world.now() - begin == exactly(0.25)
    comm.Barrier()


@on_ranks(4)
def test_measured_compute_is_this_threads_own(comm: MPI.Intracomm) -> None:
    """CPU time counts, and no other, times the slowdown of the host."""
    world = emulated("plain measured", compute="measured")
    world.align()
    before = time.thread_time()
    begin, used = world.now(), time.thread_time()
    while time.thread_time() - used < 0.05:
        pass
    spent = world.now() - begin
    assert 0.05 <= spent <= time.thread_time() - before
    world.network_state.slow(10.0)
    begin = world.now()
    world.compute(0.1)
    assert world.now() - begin >= 1.0
    world.network_state.restore()


@on_ranks(4)
def test_what_the_choice_of_an_algorithm_takes_is_not_charged(comm: MPI.Intracomm) -> None:
    """Not the first time either, when the formulas of the prices are imported."""
    world = emulated("plain measured", compute="measured")
    found = world.slowest_path

    def slowly() -> tuple[float, float]:
        used = time.thread_time()
        while time.thread_time() - used < 0.2:
            pass
        return found()

    world.slowest_path = slowly  # type: ignore[method-assign]
    world.align()
    begin = world.now()
    assert carrier.of(world).terms() == found()
    assert world.now() - begin < 0.1
    assert "emulator.costs.registry" in sys.modules
    del world.slowest_path
    comm.Barrier()


@on_ranks(4)
def test_one_seed_gives_the_same_bits(comm: MPI.Intracomm) -> None:
    """Jitter and loss are drawn by message, not by moment: no scheduling changes a digit."""
    worlds = [emulator.emulate(MPI.COMM_WORLD, emulated("jitter").engine.network, seed=seed) for seed in (7, 7, 8)]
    worlds.append(emulator.emulate(MPI.COMM_WORLD, plain()))
    first, again, other, steady = (story(world) for world in worlds)
    assert first == again
    assert first != other
    assert all(a > b for a, b in zip(first[5:], steady[5:], strict=True))
    assert worlds[0].fidelity()["inversions"] == 0


@on_ranks(4)
def test_jitter_lets_nothing_overtake(comm: MPI.Intracomm) -> None:
    world = emulated("jitter")
    if world.rank == 1:
        for turn in range(200):
            world.send(turn, 0)
    if world.rank == 0:
        seen = [(world.now(), world.recv(source=1)) for _ in range(200)]
        assert seen == sorted(seen)
        assert [turn for _, turn in seen] == list(range(200))
    comm.Barrier()
