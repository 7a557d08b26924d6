"""Around the dead: ``python examples/recovery/continue.py`` lets six ranks gossip and kills one; none is replaced."""

import os
import signal
import sys

import numpy as np
from mpi4py import MPI

import faults
from emulator.launch import mpirun
from emulator.launch.job import inside
from primitives.gossip import graphs
from primitives.gossip.averaging import mix
from primitives.gossip.mixing import metropolis
from primitives.peers import Peers

if not inside():
    sys.exit(faults.run(mpirun.this_program(), 6, "continue"))

with faults.routing(MPI.COMM_WORLD) as route:
    peers = Peers(route.comm, on_failure=route.lost)
    mixing = metropolis(graphs.ring(route.size))
    value = np.array([float(route.rank)])
    for step in route.steps(120):
        if step == 60 and route.rank == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        mix(peers, value, mixing)
if route.rank == 0:
    print(f"all but {sorted(route.dead)} agree on {value[0]:.6f}, the mean of all six")
