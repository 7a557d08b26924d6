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
    control, reported = comm._real.Dup(), Path(sys.argv[1])
    ending = Ending(control, comm.engine, patience_s=0.2)
    while comm.rank == 0 and not control.iprobe(1):  # rank 1 has ended when rank 0 does
        time.sleep(0.01)
    while comm.rank == 2 and not reported.exists():
        time.sleep(0.01)
    for rows in ending.rows():
        print(len(rows), flush=True)
        reported.touch()
