"""Tasks through a coordinator: every result exactly once, whatever the tasks and workers do."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import emulator
from emulator import sim
from emulator.errors import UsageError
from primitives.scatter_gather import (
    Deadline,
    Journal,
    Outcome,
    TaskFailed,
    coordinator,
    map_tasks,
)
from tests.ranks import on_ranks
from tests.simulated import NET, on_simulated_ranks


@on_simulated_ranks(
    4, on_mpi={"tasks": [2, 100], "batch": [None, 7]}, tasks=[0, 1, 2, 100], batch=[None, 1, 7], prefetch=[0, 2]
)
def test_every_result_once(comm: Any, tasks: int, batch: int | None, prefetch: int) -> None:
    answer = map_tasks(comm, lambda x: x * x, range(tasks), batch=batch, prefetch=prefetch)
    assert (answer is None) == (comm.Get_rank() != 0)
    if answer is not None:
        assert answer.values() == [x * x for x in range(tasks)]
        assert sorted(answer.order) == list(range(tasks))
        assert answer.counts.sent == tasks


@on_simulated_ranks(4, on_mpi={}, seed=list(range(6)))
def test_flaky_tasks_under_backups_retries_and_cancels(comm: Any, seed: int) -> None:
    """Tasks that raise now and then, take any time, and get backups at once: the oracle is the plain loop."""
    chance = random.Random(f"{seed} {comm.Get_rank()}")

    def flaky(x: int) -> Iterator[None]:
        for _ in range(chance.randrange(3)):
            emulator.compute(comm, 1e-4 * chance.random())
            yield
        if x % 10 == 3 or chance.random() < 0.2:
            raise ValueError(f"task {x} fails")
        return x + 1

    tasks = random.Random(seed).randrange(20, 60)
    answer = map_tasks(comm, flaky, range(tasks), root=seed % 4, speculate=1.0, retries=20, prefetch=seed % 2)
    if answer is not None:
        bad = {x for x in range(tasks) if x % 10 == 3}
        assert answer.present() == {x: x + 1 for x in range(tasks) if x not in bad}
        assert set(answer.failures) == bad
        assert max(Counter(answer.order).values()) == 1
        assert answer.missing == []


@on_simulated_ranks(4, on_mpi={})
def test_a_task_that_raises_is_reported(comm: Any) -> None:
    def reciprocal(x: int) -> float:
        return 1 / x

    answer = map_tasks(comm, reciprocal, [2, 0, 4], retries=1)
    if answer is not None:
        assert answer.present() == {0: 0.5, 2: 0.25}
        failure = answer.failures[1]
        assert "ZeroDivisionError" in failure.error
        assert "in reciprocal" in failure.error
        assert failure.attempts == 2
        assert answer.counts.retries == 1
        with pytest.raises(TaskFailed, match=r"task 1 failed 2 times(.|\n)*ZeroDivisionError"):
            answer.values()


@on_simulated_ranks(3, on_mpi={})
def test_a_result_that_cannot_be_sent_is_a_failure(comm: Any) -> None:
    answer = map_tasks(comm, lambda x: (lambda: x) if x == 1 else x, range(4), batch=4)
    if answer is not None:
        assert answer.present() == {0: 0, 2: 2, 3: 3}
        assert "cannot be sent" in answer.failures[1].error


class Grudging(Exception):
    """Packs, but does not unpack: the constructor wants two arguments and gets one."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first + second)


@on_simulated_ranks(3, on_mpi={})
def test_what_cannot_be_read_on_arrival_harms_nothing_else(comm: Any) -> None:
    """A result and an argument that pickle and do not unpickle, and an argument that does not even pickle."""
    answer = map_tasks(comm, lambda x: Grudging(x, x) if x == 1 else x, range(4), batch=4, retries=0)
    if answer is not None:
        assert answer.present() == {0: 0, 2: 2, 3: 3}
        assert "the result, cannot be read" in answer.failures[1].error
    arguments = [0, Grudging(1, 1), 2, lambda: 0, (3,)]
    answer = map_tasks(comm, str, arguments, batch=5, retries=0)
    if answer is not None:
        assert answer.present() == {0: "0", 2: "2", 4: "(3,)"}
        assert "the argument, cannot be read" in answer.failures[1].error
        assert "cannot be sent" in answer.failures[3].error


