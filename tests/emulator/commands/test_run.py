"""Whole jobs: ranks that die, messages that nobody receives, programs that are run unchanged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from emulator import results
from emulator.commands.report import report as show
from emulator.commands.run import run
from emulator.launch import mpirun
from emulator.launch.job import environment, start
from tests.processes import running

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 60.0


def job(n: int, program: list[str], folder: Path, *, ft: bool = False) -> tuple[int | None, str]:
    """Exit status (None: it hung) and all that a job printed."""
    with (folder / "output").open("w+") as output:
        command = mpirun.command(n, program, ft=ft)
        with start(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT) as running:
            status = running.wait(LIMIT)
        assert not running.leftovers()
        output.seek(0)
        return status, output.read()


@pytest.mark.parametrize("pace", ["none", "5"])
def test_waiting_for_the_dead_raises_and_the_living_go_on(tmp_path: Path, pace: str) -> None:
    if not mpirun.find_mpi().ulfm:
        pytest.skip("this MPI ends the job when a rank dies")
    status, output = job(4, ["-m", "tests.emulator.survivors", str(tmp_path), pace], tmp_path, ft=True)
    assert status is not None, output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "output"], output


UNMATCHED = """
import sys
import numpy as np
from mpi4py import MPI
import emulator
comm = emulator.emulate(MPI.COMM_WORLD, "10gbe")
for size in (0, 10, 5_000, 100_000):
    comm.Send(np.zeros(size, "B"), (comm.rank + 1) % comm.size, 3)
comm.isend("nobody asks", 0)
if sys.argv[1] == "finalize":
    MPI.Finalize()
print("left")
"""


@pytest.mark.parametrize("how", ["exit", "finalize"])
def test_messages_that_nobody_receives_do_not_keep_the_job(tmp_path: Path, how: str) -> None:
    program = tmp_path / "unmatched.py"
    program.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n" + UNMATCHED)
    status, output = job(2, [str(program), how], tmp_path)
    assert status == 0, output
    assert output.count("left") == 2


def emulated_run(folder: Path, n: int, arguments: list[str], launcher: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program; its run folder is made inside of `folder`. Without a launcher of ours mpirun starts it."""
    options = ["--out", str(folder / "run"), *arguments]
    command = [sys.executable, "-m", "emulator", "run", f"-n{n}", *options]
    if not launcher:
        command = mpirun.command(n, ["-m", "emulator", "run", *options])
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, cwd=ROOT, env=environment(), check=False
    )


NETWORK = """
[link]
latency = "2 ms"
bandwidth = "10 Gbit/s"
"""


