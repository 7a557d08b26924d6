"""What the programs share: a loop under the policy of the command line, and a rank that ends in a step of choice.

``python -m faults run -n 4 -m tests.faults.programs.NAME POLICY EVERY [RANK HOW STEP]``
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

import faults

STEPS = 30
ENDS: dict[str, Callable[[], Any]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit3": lambda: sys.exit(3),
    "exit0": lambda: sys.exit(0),
    "_exit7": lambda: os._exit(7),
    "_exit0": lambda: os._exit(0),
    "finalize": MPI.Finalize,
    "finalize_now": lambda: MPI.Finalize(),
    "abort": lambda: MPI.COMM_WORLD.Abort(6),
    "raise": lambda: [][1],
}


def run(step: Callable[[Any], float], steps: int = STEPS) -> None:
    """Do the steps, whose results add up to the same total whatever the number of ranks."""
    policy, every, *end = sys.argv[1:]
    state = {"total": np.zeros(1)}
    spares = 1 if policy == "spare" else 0
    with faults.recovering(MPI.COMM_WORLD, state, policy=policy, spares=spares, every=int(every)) as job:
        while job.next(steps=steps):
            with job.attempt():
                if end and job.recoveries == 0 and (MPI.COMM_WORLD.rank, job.step) == (int(end[0]), int(end[2])):
                    ENDS[end[1]]()
                state["total"] += step(job)
        if job.comm.Get_rank() == 0:
            print(f"{steps} steps, total {state['total'][0]:.3f}", flush=True)
