"""A loop that outlives its ranks: ``python examples/recovery/least_squares.py`` starts four and a spare, kills one."""

import os
import signal
import sys

import numpy as np
from mpi4py import MPI

import faults
from emulator import foreground, launch
from primitives.all_reduce import all_reduce

if not launch.inside():
    sys.exit(foreground.run_filtered(launch.command(5, launch.this_program(), ft=True)))

draw = np.random.default_rng(0)
inputs, truth = draw.standard_normal((600, 3)), np.array([1.0, -2.0, 0.5])
state = {"weights": np.zeros(3)}

with faults.recovering(MPI.COMM_WORLD, state, policy="spare", spares=1) as job:
    while job.next(steps=100):
        if job.step == 40 and MPI.COMM_WORLD.rank == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        with job.attempt():
            mine = inputs[job.comm.rank :: job.comm.size]
            slope = mine.T @ (mine @ (state["weights"] - truth)) / len(inputs)
            state["weights"] -= 0.5 * all_reduce(job.comm, slope)
    if job.comm.rank == 0:
        print(f"{job.comm.size} ranks, {job.recoveries} recovery, weights {np.round(state['weights'], 6)}")
