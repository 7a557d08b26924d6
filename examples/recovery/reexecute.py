"""Lost tasks again: ``python examples/recovery/reexecute.py`` kills a worker, then the coordinator of requests."""

import os
import signal
import sys

import numpy as np
from mpi4py import MPI

import faults
from emulator.launch import mpirun
from emulator.launch.job import inside

if not inside():
    sys.exit(faults.run(mpirun.this_program(), 5, "reexecute"))


def square(number: int) -> int:
    if number < 1000 and MPI.COMM_WORLD.rank == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


state = {"answers": np.zeros((3, 1000), np.int64)}
with faults.recovering(MPI.COMM_WORLD, state, policy="shrink", at_least=2) as job:
    while job.next(steps=3):
        if job.step == 1 and MPI.COMM_WORLD.rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        with job.attempt():
            requests = range(1000 * job.step, 1000 * (job.step + 1))
            faults.reexecute(job.comm, square, requests, state["answers"][job.step])
    if job.comm.rank == 0:
        print(f"{job.comm.size} ranks, the squares of 0 to 2999 add up to {state['answers'].sum()}")
