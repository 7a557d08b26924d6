"""Patterns in which a job is a loop of steps that everybody commits together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from faults.checkpoint import Store
from faults.instruments import Instruments
from faults.job import JobSpec
from faults.patterns.ring import RingTraining
from faults.recover import Recovering, recovering
from faults.recover.restart import Restarting
from faults.training import State, digest

DATA = "digits.npy"


def run(spec: JobSpec, folder: Path, tools: Instruments) -> dict[str, Any]:
    """Train to the end under the job's policy."""
    work = RingTraining(spec, np.load(folder / DATA))
    with _session(spec, folder, work.state, tools) as job:
        while job.next(spec.steps):
            with job.attempt():
                work.step(job.comm, job.step, tools.injector)
    return {
        "digest": digest(job.committed),
        "losses": job.committed["losses"].tolist(),
        "steps": job.step,
        "place": job.place,
        "recoveries": job.recoveries,
        **work.outcome(),
    }


def _session(spec: JobSpec, folder: Path, state: State, tools: Instruments) -> Recovering | Restarting:
    """The loop of the job's policy, with the checkpoints that it needs."""
    if spec.policy != "restart":
        return recovering(MPI.COMM_WORLD, state, policy=spec.policy, spares=spec.spares, instruments=tools)
    wanted = spec.checkpoint
    store = Store(
        wanted.get("folder") or folder / "checkpoints", spec.name, wanted["keep"], background=wanted["background"]
    )
    if tools.injector is not None:
        tools.injector.handlers |= {
            "corrupt": lambda event: store.corrupt(event.rank),
            "full": lambda event: store.fill_disk(event.duration_s),
        }
    return Restarting(MPI.COMM_WORLD, state, store, wanted["every"], wanted["mtbf_s"], tools)
