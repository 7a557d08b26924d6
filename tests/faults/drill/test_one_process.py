"""A whole drill in one process and in virtual time, with an executioner and a clock that the test brings."""

import signal
import sys

import numpy as np
import pytest

from faults import detect
from faults.agree import survivor_group
from faults.drill import job_spec, timeline
from faults.drill.job_spec import JobSpec
from faults.drill.request import Request
from faults.inject.drill_context import DrillContext
from faults.inject.injector import Injector
from faults.launch.watchdog import BY_ITSELF, Ending, Watch
from faults.record import journal
from faults.record.journal import Journal
from faults.record.status_board import StatusBoard
from faults.recover import recovering
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


def drill(folder, monkeypatch, request: Request) -> tuple[JobSpec, Job, Ending, list[dict], list[float]]:
    """Run it; the spec, the job, how it ended, the journals, and the final sums of the ranks that reached the end."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    spec = request.spec()
    job = Job(spec.world)
    clock = job.platform.clock
    (folder / job_spec.JOURNAL).mkdir()
    (folder / job_spec.STACKS).mkdir()
    path = folder / job_spec.BOARD
    board = StatusBoard.create(path, spec.members, len(spec.events), job.platform)
    sums: list[float] = []
    endings: list[Ending] = []

    def rank(member: int) -> None:
        own = Journal(folder / job_spec.JOURNAL, member, clock=clock)
        place = member if member < spec.ranks else -1
        board.enter(member, place, 0)
        injector = Injector(spec.events, board, own, member, member)
        context = DrillContext(own, board, injector, member, job.platform)
        own.write("started")
        comm = Comm(job, member)
        comm.carrier.instruments.append(injector)
        state = {"sum": np.zeros(1)}
        with recovering(comm, state, policy=spec.recovery, spares=spec.spares, drill=context) as loop:
            while loop.next(spec.steps):
                with loop.attempt():
                    with context.computing(STEP_S):
                        part = np.array([(loop.step + 1.0) / loop.comm.size])
                    peers = [one for one in range(loop.comm.size) if one != loop.comm.rank]
                    for peer in peers:
                        loop.comm.Send(part, peer)
                    theirs = np.zeros(1)
                    for peer in peers:
                        loop.comm.Recv(theirs, peer, 0)
                        part += theirs
                    state["sum"] += part
        if loop.place is not None:
            sums.append(float(loop.committed["sum"][0]))
        own.write("left")
        job.left.add(member)
        board.leave(member)

    def launcher() -> None:
        watch = Watch(folder, board, 20.0, 120.0, detect.detector(spec.detector, board, LIMIT_S))
        endings.append(watch.until_end(Launched(job)))  # type: ignore[arg-type]

    job.scheduler.run(*[lambda member=member: rank(member) for member in range(spec.world)], launcher)
    return spec, job, endings[0], journal.read(folder / job_spec.JOURNAL), sums


@pytest.mark.parametrize(
    ("lines", "recovery", "dead", "ranks_after"),
    [
        ([], "shrink", [], 4),
        (["kill 2 @ step 5"], "shrink", [2], 3),
        (["kill 2 @ step 5 + 3 ms", "kill 0 @ recovery"], "shrink", [0, 2], 2),
        (["kill 1 @ time 42 ms"], "shrink", [1], 3),
        (["kill 1 @ step 5", "kill 0 @ phase restore"], "spare", [0, 1], 4),
        (["hang 1 @ step 5"], "shrink", [1], 3),
        (["hang 1 @ step 5 for 100 ms"], "shrink", [], 4),
        (["slow 1 @ step 5 by 10"], "shrink", [], 4),
    ],
)
def test_a_drill_runs_on_a_platform_of_its_own(tmp_path, monkeypatch, lines, recovery, dead, ranks_after) -> None:
    spares = 2 if recovery == "spare" else None
    monkeypatch.setattr(survivor_group, "WORK_COMMS", 6)
    spec, job, ending, records, sums = drill(
        tmp_path, monkeypatch, Request("ring", 4, lines, recovery, spares, steps=12)
    )
    assert sums == [78.0] * ranks_after  # 1 + 2 + ... + 12
    assert ending.why == BY_ITSELF
    assert [d.member for d in sorted(timeline.deaths(records), key=lambda d: d.member)] == dead
    assert {pid - PID for _, pid, number in job.scheduler.struck if number == signal.SIGKILL} == set(dead)
    for episode in timeline.episodes(records):
        assert sum(episode.phases.values()) == pytest.approx(episode.seconds, abs=1e-9)
    hangs = [e for e in spec.events if e.kind.silent and e.ends_rank]
    assert set(ending.fenced) == {e.rank for e in hangs}
    for member, at in ending.fenced.items():  # the beat was that of the beginning of the step
        (struck,) = [t for t, pid, number in job.scheduler.struck if (pid, number) == (PID + member, signal.SIGSTOP)]
        assert LIMIT_S < at - struck < LIMIT_S + 2 * STEP_S


def test_virtual_time_is_the_same_every_time(tmp_path, monkeypatch) -> None:
    told = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found = drill(tmp_path / name, monkeypatch, Request("ring", 4, ["kill 2 @ step 5 + 3 ms"], "shrink", steps=12))
        told.append(found[3])
    assert told[0] == told[1]
