"""Least squares whose ranks 1 and 2 die, and whose new processes may die as well, each point once.

``python -m faults run -n 4 --recovery rejoin -m tests.faults.programs.joining EVERY [POINT]``; points, in this order:
``import``, ``mpi``, ``loop``, ``connect``, ``placed``, ``restore``, ``step``.
"""

import os
import signal
import sys

every, point = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
new = os.environ.get("PMIX_NAMESPACE", "@1").rpartition("@")[2] != "1"


def reach(name: str) -> None:
    """Die if this is the point, unless a process has died there before."""
    if new and name == point:
        try:
            os.close(os.open("died", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


reach("import")

import numpy as np  # noqa: E402 - a process may die before it has MPI
from mpi4py import MPI  # noqa: E402

import faults  # noqa: E402
from faults.recover import job_processes  # noqa: E402
from faults.recover.replacements import admission  # noqa: E402

reach("mpi")


def before(holder: object, call: str, name: str) -> None:
    """Have a process reach a point before that call."""
    original = getattr(holder, call)

    def reached(*arguments: object, **named: object) -> object:
        reach(name)
        return original(*arguments, **named)

    setattr(holder, call, reached)


before(admission.Starter, "called", "loop")
before(admission, "_greeted", "connect")
before(admission, "receive_placement", "placed")
before(job_processes.JobProcesses, "_look", "restore")

state = {"sum": np.zeros(1)}
with faults.recovering(MPI.COMM_WORLD, state, policy="rejoin", every=every) as job:
    while job.next(steps=400):
        if job.step == 6 and not new and MPI.COMM_WORLD.rank in (1, 2):
            os.kill(os.getpid(), signal.SIGKILL)
        with job.attempt():
            reach("step")
            mine = np.array([float(job.comm.rank == 0)])
            job.comm.Allreduce(MPI.IN_PLACE, mine)
            state["sum"] += mine
    if job.comm.rank == 0:
        print(f"sum {state['sum'][0]:g} of {job.comm.size} ranks")
