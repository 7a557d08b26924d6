"""Again from a checkpoint: ``python examples/recovery/restart.py`` kills one of four ranks, and with it the job."""

import os
import signal
import sys
import tempfile

import numpy as np
from mpi4py import MPI

import faults
from emulator.launch import mpirun
from emulator.launch.job import inside
from primitives.collectives.all_reduce import all_reduce

if not inside():
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(faults.run([*mpirun.this_program(), folder], 4, "restart"))

draw = np.random.default_rng(0)
inputs, truth = draw.standard_normal((600, 3)), np.array([1.0, -2.0, 0.5])
state = {"weights": np.zeros(3)}

with faults.restarting(MPI.COMM_WORLD, state, sys.argv[1], every=10) as job:
    began = job.step
    while job.next(steps=100):
        if job.step == 47 and began == 0 and job.comm.rank == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        with job.attempt():
            mine = inputs[job.comm.rank :: job.comm.size]
            slope = mine.T @ (mine @ (state["weights"] - truth)) / len(inputs)
            state["weights"] -= 0.5 * all_reduce(job.comm, slope)
    if job.comm.rank == 0:
        print(f"{job.comm.size} ranks, went on from step {began}, weights {np.round(state['weights'], 6)}")
