"""A whole drill in one process and in virtual time, with an executioner and a clock that the test brings."""

import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

from faults.agree import survivor_group
from faults.campaigns import random_drills
from faults.drill import job_spec, timeline
from faults.drill.checks import Evaluation, evaluate
from faults.drill.job_spec import JobSpec
from faults.drill.request import Request
from faults.inject.drill_context import DrillContext
from faults.inject.injector import Injector
from faults.launch.supervise import Finished
from faults.launch.watchdog import BY_ITSELF, Ending, Watch
from faults.patterns.catalogue import CATALOGUE
from faults.record import journal
from faults.record.journal import Journal
from faults.record.status_board import StatusBoard
from faults.recover import recovering
from faults.recover.repair import APART
from tests.faults.one_process import PID, Comm, Job

STEP_S = 0.01
LIMIT_S = 0.25


class Launched:
    """What the watchdog sees of the job: it has ended when all ranks have."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def poll(self) -> int | None:
        return 0 if {PID + rank for rank in range(self.job.size)} <= self.job.scheduler.ended else None

    def stop(self, grace: float) -> None:
        assert self.poll() == 0

    def leftovers(self) -> list[int]:
        return []


def drill(folder, monkeypatch, request: Request) -> tuple[Job, Finished, Evaluation]:
    """Run it: all ranks and the watchdog, on a platform of the test's; then check it like any drill."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(survivor_group, "WORK_COMMS", 64)  # one for each recovery: `Comm` has no Shrink
    ring = replace(CATALOGUE["ring"], matches=_right)
    monkeypatch.setitem(CATALOGUE, "ring", ring)
    spec = request.spec()
    job = Job(spec.world)
    for name in (job_spec.JOURNAL, job_spec.STACKS):
        (folder / name).mkdir(parents=True)
    board = StatusBoard.create(folder / job_spec.BOARD, spec.members, len(spec.events), job.platform)
    results: list[dict] = []
    endings: list[Ending] = []

    def launcher() -> None:
        watch = Watch(folder, board, 20.0, 120.0, spec.failure_detector.watcher(board, LIMIT_S))
        endings.append(watch.until_end(Launched(job)))  # type: ignore[arg-type]

    began = job.scheduler.t
    ranks = [lambda member=member: rank(folder, spec, job, board, member, results) for member in range(spec.world)]
    job.scheduler.run(*ranks, launcher)
    own = Journal(folder / job_spec.JOURNAL, 999, clock=job.platform.clock)
    for member, at in endings[0].fenced.items():
        own.write("fenced", whom=member, fenced=at)
    records = journal.read(folder / job_spec.JOURNAL)
    fired = [float(at) for at in board.fired]
    finished = Finished(spec, folder, endings, results, records, fired, began, job.scheduler.t)
    return job, finished, evaluate(finished)


def rank(folder, spec: JobSpec, job: Job, board: StatusBoard, member: int, results: list[dict]) -> None:
    """The program of one rank: each step adds up what all ranks send to each other."""
    own = Journal(folder / job_spec.JOURNAL, member, clock=job.platform.clock)
    board.enter(member, member if member < spec.ranks else -1, 0)
    injector = Injector(spec.events, board, own, member, member)
    context = DrillContext(own, board, injector, member, job.platform)
    own.write("started")
    comm = Comm(job, member)
    comm.carrier.instruments.append(injector)
    state = {"sum": np.zeros(1)}
    policy, every = spec.recovery, spec.options["agree"]
    with recovering(comm, state, policy=policy, spares=spec.spares, drill=context, every=every) as loop:
        while loop.next(spec.steps):
            with loop.attempt():
                with context.computing(STEP_S):
                    part = np.array([(loop.step + 1.0) / loop.comm.size])
                comm.carrier.phase("reduce_scatter", step=loop.step)
                peers = [one for one in range(loop.comm.size) if one != loop.comm.rank]
                for peer in peers:
                    loop.comm.Send(part, peer)
                comm.carrier.phase("all_gather", step=loop.step)
                theirs = np.zeros(1)
                for peer in peers:
                    loop.comm.Recv(theirs, peer, 0)
                    part += theirs
                state["sum"] += part
    results.append({"place": loop.place, "attempt": 0, "sum": float(loop.committed["sum"][0])})
    own.write("left")
    board.leave(member)


def _right(spec: JobSpec, folder, results) -> tuple[bool, str]:
    expected = spec.steps * (spec.steps + 1) / 2
    sums = [result["sum"] for result in results if result["place"] is not None]
    return all(abs(one - expected) < 1e-9 for one in sums), f"sums {sums}"


