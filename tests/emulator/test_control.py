"""The control communicator: MPI's results, and ranks that sleep while they wait."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.control import Control
from tests.ranks import on_ranks


@on_ranks(4)
def test_collectives_give_what_those_of_mpi_give(comm: Any) -> None:
    control, rank = Control(comm), comm.rank
    assert control.bcast("plan" if rank == 1 else None, root=1) == "plan"
    assert control.gather(rank**2) == (None if rank else [0, 1, 4, 9])
    assert control.scatter(list("abcd") if rank == 0 else None) == "abcd"[rank]
    assert control.allgather(rank) == [0, 1, 2, 3]
    assert control.allreduce(rank, MPI.MAX) == 3
    word, total, rows = np.full(2, float(rank)), np.zeros(2), np.zeros((4, 2))
    control.Bcast(word, root=3)
    assert word.tolist() == [3, 3]
    control.Reduce(word, total)
    control.Gather(word + rank, rows)
    assert total.tolist() == ([0, 0] if rank else [12, 12])
    assert rows.tolist() == ([[0, 0]] * 4 if rank else [[3, 3], [4, 4], [5, 5], [6, 6]])


@on_ranks(4)
def test_ranks_that_wait_for_another_sleep_and_leave_it_their_core(comm: Any) -> None:
    control, wait_s = Control(comm), 0.3
    for wait in (control.Barrier, lambda: control.bcast(0), lambda: control.allreduce(1)):
        comm.Barrier()
        begin, slept = time.process_time(), _sleeps()
        if comm.rank == 0:
            time.sleep(wait_s)
        wait()
        assert time.process_time() - begin < wait_s / 3
        assert _sleeps() - slept > (0 if comm.rank == 0 else 20)


def _sleeps() -> int:
    """How often this thread has given up its core of its own accord; polling and yielding do not count."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
