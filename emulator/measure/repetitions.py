"""Time operations of many ranks: one repetition lasts from the first rank's start to the last rank's end.

Neither a rank's own time nor a mean over ranks is the cost of a collective operation, because ranks run ahead of one
another. The clocks of all members are comparable: `time.perf_counter` within a host, synchronised across hosts, or the
emulated clock, aligned before every repetition.

Jobs (a pattern, a number of ranks, a size) are repeated in rounds. The order is shuffled for every round, so that a
disturbance affects all jobs and ours and the native call alternate. One job runs at a time. Ranks that are not members
of it sleep until their next one: in a barrier they would keep cores busy. A job ends when the 95 % interval of its
median is narrow enough, at a number of repetitions, or when the time is up; the result says which.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator import carrier
from emulator.core.wall_clock import cores, wait_until
from emulator.measure.series import Job, Series, Stop
from emulator.wire.clock_sync import synchronise

_PARKED = 2e-3  # longest sleep of a rank that waits for its next job, in seconds
_VISIT = 5e-3  # seconds of repetitions per visit of a job: long beside the time to wake its members
_MOST_PER_VISIT = 8
_AHEAD = 30e-6  # how far ahead the members agree on their start, in seconds


def measure(
    control: MPI.Intracomm,
    jobs: Sequence[Job],
    stop: Stop,
    *,
    seed: int = 0,
    tick: Callable[[float], None] | None = None,
    under_way: list[Series] | None = None,
) -> list[Series]:
    """Repeat all jobs until each is known precisely enough or the time is up; collective over `control`.

    Parameters
    ----------
    control : a bare communicator that nothing else uses meanwhile; what it carries costs no emulated time
    jobs : the same jobs in the same order on all ranks
    stop : when to stop
    seed : of the shuffled order
    tick : called on rank 0 with the seconds that have passed since the last call, for a progress bar
    under_way : has the series, on rank 0, until all is done: a job that is ended by a signal saves them

    Returns
    -------
    list of Series
        On rank 0, in the order of `jobs`, without those that a simulation left out; empty on the others.
    """
    kept = [] if under_way is None else under_way
    series = kept[:] = [Series(job) for job in jobs] if control.rank == 0 else []
    if carrier.of(control).timed:
        from emulator.measure import simulated  # MPI's ranks need no simulation

        simulated.measure(control, jobs, series, stop, tick)
    else:
        rounds = _Rounds(control, jobs, series, stop, seed, tick)
        with _no_garbage_collection():
            rounds.run()
        # Not after an error: freeing is collective, and what is under way may yet be saved.
        for gate in rounds.gates.values():
            gate.comm.Free()
    kept.clear()
    return [one for one in series if one.seconds]


class _Gate:
    """Synchronises a job's members before it: they sleep until all have arrived, then start together."""

    def __init__(self, control: MPI.Intracomm, members: tuple[int, ...], now: Callable[[], float], spins: bool) -> None:
        self._now = now
        whole = control.Get_group()
        group = whole.Incl(members)
        self.comm = control.Create_group(group)
        group.Free()
        whole.Free()
        self._token, self._word = np.zeros(1), np.zeros(1)
        self._spins = spins

    def meet(self, word: float = 0.0) -> float:
        """Wait asleep until all members have arrived; every member returns the first member's `word`."""
        comm = self.comm
        others = range(1, comm.size)
        if comm.rank == 0:
            tokens = np.zeros(comm.size)
            arrivals = [comm.Irecv(tokens[i : i + 1], i) for i in others]
            wait_until(lambda: MPI.Request.Testall(arrivals), longest=_PARKED)
            self._word[0] = word
            MPI.Request.Waitall([comm.Isend(self._word, i) for i in others])
        else:
            release = comm.Irecv(self._word, 0)
            comm.Isend(self._token, 0).Wait()
            wait_until(release.Test, longest=_PARKED)
        return float(self._word[0])

    def start(self) -> None:
        """Start together: at an agreed instant if every rank has a core, else after a barrier."""
        self.comm.Barrier()
        if self._spins:
            self._word[0] = self._now() + _AHEAD
            self.comm.Bcast(self._word, 0)
            while self._now() < self._word[0]:
                pass


