"""Emulated time to the digit: whatever the machine is busy with, messages take what the network says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator.comm import automatic
from emulator.network.jitter import Exponential
from emulator.network.loss import Loss
from emulator.network.topology import Racks
from tests.emulator.small_networks import ALPHA, BETA, plain
from tests.ranks import on_ranks

RANKS = [2, 3, 5, 8, 16]
SIZES = [0, 1, 777, 100_003, 300_001]
_made: dict[Any, Any] = {}


def emulated(key: str = "plain", **options: Any) -> Any:
    """An emulated world, made once for each kind."""
    if key not in _made:
        network = {
            "plain": lambda: plain(),
            "gap": lambda: plain(gap=1e-3),
            "pairs": lambda: plain(per_host=2),
            "racks": lambda: plain(topology=Racks(4, 2 * BETA, 1e-3)),
            "jitter": lambda: plain(jitter=Exponential(30e-6), loss=Loss(0.02, rto=0.01)),
        }[key.split()[0]]()
        _made[key] = emulator.emulate(MPI.COMM_WORLD, network, **options)
    return _made[key]


def part(comm: Any, p: int) -> Any:
    """The first `p` ranks; None on the others."""
    sub = comm.Split(0 if comm.rank < p else MPI.UNDEFINED, comm.rank)
    return None if sub == MPI.COMM_NULL else sub


def took(comm: Any, function: Any) -> float:
    """Emulated seconds from the common start to the last rank's end."""
    start = comm.align()
    function()
    end = comm.now()
    assert comm.align() >= end
    return comm._real.allreduce(end, MPI.MAX) - start


def exactly(seconds: float) -> Any:
    return pytest.approx(seconds, rel=1e-9, abs=1e-15)


@on_ranks(16, p=RANKS, size=SIZES)
def test_ring(comm: MPI.Intracomm, p: int, size: int) -> None:
    sub = part(emulated(), p)
    if sub is None:
        return
    out, box = np.full(size, sub.rank, "B"), np.zeros(size, "B")

    def ring() -> None:
        for _ in range(p - 1):
            sub.Sendrecv(out, (sub.rank + 1) % p, 0, box, (sub.rank - 1) % p, 0)

    assert took(sub, ring) == exactly((p - 1) * (ALPHA + size * BETA))
    assert (box == (sub.rank - 1) % p).all()


@on_ranks(16, p=RANKS, size=SIZES)
def test_ring_of_persistent_requests_with_uneven_blocks(comm: MPI.Intracomm, p: int, size: int) -> None:
    """The largest block sets the pace, one step at a time."""
    sub = part(emulated(), p)
    if sub is None:
        return
    blocks = [size + 11 * rank for rank in range(p)]
    out, box = np.zeros(max(blocks), "B"), np.zeros(max(blocks), "B")
    right, left = (sub.rank + 1) % p, (sub.rank - 1) % p

    def ring() -> None:
        for step in range(p - 1):
            given = [out, blocks[(sub.rank - step) % p], MPI.BYTE]
            requests = [sub.Send_init(given, right), sub.Recv_init(box, left)]
            MPI.Prequest.Startall(requests)
            MPI.Request.Waitall(requests)

    # The chain that carries the largest block all the way round is the slowest from its first step on.
    assert took(sub, ring) == exactly((p - 1) * (ALPHA + max(blocks) * BETA))


@on_ranks(16, p=[2, 4, 8, 16], size=SIZES)
def test_recursive_doubling(comm: MPI.Intracomm, p: int, size: int) -> None:
    sub = part(emulated(), p)
    if sub is None:
        return
    out, box = np.zeros(size, "B"), np.zeros(size, "B")

    def doubling() -> None:
        for bit in range(p.bit_length() - 1):
            peer = sub.rank ^ (1 << bit)
            receive = sub.Irecv(box, peer)
            send = sub.Isend(out, peer)
            MPI.Request.Waitall([send, receive])

    assert took(sub, doubling) == exactly((p.bit_length() - 1) * (ALPHA + size * BETA))


@on_ranks(16, p=RANKS, size=SIZES)
def test_incast(comm: MPI.Intracomm, p: int, size: int) -> None:
    """Everybody sends to one: the latency is paid once, the receiver's card takes the bytes one after another."""
    sub = part(emulated(), p)
    if sub is None:
        return
    boxes = np.zeros((p, size), "B")

    def incast() -> None:
        if sub.rank:
            sub.Send(np.full(size, sub.rank, "B"), 0)
        else:
            MPI.Request.Waitall([sub.Irecv(boxes[rank], rank) for rank in range(1, p)])

    assert took(sub, incast) == exactly(ALPHA + (p - 1) * size * BETA)
    assert all((boxes[rank] == rank).all() for rank in range(1, p) if sub.rank == 0)


@on_ranks(16, p=RANKS, size=SIZES)
def test_linear_scatter(comm: MPI.Intracomm, p: int, size: int) -> None:
    """One sends to everybody: its card sends the bytes one after another."""
    sub = part(emulated(), p)
    if sub is None:
        return

    def scatter() -> None:
        if sub.rank == 0:
            for rank in range(1, p):
                sub.Send(np.zeros(size, "B"), rank)
        else:
            sub.Recv(np.zeros(size, "B"), 0)

    assert took(sub, scatter) == exactly(ALPHA + (p - 1) * size * BETA)


