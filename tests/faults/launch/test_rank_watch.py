"""When the launcher of a user's program ends a launch, from what is known of its ranks."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from emulator import policies
from faults.launch import own_program, rank_watch
from faults.launch.live import RanksAtWork
from faults.launch.rank_watch import STALL_S, RankWatch, lost_early
from faults.platform import Clock, Executioner, Platform
from faults.record import outcome, stack_dump
from faults.record.outcome import BEGAN, FAILED, LEFT, REACHED, Process
from faults.record.status_board import AGREES, IN_STEPS, REBUILDS, StatusBoard
from tests.processes import running

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
        ([AT_WORK, Process(outcome.ABORTED, status=6, began=True)], "a rank called Abort(6)", ""),
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


@pytest.mark.parametrize(("policy", "status"), [("shrink", 3), ("restart", None), ("respawn", None)])
def test_a_killed_mpirun_is_named_and_not_an_earlier_victim(tmp_path, policy, status, capsys) -> None:
    killed = "mpirun was killed by SIGKILL, and its ranks with it"
    watch = RankWatch(tmp_path, 2)
    watch.ended(-9)
    job = own_program._Job([], 2, 0, policies.of(policy), None, 1.0)
    victim, with_it = Process(BEGAN, 1, -9, began=True, at=1.0), Process(BEGAN, began=True)
    assert job._judge([with_it, victim], 137, watch.why) == status
    assert job.why == ("" if status else killed)
    assert capsys.readouterr().err == (f"error: not recovered: {killed}\n" if status else "")
    assert own_program.failed([Process(REACHED, began=True)], 137, 0, watch.why) == own_program.NOT_RECOVERED
    assert capsys.readouterr().err.startswith(f"error: all steps are done, but {killed} after the loop")


def test_an_mpirun_that_is_told_to_end_was_not_killed(tmp_path) -> None:
    watch = RankWatch(tmp_path, 2)
    for status in (-15, 137, 0):
        watch.ended(status)
    assert not watch.why
    watch.why = "no end within the deadline of 5 s"
    watch.ended(-9)  # it did not end by SIGTERM
    assert watch.why.startswith("no end within")


def test_a_launch_that_open_mpi_ended_for_a_send_to_a_dead_rank_is_started_again(tmp_path) -> None:
    watch = RankWatch(tmp_path, 2)
    watch.line(b"[host:1] *** An error occurred in Send error after request freed\n")
    assert watch.over()
    job = own_program._Job([], 2, 0, policies.of("shrink"), None, 1.0)
    ended = [Process(outcome.BEGAN, rank, code=1, began=True) for rank in range(2)]
    assert job._judge(ended, 1, watch.why, watch.stalled) is None
    assert job.why.startswith("Open MPI ended the job")


def test_ranks_that_end_themselves_get_the_time_to_end_together(tmp_path, monkeypatch) -> None:
    times = iter((10.0, 11.0, 11.01, 11.9, 12.1))
    watch = RankWatch(tmp_path, 2)
    watch._clock = type("Clock", (), {"now": lambda self: next(times)})()
    monkeypatch.setattr(rank_watch.outcome, "processes", lambda folder: [Process(rank=1, code=7)])
    assert [watch.over() for _ in range(5)] == [False, False, False, False, True]


class Ranks(Clock, Executioner):
    """Ranks 0 to 2 and two spawned processes, each with its state in the kernel and its phase; time passes in looks."""

    def __init__(self, folder: Path, ranks: dict[int, tuple[str, int]]) -> None:
        self.t, self.states, self.clock = 100.0, {pid: letter for pid, (letter, _) in ranks.items()}, self
        self.board = StatusBoard.create(folder / outcome.BOARD, 5, 0, Platform(self, self))
        for self.pid, (_, phase) in ranks.items():
            self.board.enter(self.pid, self.pid, 0)
            self.board.enter_phase(self.pid, phase)

    def now(self) -> float:
        return self.t

    def own_id(self) -> int:
        return self.pid

    def state(self, process: int) -> str:
        return self.states[process]

    def ended_after(self, folder: Path, moves: int | None = None, most_s: float = 5 * STALL_S) -> float | None:
        """Seconds until the launch is ended; absent: it is not. The rank `moves` moves on now and then."""
        watch = RankWatch(folder, 3, at_work=RanksAtWork(self.board, 3))
        watch._clock, began = self, self.t
        while self.t < began + most_s:
            self.t += 0.1
            if moves is not None and self.t % 3 < 0.1:
                self.board.enter_phase(moves, self.board.rows["phase"][moves])
            if watch.over():
                assert watch.stalled
                assert watch.why == f"a repair did not move on for {STALL_S:g} s"
                return self.t - began
        return None


@pytest.fixture
def free_machine(monkeypatch) -> None:
    monkeypatch.setattr(rank_watch.os, "getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    "ranks",
    [
        {0: ("R", AGREES), 1: ("S", AGREES), 2: ("R", REBUILDS)},
        {0: ("R", AGREES), 1: ("", IN_STEPS), 2: ("R", AGREES)},  # the one in a step is dead
        {0: ("R", REBUILDS), 1: ("R", IN_STEPS)},  # no rank that rebuilds waits for one that computes
        {0: ("R", AGREES), 3: ("R", REBUILDS)},
    ],
)
def test_a_launch_whose_repair_does_not_move_on_is_ended(tmp_path, free_machine, ranks) -> None:
    assert Ranks(tmp_path, ranks).ended_after(tmp_path) == pytest.approx(STALL_S, abs=2.0)


@pytest.mark.parametrize(
    ("ranks", "moves"),
    [
        ({0: ("R", IN_STEPS), 1: ("R", AGREES), 2: ("R", AGREES)}, None),  # two wait for one that computes
        ({0: ("R", AGREES), 1: ("R", AGREES), 3: ("R", IN_STEPS)}, None),  # a spawned one computes
        ({0: ("R", AGREES), 1: ("R", AGREES)}, 1),
        ({0: ("R", REBUILDS), 1: ("R", IN_STEPS)}, 0),
        ({0: ("R", REBUILDS), 1: ("T", REBUILDS)}, None),  # a stopped one is another matter
        ({0: ("R", REBUILDS), 4: ("R", REBUILDS)}, None),  # the board is full: there may be more processes
        ({0: ("", REBUILDS), 1: ("R", IN_STEPS)}, None),
    ],
)
def test_a_rank_that_computes_or_a_repair_that_moves_on_ends_no_launch(tmp_path, free_machine, ranks, moves) -> None:
    assert Ranks(tmp_path, ranks).ended_after(tmp_path, moves) is None


@pytest.mark.parametrize(
    ("letters", "phases", "named"),
    [
        (("R", "R", ""), (AGREES, IN_STEPS, IN_STEPS), "in step 7 for over 20 s at program.py:2: win.Fence(): it "),
        (("R", "R", "R"), (AGREES, IN_STEPS, IN_STEPS), ""),  # no rank has died
        (("R", "R", ""), (IN_STEPS, IN_STEPS, IN_STEPS), ""),  # none waits
    ],
)
def test_the_rank_that_others_wait_for_after_a_death_is_named_once_with_its_line(
    tmp_path, free_machine, capsys, monkeypatch, letters, phases, named: str
) -> None:
    ranks = Ranks(tmp_path, dict(enumerate(zip(letters, phases, strict=True))))
    ranks.board.rows["step"][1] = 7
    program, folder = tmp_path / "program.py", tmp_path / "status"
    folder.mkdir()
    program.write_text("import faults\nwin.Fence()\n")
    dump = f'Stack:\n  File "{stack_dump.__file__}", line 9 in f\n  File "{program}", line 2 in <module>\n'
    monkeypatch.setattr(
        stack_dump, "ask", lambda folder, member, pid: (folder / f".stack-{member}").write_text(dump * (member == pid))
    )
    assert ranks.ended_after(folder) is None
    said = capsys.readouterr().err
    assert (said.count("others wait for rank 1, "), named in said) == (bool(named), True)


def test_a_process_writes_where_it_is_while_c_code_keeps_it(tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import ctypes, sys\nfrom pathlib import Path\nfrom faults.record import stack_dump\n"
        "stack_dump.listen(Path(sys.argv[1]), 3)\nprint(flush=True)\nctypes.PyDLL(None).sleep(60)\n"
    )
    with running([sys.executable, program, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while "sleep" not in stack_dump.line_of(tmp_path, 3) and process.poll() is None:
            stack_dump.ask(tmp_path, 3, process.pid)
            time.sleep(0.05)
        process.kill()
    assert stack_dump.line_of(tmp_path, 3) == "program.py:6: ctypes.PyDLL(None).sleep(60)"


def test_a_pause_of_the_launcher_is_not_taken_for_one_of_its_job(tmp_path, free_machine) -> None:
    ranks = Ranks(tmp_path, {0: ("R", AGREES), 1: ("R", AGREES)})
    watch = RankWatch(tmp_path, 3, at_work=RanksAtWork(ranks.board, 3))
    watch._clock = ranks
    for ranks.t in (100.0, 101.0, 4000.0, 4001.0):
        assert not watch.over()


def test_a_rank_that_has_left_its_loop_may_take_its_time(tmp_path, free_machine) -> None:
    ranks = Ranks(tmp_path, {0: ("R", AGREES), 1: ("R", AGREES)})
    ranks.board.leave(1)
    assert ranks.ended_after(tmp_path) is None


def test_a_repair_on_a_busy_machine_gets_more_time(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rank_watch.wall_clock, "cores", lambda: 2)
    for load, factor in ((16.0, 1), (48.0, 3)):
        monkeypatch.setattr(rank_watch.os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert RankWatch(tmp_path, 3)._stall_s() == factor * STALL_S


@pytest.mark.parametrize(
    ("policy", "said", "again"),
    [
        ("shrink", [BEGAN, BEGAN], True),
        ("respawn", [BEGAN, FAILED], True),  # the repair after that error hangs: a new one may do better
        ("shrink", [BEGAN, LEFT], False),  # all steps are done
        ("continue", [BEGAN, REACHED], False),
    ],
)
def test_a_launch_whose_repair_hung_is_started_again_unless_all_steps_are_done(policy, said, again, capsys) -> None:
    processes = [Process(word, rank, -9, began=True) for rank, word in enumerate(said)]
    job = own_program._Job([], 2, 0, policies.of(policy), None, 1.0)
    statuses = [job._judge(processes, 137, "a repair did not move on for 20 s", stalled=True) for _ in range(6)]
    assert statuses == [None if again and number < 5 else statuses[-1] for number in range(6)]
    assert statuses[-1] not in (None, 0)
    assert "error: not recovered: a repair did not move on for 20 s\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("processes", "status", "line"),
    [
        (
            [Process(REACHED, 3, -9, began=True), Process(LEFT, 0, 0, began=True)], 3,
            "error: all steps are done, but rank 3 was killed by SIGKILL after the loop; a result may be "
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
