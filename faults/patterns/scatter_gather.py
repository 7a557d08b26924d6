"""Scatter-gather: a coordinator hands out tasks; other workers repeat the tasks of a dead one.

A step is one request of many tasks; each rank learns its answer at the end, so that any of them can coordinate the
next. A worker's death costs the tasks that it had (`reexecute`: no other rank even stops). The coordinator's
death costs the request: the lowest living rank coordinates it anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from faults.drill.job_spec import JobSpec
from faults.drill.training import digest
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns import work
from faults.recover import recovering
from faults.recover.reexecute import reexecute


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Answer `spec.steps` requests of ``options["tasks"]`` tasks each."""
    count, load = spec.options["tasks"], work.ballast(spec.options["ballast"])
    state = {"answers": np.zeros((spec.steps, count), np.int64)}
    executions = 0

    def task(argument: tuple[int, int, np.ndarray | None]) -> int:
        nonlocal executions
        executions += 1
        step, number, carried = argument
        with tools.computing():
            answer = work.task(step, number)
            if carried is not None:
                answer += int((carried != 1.0).sum())  # none, unless it was torn
        return answer

    with recovering(job_comm(spec, tools), state, policy="shrink", at_least=2, drill=tools) as job:
        while job.next(spec.steps):
            with job.attempt():
                row = state["answers"][job.step]
                carrying = job.comm.Get_size() - 1 if work.loaded(load.nbytes, job.step) else 0  # one for each worker
                requests = [(job.step, number, load if number < carrying else None) for number in range(count)]
                reexecute(job.comm, task, requests, row)
    return {
        "digest": digest(job.committed),
        "steps": job.step,
        "place": job.place,
        "recoveries": job.recoveries,
        "executions": executions,
    }
