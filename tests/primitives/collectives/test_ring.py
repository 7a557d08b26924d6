"""The ring against its own description: which block ends where, summed in which order, with which messages."""

import functools

import numpy as np
import pytest
from mpi4py import MPI

from emulator import carrier
from emulator.errors import UsageError
from primitives.blocks import Blocks, counts, cut, split
from primitives.collectives import ring
from tests.primitives.groups import GROUPS, group, noise, same_bits, sizes, values
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks

SEGMENTS = [None, 0, 24, 1000]
SCRATCH_BYTES = ring.SCRATCH_BYTES, ring.EMULATED_SCRATCH_BYTES


@functools.cache  # every rank asks for the same again and again
def expected(p, n):
    """The sum in the order that the ring promises, block by block: from the rank behind it round to its own."""
    given = [split(noise(rank, n), p) for rank in range(p)]
    return np.concatenate([sum_from_behind(given, block) for block in range(p)])


def sum_from_behind(given, block):
    total = given[(block + 1) % len(given)][block]
    for step in range(2, len(given) + 1):
        total = given[(block + step) % len(given)][block] + total
    return total


def summed(p, n, block):
    """One block of it."""
    return split(expected(p, n), p)[block]


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [1, 4, 5]}, p=GROUPS, segment=SEGMENTS, in_place=[False, True])
def test_all_reduce_sums_in_the_promised_order(comm, p, segment, in_place):
    with group(comm, p) as part:
        for n in [*sizes(p), 2003] if part else []:
            send = noise(part.rank, n)
            recv = send if in_place else np.full(n, np.nan)
            plan = ring.AllReduce(part, send, recv, np.add, segment)
            plan.run()
            plan.free()
            assert np.array_equal(recv, expected(p, n))
            assert in_place or np.array_equal(send, noise(part.rank, n))
            assert same_bits(part, recv)


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS, segments=[1, 2, 5])
def test_reduce_scatter_leaves_each_block_on_its_rank(comm, p, segments):
    with group(comm, p) as part:
        for n in [*sizes(p), 2003] if part else []:
            send, own = noise(part.rank, n), np.full(counts(n, p)[part.rank], np.nan)
            plan = ring.ReduceScatter(part, split(send, p), own, np.add, segments)
            plan.run()
            plan.free()
            assert np.array_equal(own, summed(p, n, part.rank))
            assert np.array_equal(send, noise(part.rank, n))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS, segments=[1, 2, 5])
def test_all_gather_of_uneven_blocks(comm, p, segments):
    with group(comm, p) as part:
        if not part:
            return
        lengths = [(7 * rank + 3) % 5 * 10 for rank in range(p)]
        recv = np.full(sum(lengths), -1.0)
        blocks = cut(recv, lengths)
        blocks[part.rank][:] = values(part.rank, lengths[part.rank], "f8")
        plan = ring.AllGather(part, blocks, segments)
        plan.run()
        plan.free()
        assert np.array_equal(recv, np.concatenate([values(rank, lengths[rank], "f8") for rank in range(p)]))


@on_ranks(4, length=[(3 << 20) // 8 + 5, (9 << 20) // 8 + 1], in_place=[False, True])
def test_long_arrays_in_automatic_segments(comm, length, in_place):
    send = noise(comm.rank, length, "f8")
    recv = send if in_place else np.empty(length)
    plan = ring.AllReduce(comm, send, recv, np.add)
    for _ in range(2):
        send[:] = noise(comm.rank, length, "f8")
        plan.run()
        assert np.array_equal(recv, expected(4, length))
    plan.free()


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [3]}, p=[2, 3, 16], segment=[0, 64])
def test_a_plan_runs_again_on_new_data(comm, p, segment):
    with group(comm, p) as part:
        if not part:
            return
        send, recv = np.zeros(50), np.zeros(50)
        plan = ring.AllReduce(part, send, recv, np.add, segment)
        for round_ in range(30):
            send[:] = noise(part.rank + round_, 50)
            plan.run()
            assert np.allclose(recv, sum(noise(rank + round_, 50) for rank in range(p)), rtol=1e-9, atol=1e-9)
            assert same_bits(part, recv)
        plan.free()


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [1, 5]}, p=GROUPS, segment=[0, 40])
def test_bit_by_bit_gives_the_same(comm, p, segment):
    with group(comm, p) as part:
        if not part:
            return
        recv = np.empty(301)
        plan = ring.AllReduce(part, noise(part.rank, 301), recv, np.add, segment).start()
        steps = 0
        while not plan.test():
            steps += 1
        assert plan.test()  # and it stays complete
        assert np.array_equal(recv, expected(p, 301))
        plan.start()
        plan.wait()
        assert np.array_equal(recv, expected(p, 301))
        plan.free()
        plan.free()


