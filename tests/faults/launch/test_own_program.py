"""Programs of one's own: every policy with a real kill, and how failures end."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator import policies, results
from emulator.trace import loading
from faults.launch import own_program, rank_watch
from faults.record import outcome
from tests.emulator.trace import perfetto_format
from tests.faults import programs
from tests.faults.launch.own_programs import EXAMPLES, PROGRAM, ROOT, example_run, faults_run, finish, needs_ulfm

DIED = {
    # every=0: others may be a step behind the one that died
    "least_squares.py": r"rank 2 died in step (39|40), \S+ m?s after the start: \w+, [34] ranks went on after \S+ m?s, "
    r"\d+ steps done again\n",
    "least_squares.py rejoin": "rank 2 joined in step ",
    "restart.py": "restart: went on from step 40 after ",
    "continue.py": "rank 2 died, ",
    "reexecute.py": "rank 0 died in step 1, ",
    "replicate.py": "rank 0 died, ",
}
"""What the launcher says of each example's death."""

HANGS = """
import os, signal, sys, time
import numpy as np
from mpi4py import MPI
import faults
from emulator import carrier

policy, point = sys.argv[1:]

class HangsOnce(carrier.Instrument):
    def phase(self, name, **info):
        if name == point and os.path.exists("killed") and not os.path.exists("hung") and MPI.COMM_WORLD.rank == 0:
            open("hung", "x").close()
            time.sleep(600)

carrier.of(MPI.COMM_WORLD).instruments.append(HangsOnce())
state = {"sum": np.zeros(1)}
with faults.recovering(MPI.COMM_WORLD, state, policy=policy, every=0) as job:
    while job.next(steps=10):
        if job.step == 3 and MPI.COMM_WORLD.rank == 1 and not os.path.exists("killed"):
            open("killed", "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        with job.attempt():
            ones = np.ones(1)
            job.comm.Allreduce(MPI.IN_PLACE, ones)
            state["sum"] += ones
    if job.comm.rank == 0:
        print("sum", *state["sum"])
"""


@needs_ulfm
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("least_squares.py", "4 ranks, recoveries: 1, weights [ 1.  -2.   0.5]\n"),  # by a spare
        ("least_squares.py respawn", "4 ranks, recoveries: 1, weights [ 1.  -2.   0.5]\n"),
        ("least_squares.py rejoin", "4 ranks, recoveries: 2, weights [ 1.  -2.   0.5]\n"),
        ("restart.py", "4 ranks, went on from step 40, weights [ 1.  -2.   0.5]\n"),
        ("continue.py", "all but [2] agree on 2.500000, the mean of all six\n"),
        ("reexecute.py", "3 ranks, the squares of 0 to 2999 add up to 8995500500\n"),
        ("replicate.py", "4 of 5 ranks live, weights [ 1.  -2.   0.5]\n"),
    ],
)
def test_each_example_survives_its_kill(tmp_path, arguments: str, said: str) -> None:
    """The first one as a process of its own. By shrink: `test_a_program_is_traced_through_its_recovery`."""
    name, *rest = arguments.split()
    own = arguments == "least_squares.py"
    done = finish([sys.executable, EXAMPLES / name], tmp_path) if own else example_run(tmp_path, name, *rest)
    assert (done.returncode, done.stdout) == (0, said), done.stderr
    assert re.search(DIED.get(arguments, DIED[name]), done.stderr)


