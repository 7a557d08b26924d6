"""Three ranks, of which the last ends only after rank 0 has reported without it: a program for mpirun."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mpi4py import MPI

import emulator
from emulator.commands.ending import Ending

if __name__ == "__main__":
    comm = emulator.emulate(MPI.COMM_WORLD, "10gbe")
    ending, reported = Ending(comm._real.Dup(), comm.engine, patience_s=0.2), Path(sys.argv[1])
    while comm.rank == 2 and not reported.exists():
        time.sleep(0.01)
    for rows in ending.rows():
        print(len(rows), flush=True)
        reported.touch()
