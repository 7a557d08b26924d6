"""Messages of a megabyte in a ring."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """Messages of a megabyte in a ring."""
    comm = job.comm
    n = comm.Get_size()
    mine, theirs = np.full(130_000, float(comm.rank)), np.empty(130_000)
    comm.Sendrecv(mine, (comm.rank + 1) % n, 0, theirs, (comm.rank - 1) % n, 0)
    assert (theirs == (comm.rank - 1) % n).all()
    comm.Allreduce(MPI.IN_PLACE, theirs)
    assert (theirs == n * (n - 1) / 2).all()
    return 1.0


if __name__ == "__main__":
    run(step)
