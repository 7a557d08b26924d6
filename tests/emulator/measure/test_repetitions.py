"""Repetitions: what is timed, in which order, when it stops; all with clocks that the tests themselves turn."""

import time
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.carrier import Carrier
from emulator.measure.repetitions import Job, Series, Stop, measure
from tests.ranks import on_ranks


class FakeClock(Carrier):
    """A communicator whose clock moves only when told; `align` sets all ranks to zero."""

    timed = True

    def __init__(self) -> None:
        super().__init__(MPI.COMM_NULL)
        self.carrier = self
        self.t = 0.0
        self.aligned = 0

    def now(self) -> float:
        return self.t

    def align(self) -> float:
        self.t = 0.0
        self.aligned += 1
        return self.t


class Offset(FakeClock):
    """Ranks do not start together: `align` leaves each at its own time."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.start = start

    def align(self) -> float:
        self.t = self.start
        return self.t


def advance(clock: FakeClock, *steps: float) -> Any:
    """An operation that takes the given times in turn."""
    calls = iter(range(10**9))

    def once() -> None:
        clock.t += steps[next(calls) % len(steps)]

    return once


def test_enough_is_a_narrow_interval_or_many_repetitions():
    stop = Stop(budget=1, width=0.1, fewest=10, most=20)
    assert stop.reason([1.0] * 9) == ""
    assert stop.reason([1.0] * 10) == "interval"
    wide = [1.0, 2.0] * 10
    assert stop.reason(wide[:19]) == ""
    assert stop.reason(wide) == "repetitions"


def test_a_series_keeps_every_sample():
    job = Job("ring", 4, 8, (0, 1), labels={"launch": 2})
    series = Series(job, [1.0, 3.0, 2.0], [0.1, 0.3, 0.2], stopped="budget")
    assert [row["seconds"] for row in series.rows()] == [1.0, 3.0, 2.0]
    assert series.rows()[1] == {
        "pattern": "ring", "ranks": 4, "bytes": 8, "launch": 2, "repetition": 1, "seconds": 3.0, "skew": 0.3,
    }  # fmt: skip
    assert series.summary()["median"] == 2.0
    assert series.summary()["skew"] == 0.2
    assert series.summary()["stopped"] == "budget"


@on_ranks(4)
def test_time_runs_from_the_first_start_to_the_last_end(comm):
    clock = Offset(start=float(comm.rank))  # rank 0 starts at 0, rank 3 at 3 and ends at 3 + 3
    job = Job("any", 4, 8, (0, 1, 2, 3), clock, advance(clock, float(comm.rank)))
    series = measure(comm, [job], Stop(budget=10, fewest=6))
    if comm.rank == 0:
        assert series[0].seconds == [6.0] * len(series[0].seconds)
        assert series[0].skews == [3.0] * len(series[0].skews)
        assert series[0].stopped == "interval"
    else:
        assert series == []


@on_ranks(4)
def test_aligned_clocks_start_every_repetition_at_the_same_time(comm):
    clock = FakeClock()
    job = Job("any", 4, 8, (0, 1, 2, 3), clock, advance(clock, 1.0), parts=4)
    series = measure(comm, [job], Stop(budget=10, fewest=8))
    assert clock.aligned >= 8
    if comm.rank == 0:
        assert set(series[0].seconds) == {0.25}
        assert series[0].summary()["skew"] == 0


@on_ranks(4)
def test_only_members_run_and_the_others_are_not_in_the_time(comm):
    calls = []
    clock = FakeClock()
    jobs = []
    for members in [(0, 1), (2, 3), (1, 3), (3, 0)]:
        inside = comm.rank in members
        once = (lambda members=members: calls.append(members)) if inside else None
        jobs.append(Job("pair", 2, members[1], members, clock if inside else None, once))
    series = measure(comm, jobs, Stop(budget=10, fewest=6))
    assert all(comm.rank in members for members in calls)
    assert len(set(calls)) == 2 + (comm.rank == 3) - (comm.rank == 2)
    if comm.rank == 0:
        assert [len(one.seconds) >= 6 for one in series] == [True] * 4


@on_ranks(4)
def test_one_job_runs_at_a_time_although_no_rank_is_in_both(comm):
    """The two of another pair would share cores with these, and a message between them would seem dearer."""
    spans, clock = [], FakeClock()

    def once():
        begin = time.perf_counter()
        comm.Sendrecv(np.zeros(8), comm.rank ^ 1, 0, np.zeros(8), comm.rank ^ 1, 0)
        spans.append((begin, time.perf_counter()))

    pairs = [(0, 1), (2, 3)] * 20
    inside = [comm.rank in members for members in pairs]
    jobs = [Job("pair", 2, n, pairs[n], clock if inside[n] else None, once if inside[n] else None) for n in range(40)]
    measure(comm, jobs, Stop(budget=60, fewest=6, most=6))
    found = comm.gather(spans[20:])  # without the warm-up
    if comm.rank == 0:
        spans = sorted((*span, rank // 2) for rank in range(4) for span in found[rank])
        ends = [0.0, 0.0]  # latest of each pair
        for begin, end, pair in spans:
            assert ends[1 - pair] <= begin
            ends[pair] = max(ends[pair], end)


@on_ranks(4)
def test_all_ranks_keep_the_same_shuffled_order(comm):
    order = []
    clock = FakeClock()
    jobs = [
        Job("any", 4, n, (0, 1, 2, 3), clock, lambda n=n: (order.append(n), advance(clock, 1.0)())) for n in range(8)
    ]
    measure(comm, jobs, Stop(budget=10, fewest=6), seed=5)
    assert comm.allgather(order) == [order] * 4
    rounds = {tuple(order[i : i + 8]) for i in range(8, 16, 8)}
    assert tuple(order[:8]) == tuple(range(8))  # the warm-up
    assert all(sorted(one) == list(range(8)) for one in rounds)
    assert tuple(order[8:16]) != tuple(range(8))


@on_ranks(4)
def test_a_spent_budget_ends_everything_after_one_timed_repetition(comm):
    clock = FakeClock()
    # the times differ so much that no interval would ever be narrow
    jobs = [Job("any", 4, n, (0, 1, 2, 3), clock, advance(clock, 1.0, 9.0)) for n in range(3)]
    series = measure(comm, jobs, Stop(budget=0.0))
    if comm.rank == 0:
        assert [one.stopped for one in series] == ["budget"] * 3
        assert [len(one.seconds) for one in series] == [1, 1, 1]


@on_ranks(4)
def test_noise_that_never_settles_ends_at_the_number_of_repetitions(comm):
    clock = FakeClock()
    job = Job("any", 4, 8, (0, 1, 2, 3), clock, advance(clock, 1.0, 9.0))
    series = measure(comm, [job], Stop(budget=60, fewest=6, most=25))
    if comm.rank == 0:
        assert len(series[0].seconds) == 25
        assert series[0].stopped == "repetitions"


@on_ranks(4)
def test_wrong_elements_of_all_members_add_up(comm):
    clock = FakeClock()
    job = Job("any", 4, 8, (0, 1, 2, 3), clock, advance(clock, 1.0), check=lambda: comm.rank)
    right = Job("any", 4, 16, (0, 1, 2, 3), clock, advance(clock, 1.0), check=lambda: 0)
    series = measure(comm, [job, right], Stop(budget=60, fewest=6, most=6))
    if comm.rank == 0:
        assert series[0].wrong >= 2 * (0 + 1 + 2 + 3)  # in the warm-up and in the first round at least
        assert series[0].wrong % 6 == 0
        assert series[1].wrong == 0


@on_ranks(4)
def test_a_real_operation_on_the_wall_clock(comm):
    send, received = np.full(10, comm.rank + 1.0), np.zeros(10)
    job = Job(
        "native", 4, 80, (0, 1, 2, 3), comm, lambda: comm.Allreduce(send, received),
        check=lambda: int((received != 10).sum()),
    )  # fmt: skip
    ticks = []
    series = measure(comm, [job], Stop(budget=2, fewest=6, most=40), tick=ticks.append)
    if comm.rank == 0:
        assert series[0].wrong == 0
        assert all(seconds > 0 for seconds in series[0].seconds)
        assert all(0 <= skew <= seconds for skew, seconds in zip(series[0].skews, series[0].seconds, strict=True))
        assert sum(ticks) > 0
