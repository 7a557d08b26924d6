"""The program of each rank of ``faults run --trace``: runs a user's program with an MPI.COMM_WORLD that records events.

``python -m faults.launch.traced_program FOLDER LAUNCH RANKS LIMIT PROGRAM.py|-m MODULE [ARGUMENT]...``, with LIMIT 0
for what suits the number of ranks. A process that is spawned in the place of a dead one runs it as well, and records
under a number of its own.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from emulator.run import user_program
from emulator.trace import traced_mpi, tracing
from emulator.trace.recorder import TRACES
from faults.record.status_board import claim
from faults.recover.replacements.admission import spawned


def main(arguments: Sequence[str]) -> None:
    """Begin the recording and run the program in this process; its errors and its exit status are its own."""
    folder, launch, ranks, limit = Path(arguments[0]), int(arguments[1]), int(arguments[2]), int(arguments[3])
    world = MPI.COMM_WORLD
    rank = world.Get_rank()
    number = claim(folder / TRACES, ranks) if spawned() else rank
    comm = traced_mpi.traced(world, members=[number - rank + other for other in range(world.Get_size())])
    recorder = tracing.begin(comm, folder, limit=limit or None, clock="wall", member=number, attempt=launch)
    atexit.register(recorder.close)
    mpi: Any = MPI
    mpi.COMM_WORLD = comm  # not `user_program.replace_world`: the program may finalize MPI itself
    try:
        user_program.become(*user_program.named(arguments[4:]))
    except Exception as error:
        own = error.__traceback__
        shown = user_program.without_ours(error.with_traceback(own and own.tb_next))
        sys.excepthook(type(shown), shown, shown.__traceback__)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
