"""Many messages under way at once, completed with Waitall."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """Many messages under way at once, completed with Waitall."""
    comm = job.comm
    n = comm.Get_size()
    boxes = np.empty((n, 500))
    receives = [comm.Irecv(boxes[rank], rank, 3) for rank in range(n)]
    sends = [comm.Isend(np.full(500, float(comm.rank)), rank, 3) for rank in range(n)]
    MPI.Request.Waitall(receives + sends)
    assert (boxes == np.arange(n)[:, None]).all()
    return 1.0


if __name__ == "__main__":
    run(step)