SHRINKS = [
    ([], 4),
    (["kill 2 @ step 5"], 3),
    (["kill 0 @ step 0"], 3),
    (["kill 0 @ step 5 + 400 us"], 3),
    (["kill 1,3 @ step 5"], 2),
    (["kill 0-2 @ step 5"], 1),
    (["kill 2 @ step 5 phase all_gather"], 3),
    (["kill 2 @ step 5", "kill 0 @ recovery"], 2),
    (["kill 2 @ step 5", "kill 1 @ phase shrink"], 2),
    (["kill 2 @ step 5", "kill 3 @ recovery + 700 us"], 2),
    (["kill 2 @ step 11"], 3),  # the last one
    (["kill 2 @ step 11 phase all_gather + 200 us"], 3),
    (["kill 1 @ step 5", "kill 2 @ phase agree"], 2),
    (["kill 1 @ time 42 ms"], 3),
    (["kill 0 @ time 42 ms", "kill 3 @ time 43 ms"], 2),
    (["hang 1 @ step 5"], 3),
    (["hang 1 @ step 5 + 3 ms", "kill 2 @ recovery"], 2),
    (["hang 1 @ step 5 for 100 ms"], 4),
    (["slow 1 @ step 5 by 4"], 4),
]
LEAVES = [
    (["preempt 2 @ step 5"], None, 3),
    (["preempt 0 @ step 0 for 2 s"], None, 3),
    (["preempt 1-2 @ step 5"], None, 2),
    (["preempt 2 @ step 5", "preempt 3 @ step 6 + 3 ms"], None, 2),
    (["preempt 2 @ step 5", "kill 0 @ recovery"], None, 2),
    (["preempt 2 @ step 5", "preempt 2 @ step 10"], 2, 4),
    (["preempt 0-2 @ step 5", "preempt 3 @ step 5 + 1 ms"], 2, 2),  # all that have the state, at once
    (["preempt 0 @ step 5 + 3 ms"], 1, 4),
]
SPARES = [
    (["kill 0 @ step 5"], 1, 4),
    (["kill 0 @ step 0"], 1, 4),
    (["kill 3 @ step 11 + 300 us"], 1, 4),
    (["kill 2 @ step 4", "kill 2 @ step 8"], 2, 4),  # the successor dies as well
    (["kill 2 @ step 4", "kill 0 @ phase restore"], 2, 4),  # the rank that sends the state dies
    (["kill 1,3 @ step 4"], 1, 3),  # one spare for two deaths
    (["kill 4 @ step 4", "kill 1 @ step 8"], 1, 3),  # the spare itself dies while it waits
    (["kill 4 @ step 4", "kill 1 @ step 8"], 2, 4),  # one of two
    (["kill 4 @ step 4"], 1, 4),  # and is not missed before the end
]


@pytest.mark.parametrize("agree", [0, 1, 5])
@pytest.mark.parametrize(("lines", "spares", "ranks_after"), [(lines, None, left) for lines, left in SHRINKS] + SPARES)
def test_a_drill_runs_on_a_platform_of_its_own(tmp_path, monkeypatch, lines, spares, ranks_after, agree) -> None:
    request = Request("ring", 4, lines, "spare" if spares else "shrink", spares, steps=12, options={"agree": agree})
    job, finished, evaluation = drill(tmp_path, monkeypatch, request)
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.ranks_after == ranks_after
    assert evaluation.lost_steps <= len(lines) * (agree or APART)
    (ending,) = finished.endings
    assert ending.why == BY_ITSELF
    dead = {death.member for death in timeline.deaths(finished.records)}
    assert {pid - PID for _, pid, number in job.scheduler.struck if number == signal.SIGKILL} == dead
    hangs = {event.rank for event in finished.spec.events if event.kind.silent and event.ends_rank}
    assert set(ending.fenced) == hangs
    for member, at in ending.fenced.items():  # the last beat was that of the beginning of the step
        (struck,) = [t for t, pid, number in job.scheduler.struck if (pid, number) == (PID + member, signal.SIGSTOP)]
        assert abs(at - struck - LIMIT_S) < 2 * STEP_S


@pytest.mark.parametrize("agree", [0, 1, 2])
@pytest.mark.parametrize(("lines", "spares", "ranks_after"), LEAVES)
def test_a_rank_that_is_told_to_leave_costs_no_step(tmp_path, monkeypatch, lines, spares, ranks_after, agree) -> None:
    request = Request("ring", 4, lines, "spare" if spares else "shrink", spares, steps=20, options={"agree": agree})
    _, finished, evaluation = drill(tmp_path, monkeypatch, request)
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert evaluation.ranks_after == ranks_after
    departed = [r["member"] for r in finished.records if r["what"] == "departed"]
    assert len(departed) == len([event for event in finished.spec.events if event.kind.told])
    if not any("kill" in line for line in lines):
        assert evaluation.lost_steps == 0


def test_a_rank_that_has_not_left_in_its_time_of_grace_is_killed(tmp_path, monkeypatch) -> None:
    request = Request("ring", 4, ["preempt 2 @ step 5 for 1 ms"], "shrink", steps=20, options={"agree": 1})
    job, finished, evaluation = drill(tmp_path, monkeypatch, request)
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert "departed" not in {r["what"] for r in finished.records}
    assert (PID + 2, signal.SIGKILL) in {(pid, number) for _, pid, number in job.scheduler.struck}


@pytest.mark.parametrize("number", range(40))
def test_a_trial_of_the_soak(tmp_path, monkeypatch, number: int) -> None:
    """Some 350 random kills in jobs of up to 16 ranks; `tests.faults.campaigns.test_soak` has real ones."""
    trial = random_drills.draw(Request(ranks=16, seed=20), number)
    job, finished, evaluation = drill(tmp_path, monkeypatch, trial.request)
    assert evaluation.recovered, f"{evaluation.phase}: {evaluation.reason}"
    assert all(fault["fired"] for fault in evaluation.fired)
    died = {death.member for death in timeline.deaths(finished.records)}
    assert {pid - PID for _, pid, _ in job.scheduler.struck} == died
    assert len(died) == len(trial.request.faults)
    assert evaluation.lost_steps <= len(evaluation.episodes) * (trial.request.options["agree"] or APART)


def test_virtual_time_is_the_same_every_time(tmp_path, monkeypatch) -> None:
    request = Request("ring", 4, ["kill 2 @ step 5 + 3 ms"], "shrink", steps=12)
    one, two = (drill(tmp_path / name, monkeypatch, request)[1] for name in ("one", "two"))
    assert one.records == two.records