def test_a_benchmark_that_knows_nothing_of_us_measures_the_network(tmp_path: Path) -> None:
    network, report = tmp_path / "two.toml", tmp_path / "report.json"
    network.write_text(NETWORK)
    done = emulated_run(
        tmp_path, 2, ["--net", str(network), "--compute", "none", "--json", str(report), "-m", "mpi4py.bench",
            "pingpong", "--loop", "5", "--skip", "1", "--min-size", "1000", "--max-size", "2000"], launcher=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = next(row for row in done.stdout.splitlines() if row.strip().startswith("1024"))
    seconds = float(line.split("|")[1].split("±")[0])
    assert seconds == pytest.approx(2e-3 + 1024 * 0.8e-9, rel=1e-6)
    record = results.load(report)
    assert record == results.load(tmp_path / "run")
    assert (record["demo"], record["clock"], record["pace"]) == ("run", "emulated", None)
    pairs = {(row["from"], row["to"]): row["bytes"] for row in record["traffic"]["pairs"]}
    assert sorted(pairs.values()) == [6 * 1024, 6 * 1024]
    again = CliRunner().invoke(show, [str(tmp_path / "run")])
    assert again.exit_code == 0, again.output
    for printed in (done.stdout, again.output):
        assert "busiest" in printed
        assert "fidelity: not paced" in printed


SCRIPT = """
import sys
from mpi4py import MPI
from mpi4py.MPI import COMM_WORLD as comm, Wtime, Request
begin = Wtime()
requests = [comm.isend(comm.rank, (comm.rank + 1) % comm.size), comm.irecv(source=(comm.rank - 1) % comm.size)]
got = Request.waitall(requests)[1]
assert got == (comm.rank - 1) % comm.size
assert comm.allreduce(1) == comm.size
assert Wtime() - begin > 2e-3
if comm.rank == 0:
    print(sys.argv[1:], __name__)
if "fail" in sys.argv and comm.rank == 1:
    raise RuntimeError("on purpose")
if "window" in sys.argv:
    MPI.Win.Allocate(8, comm=comm)
if "fail" in sys.argv:
    comm.recv(source=1)
MPI.Finalize()
"""


def script_run(
    tmp_path: Path, *arguments: str, text: str = SCRIPT, launcher: bool = True
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "two.toml").write_text(NETWORK)
    script = tmp_path / "program.py"
    script.write_text(text)
    return emulated_run(tmp_path, 2, ["--net", str(tmp_path / "two.toml"), str(script), *arguments], launcher)


LATE = """
import time
begin = time.thread_time()
while time.thread_time() - begin < 0.3:
    pass
from mpi4py import MPI
assert MPI.Wtime() < 0.1, MPI.Wtime()
begin = time.thread_time()
while time.thread_time() - begin < 0.1:
    pass
assert MPI.Wtime() >= 0.1
"""


def test_a_script_runs_unchanged_and_the_clock_starts_with_its_first_call(tmp_path: Path) -> None:
    done = script_run(tmp_path, "--net", "its own", "-m", text=LATE + SCRIPT, launcher=False)
    assert done.returncode == 0, done.stderr
    assert "['--net', 'its own', '-m'] __main__" in done.stdout


def test_a_script_that_fails_on_one_rank_ends_the_job(tmp_path: Path) -> None:
    done = script_run(tmp_path, "fail")
    assert done.returncode == 1
    assert "on purpose" in done.stderr
    assert "runpy" not in done.stderr  # the traceback begins in the script, as python's own does


def test_what_is_not_emulated_is_one_line_that_names_it(tmp_path: Path) -> None:
    done = script_run(tmp_path, "window")
    assert done.returncode == 2
    assert "Win.Allocate" in done.stderr
    assert "program.py" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1  # though both ranks refuse


def test_options_behind_the_module_are_the_programs(tmp_path: Path) -> None:
    done = emulated_run(tmp_path, 1, ["--net", "10gbe", "-m", "mpi4py.bench", "--help"], launcher=False)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m mpi4py.bench" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["-n2", "--net", "10gbe"], "program"), (["-n2", "--net", "10gbe", "no-such.py"], "no-such.py"),
     (["-n2", "-m", "x"], "--net"), (["--net", "10gbe", "-m", "mpi4py.bench"], "add -n 4")],
)  # fmt: skip
def test_bad_usage_starts_nothing_and_is_one_line(arguments: list[str], word: str) -> None:
    """In this process; that a process ends so is tested with what only ranks find bad."""
    done = CliRunner().invoke(run, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--net", "no-such-net"], "no-such-net"),
     (["--net", "10gbe", "--json", "/no/such/folder/it.json"], "/no/such/folder")],
)  # fmt: skip
def test_bad_usage_that_ranks_find_is_one_line(tmp_path: Path, arguments: list[str], word: str) -> None:
    done = emulated_run(tmp_path, 2, [*arguments, "-m", "mpi4py.bench"])
    assert done.returncode == 2
    assert word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


PACKAGE = """
from mpi4py.MPI import COMM_WORLD
"""
INNER = """
import atexit, copy, pickle
import pkg
from mpi4py import MPI
comm = MPI.COMM_WORLD
assert pkg.COMM_WORLD is comm and type(comm) is not MPI.Intracomm
assert pickle.loads(pickle.dumps(comm)) is comm and copy.deepcopy(comm) is comm
for other in (comm.Dup(),):
    try:
        pickle.dumps(other)
    except ValueError as error:
        print("cannot serialize" in str(error))
if comm.rank == 0:
    atexit.register(lambda: [comm.send("end", rank) for rank in range(1, comm.size)])
else:
    comm.recv(source=0)
"""