@on_simulated_ranks(3, on_mpi={}, form=["function", "generator"])
def test_a_task_that_exits_has_failed_and_nobody_hangs(comm: Any, form: str) -> None:
    def leave(x: int) -> int:
        if x == 2:
            sys.exit("enough")
        return x

    def steps(x: int) -> Iterator[None]:
        yield
        return leave(x)

    answer = map_tasks(comm, leave if form == "function" else steps, range(5), retries=1)
    if answer is not None:
        assert answer.present() == {0: 0, 1: 1, 3: 3, 4: 4}
        assert "SystemExit: enough" in answer.failures[2].error


@on_simulated_ranks(4, on_mpi={}, ordered=[True, False])
def test_results_can_be_streamed(comm: Any, ordered: bool) -> None:
    """The second task is the slowest by far: in order, it holds the others back."""

    def work(x: int) -> int:
        emulator.compute(comm, 0.05 if x == 1 else 1e-4)
        return -x

    with coordinator(comm, work, prefetch=0, batch=1) as pool:
        if pool is not None:
            stream = pool.stream(range(8), ordered=ordered)
            outcomes = [(outcome.task, outcome.value) for outcome in stream]
            assert sorted(outcomes) == [(x, -x) for x in range(8)]
            assert (outcomes == sorted(outcomes)) == ordered


@on_simulated_ranks(4, on_mpi={})
def test_one_pool_answers_many_requests(comm: Any) -> None:
    """What was cancelled or late in one request does not turn up in the next."""

    def work(x: int) -> Iterator[None]:
        for _ in range(x % 5):
            emulator.compute(comm, 1e-3)
            yield
        return x

    with coordinator(comm, work) as pool:
        if pool is not None:
            for start in range(0, 50, 10):
                tasks = range(start, start + 10)
                partial = pool.ask(tasks, deadline=Deadline(quorum=0.3))
                assert partial.coverage >= 0.3
                assert all(value == start + task for task, value in partial.present().items())
                assert pool.ask(tasks).values() == list(tasks)


@on_ranks(4)
def test_a_backup_overtakes_a_straggler_that_never_ends(comm: Any) -> None:
    """On rank 2 every task runs until it is cancelled; the answer is complete all the same."""

    def work(x: int) -> Iterator[None]:
        while comm.Get_rank() == 2:
            time.sleep(1e-4)
            yield
        return x

    answer = map_tasks(comm, work, range(12), speculate=1.5, batch=1)
    if answer is not None:
        assert answer.values() == list(range(12))
        assert answer.counts.backups >= 1
        assert {outcome.rank for outcome in answer.journal} <= {1, 3}


@on_simulated_ranks(4, speculate=[None, 1.5])
def test_what_a_backup_saves_in_emulated_time(comm: Any, speculate: float | None) -> None:
    """Rank 2 takes 100 ms for a task, the others 1 ms: without backups the answer takes as long as rank 2."""

    def work(x: int) -> int:
        emulator.compute(comm, 0.1 if comm.Get_rank() == 2 else 1e-3)
        return x

    comm.align()
    answer = map_tasks(comm, work, range(12), speculate=speculate, batch=1, prefetch=0)
    if answer is not None:
        assert answer.values() == list(range(12))
        # 11 tasks of 1 ms on 2 workers, one of which then repeats rank 2's: 6 ms, and 6 round trips of 40 us
        assert answer.seconds == pytest.approx(0.1 if speculate is None else 6.24e-3, rel=0.05)
        assert answer.counts.backups == (0 if speculate is None else 1)


