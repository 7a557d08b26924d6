"""A backup takes over: ``python examples/recovery/replicate.py`` kills a parameter server that has a replica."""

import os
import signal
import sys

import numpy as np
from mpi4py import MPI

import faults
from emulator.launch import mpirun
from emulator.launch.job import inside
from primitives.parameter_server import SGD, Consistency, ParameterServer, Table, Worker

if not inside():
    sys.exit(faults.run(mpirun.this_program(), 5, "replicate"))

draw = np.random.default_rng(0)
inputs, truth = draw.standard_normal((600, 3)), np.array([1.0, -2.0, 0.5])
processes = MPI.COMM_WORLD.allgather(os.getpid())


def train(worker: Worker) -> np.ndarray:
    mine = inputs[worker.rank - 2 :: 3]
    for step in route.steps(100):
        if (step, worker.rank) == (40, 3):
            os.kill(processes[0], signal.SIGKILL)
        weights = worker.pull("weights")
        worker.push("weights", mine.T @ (mine @ (weights - truth)) / len(inputs), closes=True)
    return worker.pull("weights")


with faults.routing(MPI.COMM_WORLD) as route:
    service = ParameterServer(
        route.comm, [Table("weights", 3, update=SGD(0.5))],
        servers=2, replicas=2, consistency=Consistency("bsp"), on_failure=route.look,
    )  # fmt: skip
    weights = service.run(train)
    if route.rank == 2:
        print(f"{len(route.living)} of 5 ranks live, weights {np.round(weights, 6)}")
