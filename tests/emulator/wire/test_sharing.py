"""Cards and links that several messages want: one after another, in the order of their arrival."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

import emulator
from tests.emulator.clusters import emulated, exactly, took
from tests.emulator.small_networks import ALPHA, BETA, plain
from tests.ranks import on_ranks


@on_ranks(4)
def test_ranks_of_one_host_share_its_card(comm: MPI.Intracomm) -> None:
    """Two ranks send to two of another host: one card out, one in, twice the time; the loopback is free."""
    pairs = emulated("pairs")
    size = 100_000
    box = np.zeros(size, "B")

    def across() -> None:
        if pairs.rank < 2:
            pairs.Send(box, pairs.rank + 2)
        else:
            pairs.Recv(box, pairs.rank - 2)

    assert took(pairs, across) == exactly(ALPHA + 2 * size * BETA)
    within = took(pairs, lambda: pairs.Sendrecv(box, pairs.rank ^ 1, 0, box.copy(), pairs.rank ^ 1, 0))
    assert within == exactly(ALPHA / 100 + size * BETA / 10)
    assert pairs.Split_type(MPI.COMM_TYPE_SHARED).size == 2


@on_ranks(8)
def test_a_rack_shares_its_uplink(comm: MPI.Intracomm) -> None:
    """Four hosts send to four of another rack: the uplink of half their cards' speed takes them in turn."""
    racks = emulated("racks")
    size = 50_000
    box = np.zeros(size, "B")

    def across() -> None:
        if racks.rank < 4:
            racks.Send(box, racks.rank + 4)
        else:
            racks.Recv(box, racks.rank - 4)

    way = racks.engine.network.path(0, 4)
    assert len(way.links) == 2
    assert took(racks, across) == exactly(way.alpha + 4 * size * 2 * BETA)


@on_ranks(4)
def test_ingress_is_served_in_order_of_arrival(comm: MPI.Intracomm) -> None:
    """A message that starts later waits for one that started earlier, whichever is received first."""
    world = emulated()
    size = 1_000_000
    box = np.zeros(size, "B")
    world.align()
    begin = world.now()
    if world.rank in (1, 2):
        if world.rank == 1:
            world.compute(100e-6)
        request = world.Isend(box, 0)
    comm.Barrier()  # both are physically on their way
    if world.rank == 0:
        world.engine.progress()
        world.Recv(box, 1)
        assert world.now() - begin == exactly(ALPHA + 2 * size * BETA)
        world.Recv(box, 2)
        assert world.now() - begin == exactly(ALPHA + 2 * size * BETA)
    elif world.rank < 3:
        request.Wait()
    comm.Barrier()


@on_ranks(4)
def test_who_arrives_at_the_same_time_is_heard_in_the_order_of_the_ranks(comm: MPI.Intracomm) -> None:
    """Whoever was physically first."""
    world = emulated()
    for _ in range(20):
        world.align()
        if world.rank:
            world.send(world.rank, 0)
        comm.Barrier()
        if world.rank == 0:
            assert [world.recv() for _ in range(3)] == [1, 2, 3]
        comm.Barrier()


@on_ranks(4)
def test_align_makes_all_clocks_equal_and_all_cards_idle(comm: MPI.Intracomm) -> None:
    world = emulated()
    world.compute(0.1 * world.rank)
    box = np.zeros(10_000_000, "B")
    if world.rank == 0:
        request = world.Isend(box, 1, 8)  # the card is busy until it has left
    times = comm.allgather(world.align())
    assert len(set(times)) == 1
    assert times[0] >= 10_000_000 * BETA
    if world.rank == 0:
        request.Wait()
    if world.rank == 1:
        world.Recv(box, 0, 8)
    comm.Barrier()


@on_ranks(4)
def test_traffic_and_fidelity(comm: MPI.Intracomm) -> None:
    world = emulator.emulate(MPI.COMM_WORLD, plain())
    if world.rank == 0:
        world.Send(np.zeros(1000, "B"), 1)
        world.Send(np.zeros(3000, "B"), 2)
    elif world.rank < 3:
        world.Recv(np.zeros(3000, "B"), 0)
    traffic = world.traffic()
    assert (traffic.messages, traffic.bytes) == (2, 4000)
    assert traffic.pairs == {(0, 1): (1, 1000), (0, 2): (1, 3000)}
    assert traffic.busiest is not None
    assert (traffic.busiest.name, traffic.busiest.busy) == ("h0 out", exactly(4000 * BETA))
    fidelity = world.fidelity()
    assert fidelity["inversions"] == 0
    assert fidelity["pace"] is None
    assert fidelity["words"] is None
