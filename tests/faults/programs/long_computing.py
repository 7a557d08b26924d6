"""A step that computes in one call for long beside its messages."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from mpi4py import MPI

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """A step that computes in one call for long beside its messages."""
    product = np.ones((160, 160)) @ np.ones((160, 160))
    until = time.monotonic() + 0.01
    while time.monotonic() < until:
        product = np.sqrt(product @ product)
    job.comm.Barrier()
    return float(job.comm.allreduce(product.size, MPI.MAX) / 160**2)


if __name__ == "__main__":
    run(step)
