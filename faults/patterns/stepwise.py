"""Patterns in which a job is a loop of steps that everybody commits together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from faults.instruments import Instruments
from faults.job import JobSpec
from faults.patterns.ring import RingTraining
from faults.recover import recovering
from faults.training import digest

DATA = "digits.npy"


def run(spec: JobSpec, folder: Path, tools: Instruments) -> dict[str, Any]:
    """Train to the end under the job's policy."""
    work = RingTraining(spec, np.load(folder / DATA))
    with recovering(
        MPI.COMM_WORLD, work.state, policy=spec.policy, spares=spec.spares, instruments=tools
    ) as job:
        while job.next(spec.steps):
            with job.attempt():
                work.step(job.comm, job.step, tools.injector)
    return {
        "digest": digest(job.committed),
        "losses": job.committed["losses"].tolist(),
        "steps": job.step,
        "place": job.place,
        "places": sorted(job.table.places),
        "recoveries": job.recoveries,
        **work.outcome(),
    }
