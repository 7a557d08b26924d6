"""A program that loses ranks for real: gossip and federated averaging go on with those who are left.

Run by test_gossip_kill.py under mpirun with fault tolerance; each survivor writes what it saw to a file.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from emulator import carrier
from primitives.federated.averaging import participate, serving
from primitives.gossip import average, mix, schedules
from primitives.peers import Peers
from tests.primitives.matrices import of_matrix

VICTIM, ROUND = 2, 5


class Suicide(carrier.Instrument):
    """Kill this process at the next named phase."""

    def phase(self, name: str, **info: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str) -> None:
    comm = MPI.COMM_WORLD.Dup()
    me, p = comm.Get_rank(), comm.Get_size()
    noticed: list[int] = []
    peers = Peers(comm, on_failure=lambda rank, error: noticed.append(rank))
    slow = np.full((p, p), 0.1) + (1 - 0.1 * p) * np.eye(p)  # so that there is something left to agree on
    w = of_matrix(slow)
    x = np.full(1000, float(me))
    for k in range(80):
        if k == ROUND and me == VICTIM:
            carrier.of(comm).instruments.append(Suicide())
        mix(peers, x, w)
    living = [i for i in range(p) if i != VICTIM]
    again = Peers(comm, living, on_failure=lambda rank, error: noticed.append(rank))
    exact = average(again, np.full(3, float(me)), schedules.base_graph(again.size))
    if again.rank == 0:
        with serving(again, np.zeros(3)) as server:
            record = server.round()
        answered = record.answered
    else:
        participate(again, lambda model, number: (model + 1, 1.0))
        answered = []
    seen = {"noticed": noticed, "x": [x.min(), x.max()], "exact": exact.tolist(), "answered": answered}
    Path(folder, f"{me}.json").write_text(json.dumps(seen))
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
