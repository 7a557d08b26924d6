"""A thread of the program computes while the step communicates."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tests.faults.programs.loop import run


def step(job: Any) -> float:
    """A thread of the program computes while the step communicates."""
    found = []
    thread = threading.Thread(target=lambda: found.append(float(np.linalg.norm(np.ones((40, 40)) @ np.ones(40)))))
    thread.start()
    total = job.comm.allreduce(1)
    thread.join()
    assert abs(found[0] - 40 * 40**0.5) < 1e-9
    return float(total / job.comm.Get_size())


if __name__ == "__main__":
    run(step)
