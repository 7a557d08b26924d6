"""Time operations on simulated ranks: one repetition is exact, so that more are needed only if the network varies.

Where it is exact, a collective is timed by replaying its recorded schedule. On up to `CHECKED_RANKS` ranks the first
size runs on every rank as well, and only if both times agree are the further sizes replayed. A collective that must run
on more ranks is left out where its messages would take longer than is left of the budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from emulator import carrier
from emulator.measure.series import BYTE_S, CHECKED_RANKS, EXACT, MESSAGE_S, Job, Series, Stop
from emulator.network.topology import Flat
from emulator.sim.collectives.lockstep import apart
from emulator.sim.collectives.recording import NoReplay, messages
from emulator.sim.schedule import replay

_TOLERANCE = 1e-9


def measure(
    control: Any, jobs: Sequence[Job], series: Sequence[Series], stop: Stop, tick: Callable[[float], None] | None
) -> None:
    """Run each job once, or until its varying time is known precisely enough; collective over `control`.

    Parameters
    ----------
    control : the control plane of simulated ranks
    jobs, stop, tick : as of `emulator.measure.repetitions.measure`; every job runs at least once, whatever the budget,
        but for collectives on more than `CHECKED_RANKS` ranks
    series : on rank 0, of these jobs: filled in as they run; those left out stay empty
    """
    rank, exact = control.Get_rank(), carrier.of(control).exact
    root = _Root(control, jobs, series, stop, tick, exact) if rank == 0 else None
    running = control.bcast(root and root.next())
    while running is not None:
        rows = control.gather(_repetition(jobs[running], rank))
        running = control.bcast(root and root.add(rows))


class _Root:
    """Decides on rank 0 which job all ranks run next, and times those that need not be run."""

    def __init__(
        self, control: Any, jobs: Sequence[Job], series: Sequence[Series], stop: Stop,
        tick: Callable[[float], None] | None, exact: bool,
    ) -> None:  # fmt: skip
        self._jobs, self._series, self._stop, self._tick, self._exact = jobs, series, stop, tick, exact
        self._replays, self._left = (_Replays(control) if exact else None), _Left()
        self._at = -1
        self._began = self._started = self._ticked = time.perf_counter()

    def next(self) -> int | None:
        """Advance to the next job that must be run and return its index; None if there is none."""
        for at in range(self._at + 1, len(self._jobs)):
            self._at, one = at, self._series[at]
            settled = self._replays is not None and self._replays.settle(one)
            now = self._advance()
            left = self._began + self._stop.budget - now
            if not settled and not self._left.out(one.job, max(left, self._stop.budget / len(self._jobs))):
                self._started = now
                return at
        return None

    def add(self, rows: Sequence[tuple[float, float, int] | None]) -> int | None:
        """Add a repetition of the running job and return the index of the job to run next; None if there is none."""
        one, now = self._series[self._at], self._advance()
        _add(one, rows)
        self._left.took(now - self._started)
        self._started = now
        if self._replays is not None:
            self._replays.compare(one)
        share = self._stop.budget * (self._at + 1) / len(self._jobs)  # with what earlier jobs have not used
        over = "budget" if now - self._began > share else ""
        one.stopped = EXACT if self._exact else self._stop.reason(one.seconds) or over
        return self.next() if one.stopped else self._at

    def _advance(self) -> float:
        """Advance the progress bar; returns the wall time."""
        now = time.perf_counter()
        if self._tick is not None:
            self._tick(now - self._ticked)
        self._ticked = now
        return now


class _Left:
    """Chooses which collectives on many ranks are left out, by the wall time per message between live ranks so far."""

    def __init__(self) -> None:
        self._estimate = self._estimated = self._took = 0.0

    def out(self, job: Job, seconds: float) -> bool:
        """Whether a job is left out with that many wall seconds left."""
        self._estimate = 0.0
        if job.ranks <= CHECKED_RANKS:
            return False
        if job.messages is not None:
            self._estimate = job.messages * (MESSAGE_S + job.bytes * BYTE_S)
        elif job.schedule is not None:  # of phantoms, whose bytes take no time
            self._estimate = messages(job.schedule, job.ranks) * MESSAGE_S
        return self._estimate * (self._took / self._estimated if self._estimated else 1.0) > seconds

    def took(self, seconds: float) -> None:
        """Note the wall seconds of a repetition."""
        if self._estimate:
            self._estimated += self._estimate
            self._took += seconds


class _Replays:
    """Times of jobs computed from their recorded schedules, on rank 0.

    Attributes
    ----------
    agreed : whether a pattern on a number of ranks took the same time replayed and live, for those compared
    """

    def __init__(self, control: Any) -> None:
        self._network = control.engine.network
        self.agreed: dict[tuple[str, int], bool] = {}
        self._replayed: float | None = None

    def settle(self, series: Series) -> bool:
        """Time a job without running it; returns whether the time is exact."""
        job = series.job
        agreed = self.agreed.get((job.pattern, job.ranks))
        self._replayed = None if agreed is False else self._replay(job)
        if self._replayed is None or (agreed is None and job.ranks <= CHECKED_RANKS):
            return False
        series.seconds.append(self._replayed / job.parts)
        series.skews.append(0.0)
        series.wrong, series.stopped = None, EXACT
        return True

    def compare(self, series: Series) -> None:
        """Compare the measured time of a job with its replay."""
        if self._replayed is not None:
            ran, job = series.seconds[-1] * series.job.parts, series.job
            self.agreed[job.pattern, job.ranks] = abs(self._replayed - ran) <= _TOLERANCE * ran

    def _replay(self, job: Job) -> float | None:
        """Seconds of a job by its schedule; None if it has none or the result could not be exact."""
        network = self._network
        whole = job.ranks == network.ranks
        flat = isinstance(network.spec.topology, Flat) and not network.spec.listed
        if job.schedule is None or job.every_rank or not (whole or flat):
            return None  # part of another topology than a flat one has paths of its own
        try:
            return replay(job.schedule, job.ranks, network).seconds
        except NoReplay:
            return None


def _repetition(job: Job, rank: int) -> tuple[float, float, int] | None:
    """Run a job on a rank: its start and end in simulated time, and wrong elements; None on a non-member."""
    if job.once is None or rank not in job.members:
        return None
    carried = carrier.of(job.comm)
    carried.align()
    start = carried.now()
    compared = job.schedule is not None and not job.every_rank and job.ranks <= CHECKED_RANKS
    with apart(carried) if compared else nullcontext():  # what a replay is compared with is not replayed itself
        job.once()
    end = carried.now()
    return start, end, 0 if job.check is None else job.check()


def _add(series: Series, rows: Sequence[tuple[float, float, int] | None]) -> None:
    """Add a repetition from its members' times: from the first start to the last end."""
    starts, ends, wrong = np.array([row for row in rows if row is not None]).T
    series.seconds.append(float(ends.max() - starts.min()) / series.job.parts)
    series.skews.append(float(np.ptp(starts)) / series.job.parts)
    phantoms = series.job.check is None and series.job.schedule is not None
    series.wrong = None if phantoms else (series.wrong or 0) + int(wrong.sum())