@on_ranks(16, p=RANKS)
def test_gap(comm: MPI.Intracomm, p: int) -> None:
    """Small messages leave no faster than the card's gap allows."""
    sub = part(emulated("gap"), p)
    if sub is None:
        return

    def scatter() -> None:
        requests = [sub.isend(None, rank) for rank in range(1, p)] if sub.rank == 0 else []
        if sub.rank:
            sub.recv(source=0)
        MPI.Request.waitall(requests)

    nothing = len(MPI.pickle.dumps(None))
    assert took(sub, scatter) == exactly((p - 2) * 1e-3 + ALPHA + nothing * BETA)


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
    """CPU time counts, times the slowdown of the host; sleeping and emulating do not."""
    import time

    world = emulated("plain measured", compute="measured")
    world.align()
    begin, used = world.now(), time.thread_time()
    time.sleep(0.2)
    while time.thread_time() - used < 0.05:
        pass
    spent = world.now() - begin
    assert 0.05 <= spent < 0.15, spent
    world.network_state.slow(10.0)
    begin = world.now()
    world.compute(0.1)
    assert world.now() - begin >= 1.0
    world.network_state.restore()


def _story(world: Any) -> list[float]:
    """Messages of many sizes around a ring, so that no card has two to choose from; what time it was after each."""
    times = []
    box = np.zeros(200_000, "B")
    for turn in range(40):
        out = box[: turn * 97 if turn % 8 else 150_000]
        world.Sendrecv(out, (world.rank + 1) % world.size, 0, box, (world.rank - 1) % world.size, 0)
        times.append(world.now())
    return times


@on_ranks(4)
def test_one_seed_gives_the_same_bits(comm: MPI.Intracomm) -> None:
    """Jitter and loss are drawn by message, not by moment: no scheduling changes a digit."""
    worlds = [emulator.emulate(MPI.COMM_WORLD, emulated("jitter").engine.network, seed=seed) for seed in (7, 7, 8)]
    worlds.append(emulator.emulate(MPI.COMM_WORLD, plain()))
    first, again, other, steady = (_story(world) for world in worlds)
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


@on_ranks(4)
def test_a_paced_run_has_the_same_emulated_time(comm: MPI.Intracomm) -> None:
    """Pacing holds results back and changes none of them; it never returns one early."""
    import time

    free, paced = (emulator.emulate(MPI.COMM_WORLD, plain(), pace=pace) for pace in ("none", 20))
    starts = [world.align() for world in (free, paced)]
    begin = time.perf_counter()
    stories = [[t - start for t in _story(world)] for world, start in zip((free, paced), starts, strict=True)]
    assert stories[0] == pytest.approx(stories[1], rel=1e-9)
    assert time.perf_counter() - begin >= 20 * stories[1][-1]
    fidelity = paced.fidelity()
    assert fidelity["pace"] == 20
    assert 0 <= fidelity["overrun_share"] <= 1
    assert fidelity["late_p99"] >= fidelity["late_p50"] >= 0


@on_ranks(4)
def test_an_automatic_pace_is_one_number_for_all(comm: MPI.Intracomm) -> None:
    world = emulator.emulate(MPI.COMM_WORLD, plain(alpha=2e-3), pace="auto")
    paces = comm.allgather(world.fidelity()["pace"])
    assert len(set(paces)) == 1
    assert paces[0] > 0
    assert world.traffic().messages == 0
    begin = world.align()
    assert begin == 0.0
    world.sendrecv(1, world.rank ^ 1, source=world.rank ^ 1)
    assert world.now() == exactly(2e-3 + len(MPI.pickle.dumps(1)) * BETA)


@on_ranks(4)
def test_an_automatic_pace_ends_somewhere_and_says_so(comm: MPI.Intracomm) -> None:
    """A latency of a nanosecond is not kept at any pace."""
    world = emulator.emulate(MPI.COMM_WORLD, plain(alpha=1e-9), pace="auto")
    assert world.engine.pacer.pace == automatic.SLOWEST
    assert world.notice is not None
    assert "--pace auto stops at 20" in world.notice


@on_ranks(4)
def test_any_source_takes_the_earliest_when_paced(comm: MPI.Intracomm) -> None:
    """The message that arrives first in emulated time is first, whichever was physically sent first."""
    world = emulator.emulate(MPI.COMM_WORLD, plain(alpha=20e-3), pace=10)
    begin = world.align()
    if world.rank:
        # Rank 3 is the first in emulated time, rank 1 the last.
        world.engine.clock.t = begin + (3 - world.rank) * 0.5e-3
        world.send(world.rank, 0)
    else:
        assert [world.recv() for _ in range(3)] == [3, 2, 1]
    comm.Barrier()


@on_ranks(4)
def test_polling_sees_time_pass_when_paced(comm: MPI.Intracomm) -> None:
    """A timeout by the emulated clock ends, though no message ever comes."""
    world = emulator.emulate(MPI.COMM_WORLD, plain(), pace=5)
    begin = world.now()
    request = world.irecv(source=world.rank ^ 1, tag=77)
    while world.now() - begin < 5e-3:
        assert not request.test()[0]
        assert not world.Iprobe(tag=78)
    request.Cancel()
    request.wait()


@on_ranks(4)
def test_a_usage_error_on_rank_0_is_everybodys(comm: MPI.Intracomm) -> None:
    from emulator.errors import UsageError

    with pytest.raises(UsageError, match="no-such-network"):
        emulator.emulate(MPI.COMM_WORLD, "no-such-network")
    with pytest.raises(UsageError, match="pace"):
        emulator.emulate(MPI.COMM_WORLD, plain(), pace=-1)
    with pytest.raises(UsageError, match="compute"):
        emulator.emulate(MPI.COMM_WORLD, plain(), compute="some")
    with pytest.raises(UsageError, match="once"):
        emulator.emulate(emulated(), plain())
