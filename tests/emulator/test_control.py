"""The control communicator: MPI's results, and ranks that sleep while they wait."""

from __future__ import annotations

import threading
import time
from pathlib import Path
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
    control, least_s = Control(comm), 0.2
    others = comm.allgather(threading.get_native_id())[1:]
    for wait in (control.Barrier, lambda: control.bcast(0), lambda: control.allreduce(1)):
        comm.Barrier()
        slept = list(map(_sleeps, others))
        comm.Barrier()
        begin, used = time.monotonic(), time.process_time()
        if comm.rank == 0:
            while any(_sleeps(other) <= before + 20 for other, before in zip(others, slept, strict=True)):
                time.sleep(0.01)  # one that never sleeps ends the case by its limit
            time.sleep(least_s)
        wait()
        assert time.process_time() - used < (time.monotonic() - begin) / 3


def _sleeps(thread: int) -> int:
    """How often a thread has given up its core of its own accord; polling and yielding do not count."""
    return int(Path(f"/proc/{thread}/status").read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])
