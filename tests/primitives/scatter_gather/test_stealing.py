"""Work stealing loses nothing, and idle ranks do get work."""

from __future__ import annotations

import random
from typing import Any

import pytest

import emulator
from emulator.errors import UsageError
from primitives.scatter_gather import steal_tasks
from tests.primitives.groups import group
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks


@on_simulated_ranks(5, on_mpi={}, p=[1, 2, 3, 5], tasks=[0, 1, 4, 200])
def test_nothing_is_lost(comm: Any, p: int, tasks: int) -> None:
    """Uneven tasks, some plain, some that answer thieves while they run; any root."""
    with group(comm, p) as part:
        if part is None:
            return
        chance = random.Random(f"{p} {tasks} {part.Get_rank()}")

        def work(x: int) -> Any:
            if x % 3 == 0:
                return steps(x)
            return x * x

        def steps(x: int) -> Any:
            for _ in range(chance.randrange(4)):
                emulator.compute(part, 1e-4 * chance.random())
                yield
            return x * x

        answer = steal_tasks(part, work, range(tasks), root=p - 1, seed=p)
        assert (answer is None) == (part.Get_rank() != p - 1)
        if answer is not None:
            assert answer.values() == [x * x for x in range(tasks)]
            assert sorted(answer.order) == list(range(tasks))
            assert answer.counts.duplicates == 0


@on_ranks(4)
def test_idle_ranks_take_work_from_a_busy_one(comm: Any) -> None:
    """Rank 1's first task does not end before somebody else has run one of rank 1's own."""
    block = range(10, 20)
    taken = comm.Irecv(bytearray(1), tag=1) if comm.Get_rank() == 1 else None

    def work(x: int) -> Any:
        if x in block and comm.Get_rank() != 1:
            comm.Isend(bytearray(1), 1, tag=1).Wait()
        return wait() if x == 10 and comm.Get_rank() == 1 else comm.Get_rank()

    def wait() -> Any:
        while taken is not None and not taken.Test():
            yield
        return 1

    answer = steal_tasks(comm, work, range(40))
    counted = comm.gather(answer is not None, root=0)
    if answer is not None and counted is not None:
        ranks = {answer.values()[x] for x in block}
        assert 1 in ranks
        assert len(ranks) > 1
    comm.Barrier()
    while comm.Get_rank() == 1 and comm.Iprobe(tag=1):
        comm.Recv(bytearray(1), tag=1)


@on_simulated_ranks(3, on_mpi={})
def test_tasks_that_raise(comm: Any) -> None:
    attempts: dict[int, int] = {}

    def work(x: int) -> Any:
        attempts[x] = attempts.get(x, 0) + 1
        if x == 7 or (x == 8 and attempts[x] < 3):
            raise OSError(f"task {x}")
        return (lambda: x) if x == 9 else x

    answer = steal_tasks(comm, work, range(30), retries=2)
    if answer is not None:
        assert answer.present() == {x: x for x in range(30) if x not in (7, 9)}
        assert "OSError: task 7" in answer.failures[7].error
        assert answer.failures[7].attempts == 3
        assert answer.journal[8].attempts == 3
        assert "cannot be sent" in answer.failures[9].error


@on_ranks(2)
def test_bad_input(comm: Any) -> None:
    with pytest.raises(UsageError, match="root must be a rank"):
        steal_tasks(comm, abs, [], root=2)
    with pytest.raises(UsageError, match="retries must be >= 0"):
        steal_tasks(comm, abs, [], retries=-1)
