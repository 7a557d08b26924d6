"""Run a drill's job on simulated ranks, as `faults.launch.supervise` does with processes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from mpi4py import MPI

from emulator import sim
from emulator.network import load
from emulator.sim import deadlock
from emulator.sim.failures import Failures
from faults.drill import job_spec, rank
from faults.drill.job_spec import JobSpec
from faults.launch.supervise import Finished, left_results, set_anew
from faults.launch.watchdog import A_RANK_DIED, BY_ITSELF, Ending
from faults.platform import Clock, Platform
from faults.record import journal
from faults.record.journal import Journal, What
from faults.record.status_board import StatusBoard
from faults.recover.user_loop import program_failure
from faults.simulate.costs import JobCosts
from faults.simulate.platform import SimulatedClock, SimulatedExecutioner
from faults.simulate.starter import SimulatedStarter

_BEGIN_S = 1.0  # of the first launch: on the board 0 means never
_LAUNCHES = 25


class _Over(Exception):
    """Ends a launch from outside; the argument says why."""


class Launch:
    """One launch of a simulated job.

    Parameters
    ----------
    origin : seconds on the job's clock at which it begins
    """

    def __init__(self, spec: JobSpec, folder: Path, costs: JobCosts, origin: float) -> None:
        self.spec, self.folder, self.costs = spec, folder, costs
        self.failures = Failures(costs)
        self.clock = SimulatedClock(self.failures, origin, costs.work_s)
        self.executioner = SimulatedExecutioner(self.failures, self.clock, self._stopped)
        starter = SimulatedStarter(self.failures, self._rank, spec.world, costs.start_s)
        self.platform = Platform(self.clock, self.executioner, survives=True, starter=starter)
        self.board = StatusBoard(folder / job_spec.BOARD, spec.members, len(spec.events), self.platform)
        self.fenced: dict[int, float] = {}
        self._left = 0.0  # simulated time at which the last rank left
        if spec.policy.relaunches:
            self.failures.on_known.append(self._end_all)

    def run(self) -> Ending:
        """Run the launch to its end."""
        spec, why, waits, failures = self.spec, BY_ITSELF, [], self.failures
        assert spec.net is not None
        try:
            sim.run(self._rank, spec.world, load(spec.net), seed=spec.seed, failures=failures)
            ended = max([self._left, *failures.known.values()])  # what was to happen later keeps no job
        except sim.DeadlockError as stuck:
            ended, (why, *waits) = failures.now, str(stuck).splitlines()
        except _Over as over:
            ended, (why, *waits) = failures.now, str(over).splitlines()
        return Ending(None, self.clock.origin + ended, why, self.fenced, [one.strip() for one in waits])

    def _rank(self, comm: Any) -> None:
        """Run one rank from its start to its end."""
        member, failures = comm.engine.rank, self.failures
        if member == 0:
            failures.at(self.spec.deadline_s, self._expire, background=True)
        self.clock.worlds[member] = comm
        tools = rank.instruments(self.folder, self.spec, member, replace(self.platform, world=comm))
        tools.journal.write(What.STARTED, pid=self.executioner.own_id(), host=f"host{comm.engine.host}")
        try:
            rank.work(self.spec, self.folder, tools)
        except Exception:
            traceback.print_exc()
            failures.kill(member)  # as a process that crashes
        rank.leave(tools)
        tools.journal.close()
        self._left = failures.now

    # -- what the launcher does of it
    def _stopped(self, member: int) -> None:
        """Schedule what happens to a stopped rank: it is woken when due, or killed after too long a silence."""
        failures, since, engine = self.failures, self.failures.now, self.failures.engines[member]
        wake_at = float(self.board.rows["wake_at"][member])
        if wake_at:
            self.board.rows["wake_at"][member] = 0.0
            self.clock.call_at(wake_at, lambda: failures.resume(member))

        def fence() -> None:
            if engine.held and engine.stopped_at == since:
                self.fenced[member] = self.clock.origin + failures.now
                failures.kill(member)

        if self.spec.failure_detector.has_limit:
            failures.at(since + (self.spec.limit_s or self.costs.limit_s), fence)

    def _end_all(self) -> None:
        self.failures.loop.stop(_Over(A_RANK_DIED))

    def _expire(self) -> None:
        if not (left := self.failures.waiting()):
            return  # the job has ended
        waiting = deadlock.report(left, self.failures.engines).splitlines()
        self.failures.loop.stop(_Over("\n".join([f"the deadline of {self.spec.deadline_s:g} s passed", *waiting[1:]])))


def simulate(spec: JobSpec, folder: Path) -> Finished:
    """Run a job in `folder` on simulated ranks, with further launches where its policy restarts it."""
    costs = spec.costs
    if not MPI.Is_initialized():
        MPI.Init()  # statuses and datatypes are the library's, also where no message is
    for name in (job_spec.JOURNAL, job_spec.RESULTS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    board = StatusBoard.create(folder / job_spec.BOARD, spec.members, len(spec.events))
    clock = _Instant()
    ours = Journal(folder / job_spec.JOURNAL, 999, clock=clock)
    endings: list[Ending] = []
    records: list[dict[str, Any]] = []
    with _unguarded(folder / "output.txt"):
        while len(endings) < _LAUNCHES:
            spec.attempt = ours.attempt = len(endings)
            spec.save(folder)
            ours.write(What.LAUNCHED)
            set_anew(spec, board, records)
            ending = Launch(spec, folder, costs, clock.at).run()
            endings.append(ending)
            clock.at = ending.at
            for member, at in ending.fenced.items():
                ours.write(What.FENCED, whom=member, fenced=at)
            ours.write(What.ENDED, ended=ending.at, why=ending.why, status=None)
            records = journal.read(folder / job_spec.JOURNAL)
            gave_up = any(r["what"] == What.LOST and r["attempt"] == spec.attempt for r in records)
            if ending.why != A_RANK_DIED or gave_up:
                break
            clock.at += costs.teardown_s
            ours.write(What.NOTICED, how="the job ended")
            ours.write(What.AGREED, alive=[])
            clock.at += costs.launch_s
    ours.close()
    fired = [float(at) for at in board.fired]
    return Finished(spec, folder, endings, left_results(folder), records, fired, _BEGIN_S, endings[-1].at)


class _Instant(Clock):
    """The launcher's clock, set by the launcher itself."""

    def __init__(self) -> None:
        self.at = _BEGIN_S
        self.now = lambda: self.at


@contextmanager
def _unguarded(output: Path) -> Iterator[None]:
    """Undo what a recovering program changes in its process, which here has many ranks and outlives them.

    What ranks print about their end goes to a file, as with real ones.
    """
    hook = sys.excepthook
    try:
        with output.open("a") as file, redirect_stderr(file):
            yield
    finally:
        sys.excepthook = hook
        program_failure.leave_loop()
