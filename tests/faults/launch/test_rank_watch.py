"""When the launcher of a user's program ends a launch, from what is known of its ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from faults import policies
from faults.launch import own_program, rank_watch
from faults.launch.rank_watch import RankWatch, lost_early
from faults.record import outcome
from faults.record.outcome import BEGAN, FAILED, LEFT, REACHED, Process

AT_WORK = Process(BEGAN, began=True)
KILLED = Process(rank=1, code=-9)


@pytest.mark.parametrize(
    ("processes", "now", "unless_it_ends"),
    [
        ([AT_WORK, AT_WORK], "", ""),
        ([AT_WORK, KILLED], "rank 1 was killed by SIGKILL before all ranks had begun their loop", ""),
        ([AT_WORK, Process(BEGAN, 1, -9, began=True)], "", ""),
        ([AT_WORK, Process(rank=1, code=7)], "", "rank 1 ended itself with exit status 7 before all ranks had"),
        ([Process(FAILED, 0, -9), KILLED], "", "rank 0 ended by an error of the program before"),
        ([AT_WORK, Process(FAILED, 1, -9, began=True)], "", ""),
        ([AT_WORK, Process(outcome.ABORTED, 1, -9, status=6, began=True)], "rank 1 called Abort(6)", ""),
        ([Process(LEFT, 0, 0, began=True), Process(LEFT, 1, 0, began=True)], "", "mpirun did not end with its ranks"),
        ([Process(LEFT, began=True), Process(BEGAN, 1, -9, began=True)], "", "ranks did not end with their program"),
        ([Process(LEFT, began=True), Process(LEFT, began=True)], "", "ranks did not end with their program"),
        ([Process(LEFT, began=True), Process(REACHED, began=True)], "", ""),
    ],
)
def test_a_launch_is_ended_when_its_ranks_wait_for_one_that_is_gone(processes, now: str, unless_it_ends: str) -> None:
    urgent, others_follow = RankWatch(Path(), 2).reason(processes)
    assert urgent.startswith(now)
    assert others_follow.startswith(unless_it_ends)
    assert (bool(urgent), bool(others_follow)) == (bool(now), bool(unless_it_ends))


def test_what_began_once_has_begun(tmp_path) -> None:
    watch = RankWatch(tmp_path, 2)
    assert watch.reason([AT_WORK, AT_WORK]) == ("", "")
    assert watch.reason([AT_WORK, KILLED]) == ("", "")


def test_a_launch_whose_mpirun_lost_its_job_is_ended(tmp_path) -> None:
    watch = RankWatch(tmp_path, 2)
    watch.line(b"[host:1] LAUNCHER JOB OBJECT NOT FOUND\n")
    assert watch.over()
    assert "mpirun has lost track of its job" in watch.why


def test_ranks_that_end_themselves_get_the_time_to_end_together(tmp_path, monkeypatch) -> None:
    times = iter((10.0, 11.0, 11.01, 11.9, 12.1))
    watch = RankWatch(tmp_path, 2)
    watch._clock = type("Clock", (), {"now": lambda self: next(times)})()
    monkeypatch.setattr(rank_watch.outcome, "processes", lambda folder: [Process(rank=1, code=7)])
    assert [watch.over() for _ in range(5)] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("processes", "status", "line"),
    [
        (
            [Process(REACHED, 3, -9, began=True), Process(LEFT, 0, 0, began=True)], 3,
            "error: all steps are done, but rank 3 was killed by SIGKILL behind the loop, where a result may be "
            "missing: 1 of 2 processes came to the end of the program",
        ),
        (
            [Process(BEGAN, 0, -9, began=True), Process(BEGAN, 1, -15, began=True)], 3,
            "error: not recovered: every rank ended before the last step: rank 0 was killed by SIGKILL; "
            "rank 1 was killed by SIGTERM",
        ),
        ([AT_WORK], 3, "error: not recovered: every rank ended before the last step: mpirun ended, and its ranks with"),
        ([Process(outcome.QUIT, 0, -9, status=3, began=True)], 3, ""),
        ([Process(FAILED, 0, -9, began=True)], 1, ""),
        ([], 3, "error: no rank has used faults.recovering, routing or restarting, which write status: see"),
    ],
)  # fmt: skip
def test_why_a_program_did_not_finish_is_said_as_it_was(capsys, processes, status: int, line: str) -> None:
    assert own_program.failed(processes, 0, 0) == status
    assert capsys.readouterr().err.startswith(line)


@pytest.mark.parametrize(
    ("policy", "processes", "ended_for", "again"),
    [
        ("respawn", [AT_WORK, Process(BEGAN, 1, -9, began=True)], "mpirun has lost track of its job", True),
        ("respawn", [AT_WORK, Process(BEGAN, 1, -9, began=True)], "", True),  # mpirun crashed, and killed rank 0
        ("respawn", [AT_WORK, Process(FAILED, 1, -9, began=True)], "", False),
        ("respawn", [Process(BEGAN, 0, -11, began=True), Process(BEGAN, 1, -9, began=True)], "", True),  # they crashed
        ("respawn", [Process(REACHED, 0, -11, began=True), Process(BEGAN, 1, -9, began=True)], "", False),
        ("respawn", [Process("", 0, 7)], "", False),
        ("respawn", [Process("", -1, -9), AT_WORK, Process(BEGAN, 1, -9, began=True)], "", True),
        ("shrink", [AT_WORK, Process(BEGAN, 1, -9, began=True)], "", False),
    ],
)
def test_a_launch_whose_mpirun_broke_at_a_spawn_is_started_again(policy, processes, ended_for: str, again) -> None:
    job = own_program._Job([], 2, 0, policies.of(policy), None, 1.0)
    statuses = [job._judge(processes, 3, ended_for) for _ in range(6)]
    assert statuses == [None if again and number < 5 else statuses[-1] for number in range(6)]
    assert statuses[-1] is not None, "not for ever"


def test_a_job_that_went_with_its_mpirun_before_any_loop_says_so(capsys) -> None:
    assert own_program.failed([], 137, 0) == own_program.NOT_RECOVERED
    said = "error: not recovered: no rank had begun its loop: mpirun ended, and its ranks with it (status 137)\n"
    assert capsys.readouterr().err == said


def test_only_a_rank_that_was_killed_makes_a_new_launch_worthwhile() -> None:
    assert lost_early([AT_WORK, KILLED], 2) is KILLED
    assert lost_early([AT_WORK, AT_WORK, KILLED], 2) is None, "all had begun"
    ended, killed, freed = Process(rank=0, code=1, at=2.0), Process(rank=1, code=-9, at=1.0), Process(rank=2, code=-15)
    assert lost_early([ended, killed], 3) is killed, "the other one lost its mpirun"
    assert lost_early([killed, replace(freed, at=3.0)], 3) is killed, "mpirun killed the other one"
    assert lost_early([replace(ended, at=0.5), killed], 3) is None, "mpirun kills the others of one that ends itself"
    assert lost_early([AT_WORK, Process(rank=1, code=0, at=0.5), killed], 3) is killed


def test_a_rank_that_exits_well_behind_the_loop_came_to_the_end() -> None:
    assert Process(REACHED, 0, 0, began=True).word == LEFT
    assert Process(REACHED, 0, -9, began=True).word == REACHED
