"""mpi4py's blocking collectives on buffers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """mpi4py's blocking collectives on buffers."""
    comm = job.comm
    n = comm.Get_size()
    total, everything = np.empty(2), np.empty(n, int)
    comm.Allreduce(np.array([comm.rank, 1.0]), total)
    comm.Allgather(np.array([comm.rank]), everything)
    comm.Barrier()
    mine = np.array([job.step + 0.5]) if comm.rank == n - 1 else np.empty(1)
    comm.Bcast(mine, n - 1)
    assert (total.tolist(), everything.tolist()) == ([n * (n - 1) / 2, n], list(range(n)))
    assert mine[0] == job.step + 0.5
    return float(total[1] / n)


if __name__ == "__main__":
    run(step)
