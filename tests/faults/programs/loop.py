"""What the programs share: a loop under the policy of the command line, and a rank that ends in a step of choice.

``python -m faults run -n 4 -m tests.faults.programs.NAME POLICY EVERY [RANK HOW STEP]...``
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import emulator
import faults
from faults.platform import LOCAL
from tests.faults.programs import KILLS, NET, STEPS


def arm(since: str) -> None:
    """Set the kernel's timers for this rank's kills since then, each in the first launch that comes there."""
    for number, kill in enumerate(filter(None, os.environ.get(KILLS, "").split(","))):
        rank, _, when = kill.partition("@")
        ours = when.startswith(since) and rank == os.environ.get("OMPI_COMM_WORLD_RANK") and not _spawned()
        if ours and _is_first(number):
            LOCAL.executioner.strike(signal.SIGKILL, time.monotonic() + float(when.partition("+")[2]))


def arm_in_step(job: Any) -> None:
    """Set a timer for each kill of this rank's place in this step or one before, once in all launches."""
    for number, kill in enumerate(filter(None, os.environ.get(KILLS, "").split(","))):
        place, _, when = kill.partition("@")
        first, _, seconds = when.partition("+")
        if first.isdecimal() and int(first) <= job.step and place == str(job.place) and _is_first(number):
            LOCAL.executioner.strike(signal.SIGKILL, time.monotonic() + float(seconds))


def _is_first(number: int) -> bool:
    """Whether no process has armed the kill of this number before."""
    try:
        os.close(os.open(Path(os.environ["SOAK_FOLDER"], str(number)), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _spawned() -> bool:
    return os.environ.get("PMIX_NAMESPACE", "@1").rpartition("@")[2] != "1"


arm("start")
from mpi4py import MPI  # noqa: E402 - a kill may come while MPI starts

arm("mpi")

ENDS: dict[str, Callable[[], Any]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit3": lambda: sys.exit(3),
    "exit0": lambda: sys.exit(0),
    "_exit7": lambda: os._exit(7),
    "_exit0": lambda: os._exit(0),
    "finalize": MPI.Finalize,
    "finalize_now": lambda: MPI.Finalize(),
    "abort": lambda: MPI.COMM_WORLD.Abort(6),
    "raise": lambda: [][1],
}


def world() -> Any:
    """All ranks, on the emulated network that is asked for, or on MPI itself."""
    if NET in os.environ:
        return emulator.emulate(MPI.COMM_WORLD, os.environ[NET], pace="none", compute="none")
    return MPI.COMM_WORLD


def run(step: Callable[[Any], float]) -> None:
    """Do the steps, whose results add up to the same total whatever the number of ranks."""
    steps = int(os.environ.get(STEPS, 30))
    policy, every, *rest = sys.argv[1:]
    ends = {(int(rank), int(step)): how for rank, how, step in zip(rest[::3], rest[1::3], rest[2::3], strict=True)}
    state = {"total": np.zeros(1)}
    spares = 1 if policy == "spare" else 0
    comm = world()
    loop: Any
    if policy == "restart":
        loop = faults.restarting(comm, state, Path(os.environ["SOAK_FOLDER"], "checkpoints"), every=20)
    else:
        loop = faults.recovering(comm, state, policy=policy, spares=spares, every=int(every))
    with loop as job:
        while job.next(steps=steps):
            arm_in_step(job)
            with job.attempt():
                how = None if _spawned() else ends.get((MPI.COMM_WORLD.rank, job.step))
                if how:
                    ENDS[how]()
                state["total"] += step(job)
        if job.comm.Get_rank() == 0:
            print(f"{steps} steps, total {state['total'][0]:.3f}", flush=True)
