"""Time operations of simulated ranks: a repetition is exact, so that one is enough unless the network varies.

Where it is exact, a collective is timed by replaying its recorded schedule. On up to `CHECKED_RANKS` ranks the first
size runs on every rank as well, and only if both times agree are the further sizes replayed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from emulator import carrier
from emulator.measure.series import EXACT, Job, Series, Stop
from emulator.network.topology import Flat
from emulator.sim.schedule import NoReplay, replay

CHECKED_RANKS = 64
_TOLERANCE = 1e-9


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
    replays = _Replays(control) if root and exact else None
    for index, job in enumerate(jobs):
        reason = control.bcast(replays.settle(series[index]) if replays is not None else "")
        while not reason:
            rows = control.gather(_repetition(job, control.Get_rank()))
            if root:
                now = time.perf_counter()
                _add(series[index], rows)
                if replays is not None:
                    replays.compare(series[index])
                over = "budget" if now - began > stop.budget else ""
                reason = series[index].stopped = EXACT if exact else stop.reason(series[index].seconds) or over
                if tick is not None:
                    tick(now - ticked)
                ticked = now
            reason = control.bcast(reason)


class _Replays:
    """Times of jobs by their recorded schedules, on rank 0.

    Attributes
    ----------
    agreed : whether a pattern on a number of ranks took the same time replayed and live, for those compared
    """

    def __init__(self, control: Any) -> None:
        self._network = control.engine.network
        self.agreed: dict[tuple[str, int], bool] = {}
        self._replayed: float | None = None

    def settle(self, series: Series) -> str:
        """Time a job without running it if that is exact; gives why it is not repeated, else nothing."""
        job = series.job
        agreed = self.agreed.get((job.pattern, job.ranks))
        self._replayed = None if agreed is False else self._replay(job)
        if self._replayed is None or (agreed is None and job.ranks <= CHECKED_RANKS):
            return ""
        series.seconds.append(self._replayed / job.parts)
        series.skews.append(0.0)
        series.wrong, series.stopped = None, EXACT
        return EXACT

    def compare(self, series: Series) -> None:
        """Compare the time of a job that has run with its replay."""
        if self._replayed is not None:
            ran, job = series.seconds[-1] * series.job.parts, series.job
            self.agreed[job.pattern, job.ranks] = abs(self._replayed - ran) <= _TOLERANCE * ran

    def _replay(self, job: Job) -> float | None:
        """Seconds of a job by its schedule; None if it has none, or the result could not be exact."""
        network = self._network
        whole = job.ranks == network.ranks
        if job.schedule is None or not (whole or (isinstance(network.plan.topology, Flat) and not network.plan.listed)):
            return None  # part of another topology than a flat one has paths of its own
        try:
            return replay(job.schedule, job.ranks, network).seconds
        except NoReplay:
            return None


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
    series.wrong = (series.wrong or 0) + int(wrong.sum())
