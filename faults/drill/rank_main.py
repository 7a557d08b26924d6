"""The program of every rank of a drill: ``mpirun ... python -m faults.drill.rank_main FOLDER``."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
from pathlib import Path

import mpi4py

mpi4py.rc.finalize = False  # after a failure MPI_Finalize can hang; ranks agree to leave and leave
gc.disable()  # imports make much that lives on, and to search it for garbage is a twentieth of a rank's start

from mpi4py import MPI  # noqa: E402

from faults.drill import job_spec, rank  # noqa: E402
from faults.drill.job_spec import JobSpec  # noqa: E402
from faults.inject.drill_context import DrillContext  # noqa: E402
from faults.record.journal import What  # noqa: E402
from faults.record.status_board import claim  # noqa: E402
from faults.recover.replacements.admission import spawned  # noqa: E402
from faults.recover.user_loop.program_failure import end_on_exception  # noqa: E402

gc.freeze()
gc.enable()

_TOGETHER_S = 2.0  # longest wait for the other ranks to be ready to leave, as they have agreed to


def main(folder: Path) -> None:
    """Run this rank of the job in that folder, and write its result file if it reached the end."""
    spec = JobSpec.load(folder)
    member = claim(folder / job_spec.MEMBERS, spec.world) if spawned() else MPI.COMM_WORLD.Get_rank()
    stacks = (folder / job_spec.STACKS / f"{member:03d}.txt").open("w")
    faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
    tools = rank.instruments(folder, spec, member)
    assert tools.board is not None
    spec.failure_detector.take_part(tools.board, member, spec.world, spec.attempt, spec.limit_s or 0.0)
    tools.journal.write(What.STARTED, pid=os.getpid(), host=MPI.Get_processor_name())
    rank.work(spec, folder, tools)
    _leave(spec, tools)


def _leave(spec: JobSpec, tools: DrillContext) -> None:
    """Exit: without MPI_Finalize where ranks may have died, with it where mpirun needs it."""
    rank.leave(tools)
    sys.stdout.flush()
    sys.stderr.flush()
    if spec.policy.relaunches:
        MPI.Finalize()
    elif spec.policy.spawns and tools.board is not None:
        # When the first of the processes spawned together exits, mpirun ends the others.
        clock, exists = tools.platform.clock, tools.platform.executioner.exists
        together = clock.now() + _TOGETHER_S
        while any(map(exists, tools.board.working(spec.attempt))) and clock.now() < together:
            clock.sleep(1e-3)
    os._exit(0)


if __name__ == "__main__":
    sys.excepthook = end_on_exception
    main(Path(sys.argv[1]))