def test_a_package_is_not_imported_before_its_world_is_emulated(tmp_path: Path) -> None:
    """Also: predefined communicators are pickled by name; exit handlers of the program come before the report."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text(PACKAGE)
    (package / "inner.py").write_text(INNER)
    options = ["emulator", "run", "--net", "10gbe", "--out", "run", "-m"]
    variables = environment({"PYTHONPATH": str(ROOT)})
    command = mpirun.command(3, ["-m", *options, "pkg.inner"])
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True") == 3
    assert "2 messages" in done.stdout
    assert "without pacing only MPI.Wtime reads emulated time" in " ".join(done.stdout.split())
    for missing in ("pkg", "pkg.missing", "pkg.inner.missing"):  # a package without __main__, and no module at all
        command = [sys.executable, "-m", *options, missing]  # refused before a job is started
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=tmp_path, env=variables)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


OUTSIDE = """
import ctypes, sys
from mpi4py import MPI
import mpi4py.futures
from mpi4py.util import pkl5
comm = MPI.COMM_WORLD
assert MPI.INT.Pack_size(1, comm) == 4 and MPI.COMM_SELF.Compare(comm) == MPI.COMM_SELF.Compare(comm.Dup())
for call in sys.argv[1:-1]:
    try:
        eval(call)
    except Exception as error:
        if comm.rank == 0:
            print(error, flush=True)
    else:
        raise AssertionError(call)
comm.Barrier()  # the first rank to end ends the job
eval(sys.argv[-1])
"""
CAUGHT = {
    "MPI.Session.Init()": "Session.Init",
    "MPI._addressof(comm)": "MPI._addressof",
    "ctypes.c_void_p.from_address(MPI._addressof(MPI.COMM_WORLD))": "MPI._addressof",
    "MPI._handleof(comm.Irecv(bytearray(8)))": "MPI._handleof",
    "MPI.Intracomm.Create_from_group(comm.group)": "Create_from_group",
    "pkl5.Intracomm(comm)": "MPI.Comm(communicator)",
}


@pytest.mark.parametrize(
    "ways",
    [
        CAUGHT | {"MPI.COMM_SELF.Spawn('x')": "Intracomm.Spawn"},
        {"mpi4py.futures.MPIPoolExecutor(1).submit(abs, 1).result()": "Intracomm.Spawn"},  # in a thread
    ],
    ids=["in the program", "in a thread"],
)
def test_ways_around_the_emulated_world_are_refused_by_name(tmp_path: Path, ways: dict[str, str]) -> None:
    """The script catches all but the last, which ends it."""
    script = tmp_path / "outside.py"
    script.write_text(OUTSIDE)
    done = emulated_run(tmp_path, 2, ["--net", "10gbe", str(script), *ways])
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    refused = [*done.stdout.splitlines(), done.stderr]
    assert len(refused) == len(ways), refused
    for name, said in zip(ways.values(), refused, strict=True):
        assert name in said


def test_the_report_does_not_wait_for_ranks_that_do_not_come(tmp_path: Path) -> None:
    status, output = job(3, ["-m", "tests.emulator.commands.late_rank", str(tmp_path / "late")], tmp_path)
    assert status == 0, output
    assert output.splitlines() == ["note: ranks 2 have not ended 0.2 s after rank 0: reporting without", "2", "3"]


def test_without_a_network_a_traced_program_runs_on_mpi_itself(tmp_path: Path) -> None:
    script, report = tmp_path / "program.py", tmp_path / "report.json"
    script.write_text(SCRIPT.replace("assert Wtime() - begin > 2e-3", "assert type(comm).__name__ == 'TracedComm'"))
    done = emulated_run(tmp_path, 3, ["--trace", "--json", str(report), str(script)])
    assert done.returncode == 0, done.stderr
    result = json.loads(report.read_text())
    assert (result["clock"], result["network"], result["timeline"]["clock"]) == ("wall", None, "wall")
    assert [row["sent"] for row in result["timeline"]["ranks"]] == [1, 1, 1]
    assert "3 messages" in done.stdout


@pytest.mark.parametrize("launched", [False, True])
def test_ctrl_c_ends_a_program_with_one_line(tmp_path: Path, launched: bool) -> None:
    """Under plain mpirun a rank says it; where this project started mpirun, the launcher does, with status 130."""
    script = tmp_path / "busy.py"
    script.write_text("from mpi4py import MPI\nMPI.COMM_WORLD.Barrier()\nprint('up', flush=True)\nwhile True: pass\n")
    ours = ["-m", "emulator", "run", "--net", "10gbe", "--out", str(tmp_path / "run"), str(script)]
    command = [sys.executable, *ours[:3], "-n", "2", *ours[3:]] if launched else mpirun.command(2, ours)
    with running(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
    said = [line for line in errors.splitlines() if line.startswith(("interrupted", "ended early"))]
    assert len(said) == 1, errors
    assert "Traceback" not in errors
    if launched:
        assert said[0].startswith("interrupted: ")
        assert (process.returncode, len(errors.splitlines())) == (130, 1), errors
    else:
        assert said == ["ended early: nothing was kept"]
    assert not (tmp_path / "run").exists()
