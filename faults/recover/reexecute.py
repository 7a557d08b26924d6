"""Tasks of requests, run by the living ranks: the tasks of a worker that dies are run again by others.

    with recovering(MPI.COMM_WORLD, state, policy="shrink", at_least=2) as job:
        while job.next(steps=10):
            with job.attempt():
                reexecute(job.comm, task, requests(job.step), state["answers"][job.step])

A worker's death costs the tasks that it had, and the others go on. The coordinator's death costs the request: the step
fails on all ranks, and the lowest living rank coordinates it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import carrier
from faults.recover.survivors.communicator import COPES
from primitives.scatter_gather import Answer, TaskFailed, TasksMissing, map_tasks

COORDINATOR = 0
_TAG = 30_011


def reexecute(comm: MPI.Intracomm, task: Callable[[Any], Any], requests: Sequence[Any], answers: np.ndarray) -> None:
    """Run ``task(request)`` for every request and give all answers to every living rank; collective.

    Parameters
    ----------
    comm : the communicator of a recovering job, of 2 ranks or more
    requests : arguments, of which rank 0's count
    answers : filled on every rank, in the order of the requests

    Raises
    ------
    MPI.Exception
        The coordinator died, or so many workers that tasks were left; a job that recovers does the step again.
    TaskFailed
        A task raised again and again, and no rank died.
    """
    own = carrier.of(comm)
    own.state[COPES] = True
    answer = map_tasks(comm, task, requests, root=COORDINATOR, membership=lambda _: own.failed())
    if answer is not None:
        answers[...] = _values(answer, comm)
    _share(comm, answers)


def _values(answer: Answer, comm: MPI.Intracomm) -> list[Any]:
    try:
        return answer.values()
    except (TaskFailed, TasksMissing):
        if carrier.of(comm).failed():  # the repair brings new workers, or finds too few left
            raise MPI.Exception(MPI.ERR_PROC_FAILED) from None
        raise


def _share(comm: MPI.Intracomm, answers: np.ndarray) -> None:
    """Send the coordinator's answer to every living rank."""
    if comm.Get_rank() != COORDINATOR:
        comm.Recv(answers, COORDINATOR, _TAG)
        return
    gone = carrier.of(comm).failed()
    for rank in range(comm.Get_size()):
        if rank not in (COORDINATOR, *gone):
            comm.Send(answers, rank, _TAG)
