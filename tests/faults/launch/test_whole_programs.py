"""Programs that use more than one loop, or MPI.COMM_WORLD or what was made from it in a step."""

from __future__ import annotations

import pytest

from tests.faults.launch.own_programs import faults_run, needs_ulfm

LOOPS = """
import os, signal, sys
import numpy as np
from mpi4py import MPI
import faults

what = sys.argv[1]
state = {"sum": np.zeros(1)}
other = MPI.COMM_WORLD.Split(0) if what == "made from it" else MPI.COMM_WORLD
spares = {"policy": "spare", "spares": 1} if what == "spares" else {}
for loop in range(2 if what == "two loops" else 1):
    with faults.recovering(MPI.COMM_WORLD, state, **spares) as job:
        while job.next(steps=8):
            with job.attempt():
                if (MPI.COMM_WORLD.rank, loop, job.step) in ((1, 0, 3), (2, 1, 5)):
                    os.kill(os.getpid(), signal.SIGKILL)
                if what in ("world", "made from it", "spares"):
                    other.allreduce(1)
                elif what == "world at one rank":
                    other.Ibcast(np.zeros(1), 0).Wait()  # returns at the root, even if the others are dead
                state["sum"] += job.comm.allreduce(1) / job.comm.size
if what == "behind":
    MPI.COMM_WORLD.Barrier()
if job.comm.rank == 0:
    print("sum", *state["sum"])
"""


@needs_ulfm
@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("two loops", 0, "sum 16.0\n"),
        ("world", 2, "step 3 failed 8 times without a death: MPI.COMM_WORLD, "),
        ("world at one rank", 2, "step 3 failed 8 times without a death: MPI.COMM_WORLD, "),
        ("made from it", 2, "step 3 failed 8 times without a death: MPI.COMM_WORLD, what was made from it, "),
        (
            "spares",
            2,
            "allreduce on MPI.COMM_WORLD in the loop would wait for the spares, which take part in no step: ",
        ),
        ("behind", 2, "program.py:23: a rank has died, got MPI_ERR_"),
    ],
)
def test_a_program_goes_on_with_the_living_or_is_told_what_to_use(tmp_path, what: str, status: int, said: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(LOOPS)
    done = faults_run(tmp_path, "-n", 3, program, what)
    assert done.returncode == status, done.stderr
    assert said in (done.stderr if status else done.stdout)
    assert "Traceback" not in done.stderr
    assert what == "behind" or done.stderr.count(said) <= 1, "by one rank"