class _Rounds:
    """The state of a call of `measure`: gates, repetitions per job in this round, and on rank 0 the series."""

    def __init__(
        self,
        control: MPI.Intracomm,
        jobs: Sequence[Job],
        series: list[Series],
        stop: Stop,
        seed: int,
        tick: Callable[[float], None] | None,
    ) -> None:
        self.control, self.jobs, self.series, self.stop, self.seed, self.tick = control, jobs, series, stop, seed, tick
        sync = synchronise(control)
        self.now = time.perf_counter if sync.clocks == 1 else sync.now
        all_ranks = tuple(range(control.size))
        spins = not _some_host_is_crowded(control)
        self.gates = {
            members: _Gate(control, members, self.now, spins)
            for members in dict.fromkeys([all_ranks, *(job.members for job in jobs)])
            if control.rank in members
        }
        self.all = self.gates[all_ranks]
        self.wrong = np.zeros(len(jobs), dtype=np.int64)
        self.began = self.ticked = time.perf_counter()

    def run(self) -> None:
        for index in range(len(self.jobs)):
            self._visit(index, np.zeros((0, 2)), checked=True)
        plan = np.ones(len(self.jobs), dtype=np.int64)
        number = 0
        while plan.any():
            number += 1
            self._collect(plan, self._round(plan, number))
            self._plan(plan)
        total = np.zeros_like(self.wrong)
        self.control.Reduce(self.wrong, total)
        for index, series in enumerate(self.series):
            series.wrong = int(total[index])

    def _round(self, plan: NDArray[np.int64], number: int) -> NDArray[np.float64]:
        """Visit every job of the plan, in this round's own order; returns this rank's starts and ends."""
        times = np.full((int(plan.sum()), 2), np.nan)
        last = np.cumsum(plan)
        # Every rank draws the same order. A check costs time as well: it comes in rounds 1, 2, 4, 8 and so on.
        checked = number & (number - 1) == 0
        before: tuple[int, ...] = ()
        for index in np.random.default_rng((self.seed, number)).permutation(len(plan)):
            if plan[index]:
                members = self.jobs[index].members
                self._hand_on(set(before).difference(members), members[0])
                rows = times[last[index] - plan[index] : last[index]]
                self._visit(int(index), rows, checked=checked, may_skip=number > 1)
                before = members
        return times

    def _hand_on(self, before: set[int], first: int) -> None:
        """Make a job's first member wait for those members of the job before it that are not in both."""
        if self.control.rank in before:
            self.control.Send(np.zeros(1), first)
        elif self.control.rank == first and before:
            tokens = np.zeros((len(before), 1))
            arrivals = [self.control.Irecv(token, rank) for token, rank in zip(tokens, before, strict=True)]
            wait_until(lambda: MPI.Request.Testall(arrivals), longest=_PARKED)

    def _visit(self, index: int, times: NDArray[np.float64], *, checked: bool, may_skip: bool = False) -> None:
        """Fill `times`, shape (repetitions, 2), with starts and ends; without rows, run once untimed."""
        job = self.jobs[index]
        if self.control.rank not in job.members or job.once is None:
            return
        gate = self.gates[job.members]
        over = time.perf_counter() - self.began > self.stop.budget
        if gate.meet(over and may_skip):
            return
        carried = carrier.of(job.comm)
        now = carried.now if carried.timed else self.now
        for row in times:
            gate.start()
            if carried.timed:
                carried.align()
            start = now()
            job.once()
            row[:] = start, now()
        if not len(times):
            if carried.timed:  # the clocks of ranks that took no part in other jobs are behind
                carried.align()
            job.once()
        if checked and job.check is not None:
            self.wrong[index] += job.check()
        if self.tick is not None and self.control.rank == 0:
            ticked = time.perf_counter()
            self.tick(ticked - self.ticked)
            self.ticked = ticked

    def _collect(self, plan: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        """Gather all ranks' starts and ends on rank 0 and compute the times of whole operations."""
        self.all.meet()
        gathered = np.empty((self.control.size, *times.shape)) if self.control.rank == 0 else None
        self.control.Gather(times, gathered)
        if gathered is None:
            return
        for index, rows in enumerate(np.split(gathered, np.cumsum(plan)[:-1], axis=1)):
            members = rows[list(self.jobs[index].members)]
            # A visit that the budget cut off has no times at all.
            starts, ends = members[:, ~np.isnan(members).any(axis=(0, 2))].transpose(2, 0, 1)
            series = self.series[index]
            if starts.size:
                took = ends.max(axis=0) - starts.min(axis=0)
                series.seconds += (took / self.jobs[index].parts).tolist()
                series.skews += (np.ptp(starts, axis=0) / self.jobs[index].parts).tolist()

    def _plan(self, plan: NDArray[np.int64]) -> None:
        """Set, as rank 0 decides, how often each job is repeated in the next round; 0 for those that have ended."""
        if self.control.rank == 0:
            over = time.perf_counter() - self.began > self.stop.budget
            for index in np.flatnonzero(plan):
                series = self.series[index]
                series.stopped = self.stop.reason(series.seconds) or ("budget" if over else "")
                plan[index] = 0 if series.stopped else self._repetitions(series)
        self.control.Bcast(plan)

    def _repetitions(self, series: Series) -> int:
        typical = max(float(np.median(series.seconds)) * series.job.parts, 1e-9)
        left = self.stop.most - len(series.seconds)
        return max(1, min(_MOST_PER_VISIT, int(_VISIT / typical), left))


def _some_host_is_crowded(control: MPI.Intracomm) -> bool:
    """Whether on any host the ranks of this job outnumber the cores; the same on every rank."""
    neighbours = control.Split_type(MPI.COMM_TYPE_SHARED)
    found: bool = control.allreduce(neighbours.size > cores(), MPI.LOR)
    neighbours.Free()
    return found


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Switch garbage collection off during timed regions, as `timeit` does."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
