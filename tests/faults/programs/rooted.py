"""Reductions to a root and scatters from it, another root in each step."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """Reductions to a root and scatters from it, another root in each step."""
    comm = job.comm
    n, root = comm.Get_size(), job.step % comm.Get_size()
    total = np.empty(3) if comm.rank == root else None
    comm.Reduce(np.full(3, 1.0), total, root=root)
    mine = np.empty(1)
    comm.Scatter(np.full(n, total[0] / n) if total is not None else None, mine, root)
    return float(comm.allreduce(mine[0], MPI.MIN))


if __name__ == "__main__":
    run(step)
