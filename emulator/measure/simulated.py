"""Time operations of simulated ranks: a repetition is exact, so that one is enough unless the network varies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from emulator import carrier
from emulator.measure.series import EXACT, Job, Series, Stop


def measure(
    control: Any, jobs: Sequence[Job], series: Sequence[Series], stop: Stop, tick: Callable[[float], None] | None
) -> None:
    """Run each job once, or until it is known well enough where its time varies; collective over `control`.

    Parameters
    ----------
    control : the control plane of simulated ranks
    jobs, stop, tick : as of `emulator.measure.repetitions.measure`; every job runs at least once, whatever the budget
    series : on rank 0, of these jobs: filled in as they run
    """
    root, exact = control.Get_rank() == 0, carrier.of(control).exact
    began = ticked = time.perf_counter()
    for index, job in enumerate(jobs):
        reason = ""
        while not reason:
            rows = control.gather(_repetition(job, control.Get_rank()))
            if root:
                now = time.perf_counter()
                _add(series[index], rows)
                over = "budget" if now - began > stop.budget else ""
                reason = series[index].stopped = EXACT if exact else stop.reason(series[index].seconds) or over
                if tick is not None:
                    tick(now - ticked)
                ticked = now
            reason = control.bcast(reason)


def _repetition(job: Job, rank: int) -> tuple[float, float, int] | None:
    """Run a job on a rank: its start and end on the simulated clock, and wrong elements; None where it is no member."""
    if job.once is None or rank not in job.members:
        return None
    carried = carrier.of(job.comm)
    carried.align()
    start = carried.now()
    job.once()
    end = carried.now()
    return start, end, 0 if job.check is None else job.check()


def _add(series: Series, rows: Sequence[tuple[float, float, int] | None]) -> None:
    """Add a repetition from what its members saw: from the first start to the last end."""
    starts, ends, wrong = np.array([row for row in rows if row is not None]).T
    series.seconds.append(float(ends.max() - starts.min()) / series.job.parts)
    series.skews.append(float(np.ptp(starts)) / series.job.parts)
    series.wrong += int(wrong.sum())