@on_ranks(4)
def test_tasks_of_a_worker_declared_dead_run_elsewhere(comm: Any) -> None:
    """A detector that is not MPI: rank 3 hangs, the hook says so, nothing is lost, and rank 3 is sent home."""

    def work(x: int) -> Iterator[None]:
        while comm.Get_rank() == 3:
            time.sleep(1e-4)
            yield
        return x

    answer = map_tasks(comm, work, range(20), membership=lambda comm: [3], batch=2)
    if answer is not None:
        assert answer.values() == list(range(20))
        assert answer.counts.dead == [3]
        assert answer.counts.reexecuted == 4
        assert {outcome.rank for outcome in answer.journal} <= {1, 2}
    # the next conversation on this communicator is not disturbed by what rank 3 still had to say
    comm.Barrier()
    again = map_tasks(comm, lambda x: x, range(20))
    if again is not None:
        assert again.values() == list(range(20))


@on_ranks(3)
def test_no_worker_left(comm: Any) -> None:
    """All workers gone: the request ends, and says what is missing."""

    def work(x: int) -> Iterator[None]:
        while True:
            time.sleep(1e-4)
            yield

    answer = map_tasks(comm, work, range(3), membership=lambda comm: [1, 2])
    if answer is not None:
        assert answer.missing == [0, 1, 2]
        assert answer.counts.dead == [1, 2]


@on_simulated_ranks(3, on_mpi={})
def test_a_successor_goes_on_from_the_journal(comm: Any) -> None:
    """Tasks in the journal must not run: they would raise."""

    def work(x: int) -> int:
        if x in (0, 5):
            raise RuntimeError("ran again")
        return x

    journal = Journal()
    for task in (0, 5):
        journal.record(Outcome(task, task, None, 1, 1, 0.0))
    copies: list[int] = []
    journal.watch(lambda outcome: copies.append(outcome.task))
    answer = map_tasks(comm, work, range(8), journal=Journal.loads(journal.dumps()))
    if answer is not None:
        assert answer.values() == list(range(8))
        assert sorted(answer.order) == [1, 2, 3, 4, 6, 7]
    resumed = map_tasks(comm, work, range(8), journal=journal)
    if resumed is not None:
        assert sorted(copies) == [1, 2, 3, 4, 6, 7]


@on_simulated_ranks(3, on_mpi={})
def test_an_error_in_the_caller_releases_the_workers(comm: Any) -> None:
    def consume() -> None:
        with coordinator(comm, lambda x: x) as pool:
            if pool is not None:
                for outcome in pool.stream(range(50)):
                    if outcome.task == 10:
                        raise KeyError("the caller's own")

    if comm.Get_rank() == 0:
        with pytest.raises(KeyError):
            consume()
    else:
        consume()


@on_ranks(3)
def test_bad_input(comm: Any) -> None:
    alone = comm.Split(comm.Get_rank(), 0)
    for part, options, rule in [
        (alone, {}, "at least 1 worker"),
        (comm, {"root": 3}, "root must be a rank"),
        (comm, {"batch": 0}, "a batch must hold"),
        (comm, {"prefetch": -1}, "prefetch must be >= 0"),
    ]:
        with pytest.raises(UsageError, match=rule):
            map_tasks(part, abs, [1], **options)
    alone.Free()
    with coordinator(comm, abs) as pool:
        for options, rule in [
            ({"retries": -1}, "retries must be >= 0"),
            ({"speculate": 0.5}, "multiplier must be >= 1"),
            ({"where": []}, "one entry for each"),
        ]:
            if pool is not None:
                with pytest.raises(UsageError, match=rule):
                    pool.ask([1], **options)


def test_simulated_seconds_do_not_depend_on_earlier_requests_of_the_process() -> None:
    """Requests are numbered per communicator: a greater number is a longer message."""

    def seconds(requests: int) -> float:
        def ask(comm: Any) -> None:
            with coordinator(comm, len) as pool:
                for _ in range(requests if pool is not None else 0):
                    pool.ask(["a"] * 3)

        return sim.run(ask, 3, NET).seconds

    first, _, again = seconds(4), seconds(300), seconds(4)
    assert first == again