@needs_ulfm
@pytest.mark.parametrize(
    ("what", "status", "printed"),
    [
        ("", 0, "sum 20.0 20.0 20.0\n"),
        ("bug", 1, ""),
        ("bug of one", 0, "sum 13.0 13.0 13.0\n"),
        ("bug after", 1, "sum 20.0 20.0 20.0\n"),
        ("exit", 5, "sum 20.0 20.0 20.0\n"),
    ],
)
def test_a_launcher_reads_success_from_the_status_files(program, what: str, status: int, printed: str) -> None:
    saved = program.parent / "facts.json"
    done = faults_run(program.parent, "-n", 2, "--json", saved, program, what)
    assert (done.returncode, done.stdout) == (status, printed), done.stderr
    facts = json.loads(saved.read_text())
    assert (facts["policy"], facts["status"], facts["launches"]) == ("shrink", status, 1)
    dead = [(one["dead"], one["step"], one["policy"], one["ranks"]) for one in facts["recoveries"]]
    assert dead == ([([1], 3, "shrink", 1)] if what == "bug of one" else [])
    if dead:
        assert 0 < facts["recoveries"][0]["seconds"] < facts["recoveries"][0]["at"]


@needs_ulfm
def test_a_rank_that_ends_itself_dies_to_the_others_however_it_does_so(tmp_path) -> None:
    """One job: ranks end by an exit status that MPI tells no rank of, by finalizing, by sys.exit and by a stop."""
    done = loop(tmp_path, 6, "native_collectives shrink 1", "1 _exit7 3 2 finalize 6 3 exit0 9 4 stop 12")
    assert (done.returncode, done.stdout) == (0, "30 steps, total 30.000\n"), done.stderr
    for step, rank, how in ((3, 1, "died"), (6, 2, "died"), (9, 3, "died"), (12, 4, "was stopped")):
        assert f"rank {rank} {how} in step {step}, " in done.stderr
    assert json.loads((tmp_path / "facts.json").read_text())["recoveries"][-1]["seconds"] > own_program._LIMIT_S
    ends = {one["rank"]: one["how"] for one in json.loads((tmp_path / "facts.json").read_text())["ends"]}
    assert ends == {
        0: "rank 0 ended itself with exit status 0",
        1: "rank 1 ended itself with exit status 7",
        2: "rank 2 ended itself",
        3: "rank 3 ended itself",
        4: "rank 4 was stopped, and killed for that",
        5: "rank 5 ended itself with exit status 0",
    }


@needs_ulfm
def test_a_program_with_threads_recovers_on_an_emulated_network(tmp_path) -> None:
    done = loop(tmp_path, 3, "threads shrink 0", "1 kill 7", **{programs.NET: "1gbe"})
    assert (done.returncode, done.stdout) == (0, "30 steps, total 30.000\n"), done.stderr


@needs_ulfm
def test_abort_ends_the_job_with_its_status(tmp_path) -> None:
    done = loop(tmp_path, 4, "object_messages shrink 0", "2 kill 2 1 abort 5")
    assert (done.returncode, done.stdout) == (6, ""), done.stderr
    went, aborted = done.stderr.splitlines()[::-1]  # the launcher's line comes when the launch is over
    assert re.match("rank 2 died in step [12], ", went)
    assert aborted == "rank 1 called Abort(6) in step 5: all ranks end"


@needs_ulfm
def test_a_rank_that_hangs_in_finalize_does_not_hang_a_job_whose_work_is_done(tmp_path) -> None:
    program = (
        f"import time\nfrom mpi4py import MPI\n{PROGRAM}\n"
        "MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=lambda *_: time.sleep(600)), 1)\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = faults_run(tmp_path, "-n", 2, "--deadline", "60 s", "program.py", "well")
    assert (done.returncode, done.stdout) == (0, "sum 20.0 20.0 20.0\n"), done.stderr


@needs_ulfm
def test_a_launch_that_loses_a_rank_before_its_loop_is_started_again(tmp_path) -> None:
    done = loop(tmp_path, 3, "split_each_step spare 0", "", **{programs.KILLS: "1@mpi+0"}, SOAK_FOLDER=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "30 steps, total 30.000\n"), done.stderr
    assert "rank 1 was killed by SIGKILL before all ranks had begun their loop: launch 2 of at most 6" in done.stderr


@needs_ulfm
@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        ("MPI.Exception(getattr(MPI, 'ERR_PROC_FAILED', 0))", "program.py:3: a rank died before the loop, got ", []),
        ("emulator.errors.UsageError('ranks must be 1 or more, got 0')", "ranks must be 1 or more, got 0", ["failed"]),
        ("MPI.Exception(MPI.ERR_TAG)", "", ["failed"]),
    ],
)
def test_a_rank_meets_a_death_or_bad_usage_before_its_loop(tmp_path, error: str, said: str, status: list[str]) -> None:
    (tmp_path / "program.py").write_text(f"import emulator.errors, faults\nfrom mpi4py import MPI\nraise {error}")
    (folder := tmp_path / "status").mkdir()
    done = finish([sys.executable, "program.py"], tmp_path, os.environ | {outcome.FOLDER: str(folder)})
    assert outcome.words(folder) == status, "a rank that meets a death has not failed: it is started again"
    if said:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith(f"error: {said}")
    else:
        assert done.returncode == -signal.SIGKILL, "the others are to notice"
        assert "Traceback" in done.stderr