@on_ranks(4)
def test_the_phases_are_announced(comm):
    seen = []

    class Listener(carrier.Instrument):
        def phase(self, name, **info):
            seen.append(name)

    listener = Listener()
    carrier.of(comm).instruments.append(listener)
    part = comm.Dup()  # a duplicate shares the list
    try:
        for where in (comm, part):
            plan = ring.AllReduce(where, np.ones(9), np.empty(9), np.add)
            plan.run()
            plan.free()
    finally:
        part.Free()
        carrier.of(comm).instruments.remove(listener)
    assert seen == 2 * ["reduce_scatter", "all_gather"]


class Counting:
    """A communicator that counts the messages laid out on it."""

    def __init__(self, comm):
        self.comm, self.carrier, self.sent, self.received = comm, carrier.of(comm), [], []

    def __getattr__(self, name):
        return getattr(self.comm, name)

    def Send_init(self, buffer, target, tag):
        self.sent.append((target, buffer[0].nbytes))
        return self.comm.Send_init(buffer, target, tag)

    def Recv_init(self, buffer, source, tag):
        self.received.append((source, buffer[0].nbytes))
        return self.comm.Recv_init(buffer, source, tag)


@on_simulated_ranks(16, p=GROUPS, segment=[0, 16])
def test_messages_are_the_textbooks(comm, p, segment):
    with group(comm, p) as part:
        if not part:
            return
        counting, n = Counting(part), 10 * p + 3 % p
        plan = ring.AllReduce(counting, np.ones(n), np.empty(n), np.add, segment)
        plan.run()
        plan.free()
        per_block = -(-(8 * -(-n // p)) // segment) if segment else 1
        assert len(counting.sent) == len(counting.received) == 2 * (p - 1) * per_block
        assert {target for target, _ in counting.sent} <= {(part.rank + 1) % p}
        assert {source for source, _ in counting.received} <= {(part.rank - 1) % p}
        lengths = counts(8 * n // 8, p)
        sent = sum(size for _, size in counting.sent)
        # Everything but one's own block in the first phase, and but the next rank's in the second.
        assert sent == 8 * (2 * n - lengths[part.rank] - lengths[(part.rank + 1) % p])


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [3, 5]}, p=[2, 3, 5, 16], segments=[1, 4], slots=[1, 7, 100])
def test_places_that_take_turns(comm, p, segments, slots):
    with group(comm, p) as part:
        if not part:
            return
        ring.SCRATCH_BYTES = ring.EMULATED_SCRATCH_BYTES = slots * 8 * 10
        try:
            n = p * segments * 10
            for _ in range(3):
                own = np.full(n // p, np.nan)
                plan = ring.ReduceScatter(part, split(noise(part.rank, n), p), own, np.add, segments)
                plan.run()
                assert np.array_equal(own, summed(p, n, part.rank))
                plan.run()
                assert np.array_equal(own, summed(p, n, part.rank))
                plan.free()
        finally:
            ring.SCRATCH_BYTES, ring.EMULATED_SCRATCH_BYTES = SCRATCH_BYTES


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=[1, 2, 3, 5, 16], segment=[0, 40], in_place=[False, True])
def test_requests_made_in_each_run_are_those_that_are_kept(comm, p, segment, in_place):
    with group(comm, p) as part:
        if not part:
            return
        times = []
        for most in (64, 0):
            ring.EMULATED_KEPT = most
            try:
                send = noise(part.rank, 301)
                recv = send if in_place else np.empty(301)
                plan = ring.AllReduce(part, send, recv, np.add, segment)
            finally:
                ring.EMULATED_KEPT = 64
            assert all(phase.keeps == (most > 0 or not carrier.of(part).timed) for phase in plan._phases)
            for _ in range(2):
                send[:] = noise(part.rank, 301)
                begin = carrier.of(part).align()
                plan.run()
                times.append(carrier.of(part).now() - begin)
                assert np.array_equal(recv, expected(p, 301))
            plan.free()
        if carrier.of(part).timed:
            assert times == pytest.approx([times[0]] * 4, rel=1e-12)


def test_blocks_are_those_of_split():
    for n in (0, 1, 7, 16):
        for p in (1, 3, 7, 16):
            assert list(Blocks(range(n), p)) == split(range(n), p)


def test_a_segment_is_no_less_than_nothing():
    with pytest.raises(UsageError, match="must be >= 0 bytes, got -1"):
        ring.AllReduce(MPI.COMM_SELF, np.ones(3), np.ones(3), np.add, -1)


def test_a_plan_under_way_does_not_start_again():
    plan = ring.AllReduce(MPI.COMM_SELF, np.ones(3), np.ones(3), np.add)
    plan._walk = iter(())
    with pytest.raises(UsageError, match="runs once at a time"):
        plan.start()
