"""A loop that outlives its ranks: ``python examples/recovery/least_squares.py spare|shrink|respawn`` kills a rank.

With ``rejoin`` the rank is told to leave, and hands over between two steps; a new process joins later.
"""

import os
import signal
import sys

import numpy as np
from mpi4py import MPI

import faults
from emulator.launch import mpirun
from emulator.launch.job import inside

policy = (sys.argv[1:] or ["spare"])[0]
spares = int(policy == "spare")
end = signal.SIGTERM if policy == "rejoin" else signal.SIGKILL
if not inside():
    sys.exit(faults.run(mpirun.this_program(), 4 + spares, policy))

draw = np.random.default_rng(0)
inputs, truth = draw.standard_normal((600, 3)), np.array([1.0, -2.0, 0.5])
state = {"weights": np.zeros(3)}

with faults.recovering(
    MPI.COMM_WORLD,
    state,
    policy=policy,
    spares=spares,
    every=0,  # each step is an all-reduce
    notice=signal.SIGTERM,
) as job:
    while job.next(steps=100):
        if job.step == 40 and MPI.COMM_WORLD.rank == 2:
            os.kill(os.getpid(), end)
        with job.attempt():
            mine = inputs[job.comm.rank :: job.comm.size]
            slope = mine.T @ (mine @ (state["weights"] - truth)) / len(inputs)
            job.comm.Allreduce(MPI.IN_PLACE, slope)
            state["weights"] -= 0.5 * slope
    if job.comm.rank == 0:
        print(f"{job.comm.size} ranks, recoveries: {job.recoveries}, weights {np.round(state['weights'], 6)}")
