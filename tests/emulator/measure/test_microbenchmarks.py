"""Probes on real ranks and on the emulated network: right bytes, right sizes, and the closed form to the digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import microbenchmarks
from emulator.measure.repetitions import Stop, measure
from tests.ranks import on_ranks

SIZES = [0, 1, 1000, 70_000]


@given(st.lists(st.integers(0, 1 << 22), min_size=1, max_size=20), st.integers(0, 100))
def test_link_sizes_hold_the_asked_ones_and_nothing_larger(sizes, seed):
    found = microbenchmarks.link_sizes(sizes, seed)
    assert {0, *sizes} <= set(found)
    assert max(found) == max(sizes)
    assert found == sorted(set(found))
    assert all(n - 1 in found for n in sizes if n > 0)


@on_ranks(3)
def test_messages_arrive_whole_and_outsiders_take_no_part(comm):
    pair = comm.Split(0 if comm.rank in (0, 2) else 1, comm.rank)
    jobs = microbenchmarks.messages(pair if comm.rank in (0, 2) else None, (0, 2), SIZES, one_way=False)
    series = measure(comm, jobs, Stop(budget=5, fewest=6, most=6))
    assert comm.allgather([job.parts for job in jobs]) == [[100, 100, 100, 6]] * 3  # rank 0 divides by its own
    assert [job.once is None for job in jobs] == [comm.rank == 1] * len(SIZES)
    if comm.rank == 0:
        assert [one.wrong for one in series] == [0] * len(SIZES)
        assert all(min(one.seconds) > 0 for one in series)
        assert series[0].rows()[0]["destination"] == 2
    pair.Free()


@on_ranks(3)
def test_a_wrong_byte_is_counted(comm):
    pair = comm.Split(0 if comm.rank < 2 else 1, comm.rank)
    jobs = microbenchmarks.messages(pair if comm.rank < 2 else None, (0, 1), [100], one_way=False)
    if comm.rank < 2:
        assert jobs[0].check() == 99  # nothing has arrived yet, and one byte of the pattern is 0
        jobs[0].once()
        assert jobs[0].check() == 0
    pair.Free()


@on_ranks(3)
def test_reductions_run_on_their_one_rank(comm):
    alone = comm.Split(comm.rank, 0)
    jobs = microbenchmarks.reductions(alone if comm.rank == 1 else None, 1, [4, 4096])
    series = measure(comm, jobs, Stop(budget=5, fewest=6, most=6))
    if comm.rank == 0:
        assert all(min(one.seconds) > 0 for one in series)
    alone.Free()


@on_ranks(3, net="tests/data/one_link.toml")
def test_an_emulated_message_takes_exactly_what_its_path_says(comm):
    from mpi4py import MPI

    control = MPI.COMM_WORLD.Dup()
    pair = comm.Split(0 if comm.rank < 2 else 1, -comm.rank)  # rank 1 sends first
    jobs = microbenchmarks.messages(pair if comm.rank < 2 else None, (1, 0), SIZES, one_way=True)
    series = measure(control, jobs, Stop(budget=20, fewest=6, most=6))
    if comm.rank == 0:
        for n, one in zip(SIZES, series, strict=True):
            assert one.seconds == pytest.approx([50e-6 + n * 0.8e-9] * 6, rel=1e-6)
            assert one.wrong == 0
            assert one.summary()["skew"] == 0
    control.Free()