@needs_ulfm
@pytest.mark.parametrize(("policy", "point"), [("shrink", "shrink"), ("respawn", "respawn"), ("shrink", "agree")])
def test_a_launch_whose_repair_hangs_is_started_again(tmp_path, monkeypatch, policy: str, point: str) -> None:
    (tmp_path / "program.py").write_text(HANGS)
    monkeypatch.setattr(rank_watch, "STALL_S", 1.5)
    done = faults_run(tmp_path, "-n", 2, "--recovery", policy, "--deadline", "60 s", "program.py", policy, point)
    assert (done.returncode, done.stdout) == (0, "sum 20.0\n"), done.stderr
    assert re.search(r"a repair did not move on for \d+ s: launch 2 of at most 6, ", done.stderr)


def loop(folder: Path, ranks: int, name: str, ends: str, **environment: str) -> subprocess.CompletedProcess:
    """Run one of the small programs, of whose ranks some end as it says."""
    module, *arguments = name.split()
    program = ["-m", f"tests.faults.programs.{module}", *arguments, *ends.split()]
    given = ["-n", ranks, "--json", "facts.json", "--deadline", "60 s", *program]
    return faults_run(folder, *given, PYTHONPATH=str(ROOT), **environment)


@needs_ulfm
def test_a_program_without_any_loop_writes_no_status(tmp_path) -> None:
    (tmp_path / "program.py").write_text("from mpi4py import MPI\n")
    done = faults_run(tmp_path, "-n", 2, "program.py")
    assert done.returncode == 3
    assert "no rank has used faults.recovering, routing or restarting" in done.stderr


@needs_ulfm
def test_a_program_is_traced_through_its_recovery(tmp_path) -> None:
    done = faults_run(tmp_path, "-n", 4, "--trace", "--out", "run", EXAMPLES / "least_squares.py", "shrink")
    assert (done.returncode, done.stdout) == (0, "3 ranks, recoveries: 1, weights [ 1.  -2.   0.5]\n"), done.stderr
    run = tmp_path / "run"
    assert f"page: {Path('run', 'report.html')} " in done.stderr
    assert re.search(DIED["least_squares.py"], done.stderr)
    result = results.load(run)
    timeline, about = result["timeline"], result["program"]
    assert [(rank["rank"], rank["killed"]) for rank in timeline["ranks"]] == [
        (0, False), (1, False), (2, True), (3, False),
    ]  # fmt: skip
    assert all(rank["sent"] for rank in timeline["ranks"])
    assert (about["status"], about["launches"], [one["dead"] for one in about["recoveries"]]) == (0, 1, [[2]])
    found = perfetto_format.checked(run / "trace.json.gz")
    assert {"agree", "rebuild"} <= {event["name"] for event in found["X"]}
    assert len(found["s"]) > 100
    html = (run / "report.html").read_text()
    assert about["recoveries"][0]["told"] in html
    assert "What each rank did when" in html


def test_what_a_traced_rank_runs_is_the_program_itself(tmp_path) -> None:
    lines = (
        "import sys\nfrom mpi4py import MPI\nimport numpy as np\nassert __name__ == '__main__'\n"
        "request = MPI.COMM_WORLD.Irecv(np.zeros(1), 0)\nMPI.COMM_WORLD.Send(np.ones(1), 0)\nrequest.Wait()\n"
        "print(*sys.argv)\nsys.exit(3)"
    )
    (tmp_path / "program.py").write_text(lines)
    job = own_program._Job(["mpirun", sys.executable, "program.py", "a b"], 1, 3, policies.of("restart"), None, 1.0)
    assert job._program(0) == [sys.executable, "program.py", "a b"]
    job.traces, job.trace_limit = tmp_path / "run", 50
    done = finish(job._program(2), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "program.py a b\n", "")
    (tmp_path / "wrong.py").write_text("raise ValueError('mine')")
    wrong = finish([*job._program(0)[:-2], "wrong.py"], tmp_path)
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[1:] == [
        '  File "wrong.py", line 1, in <module>', "    raise ValueError('mine')", "ValueError: mine",
    ]  # fmt: skip
    (rank,) = [one for one in loading.load(tmp_path / "run").ranks if one.attempt]
    assert (rank.rank, rank.attempt, rank.killed, len(rank.rows)) == (0, 2, False, 3)


@needs_ulfm
def test_a_program_that_hangs_ends_at_its_deadline(tmp_path) -> None:
    (tmp_path / "program.py").write_text("import time\nfrom mpi4py import MPI\ntime.sleep(600)")
    command = [sys.executable, "-m", "faults", "run", "-n", 2, "--deadline", "5 s", "program.py"]
    done = finish(command, tmp_path)
    assert done.returncode == 3
    table, _, after = done.stderr.partition("error: not recovered: no end within the deadline of 5 s\n")
    assert not after
    assert [row.split() for row in table.splitlines()[-2:]] == [["0", "-", "starts", "-"], ["1", "-", "starts", "-"]]


def test_a_job_is_started_again_for_deaths_only_and_not_for_ever(tmp_path) -> None:
    start = (
        "import os, sys\nimport numpy as np\nfrom mpi4py import MPI\nimport faults\n"
        "with faults.restarting(MPI.COMM_WORLD, {'a': np.zeros(1)}, 'checkpoints') as job:\n    "
    )
    for name, body in (("killed", "os.kill(os.getpid(), 9)"), ("wrong", "raise ValueError('mine')")):
        (tmp_path / f"{name}.py").write_text(start + body)
    command = ["--recovery", "restart", "-n", 2, "--launches", 2]
    killed = faults_run(tmp_path, *command, "killed.py")
    assert (killed.returncode, killed.stderr.count(": launch 2 of at most 2, ")) == (3, 2 - 1)
    assert " was killed by SIGKILL" in killed.stderr
    assert "not finished after 2 launches" in killed.stderr
    (tmp_path / "checkpoints" / "job").unlink()
    wrong = faults_run(tmp_path, *command, "wrong.py")
    assert (wrong.returncode, wrong.stderr.count(": launch ")) == (1, 0)


def test_a_signal_to_the_launcher_starts_nothing_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """mpirun ends the ranks then, before their loop perhaps, which is no death to recover from."""
    started = []

    def interrupted(arguments: list[str], *, received: list[int], **others: Any) -> int:
        started.append(arguments)
        received.append(signal.SIGINT)
        return 130

    monkeypatch.setattr(own_program.foreground, "run_filtered", interrupted)
    monkeypatch.setattr(own_program, "lost_early", lambda processes, ranks: outcome.Process(rank=1, code=-15))
    program = tmp_path / "program.py"
    program.touch()
    assert own_program.run([str(program)], 2) == 130
    assert len(started) == 1
