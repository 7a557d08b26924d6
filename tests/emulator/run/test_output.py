"""A full disk, closed or full standard streams and a removed directory: one line, a status, nothing measured lost."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulator import results
from emulator.launch import mpirun
from emulator.launch.job import environment
from tests.processes import running

ROOT = Path(__file__).resolve().parents[3]
PYTHON = [sys.executable, "-m"]
TINY = [*PYTHON, "tests.emulator.tiny", "-n", "2"]
DRILL = [*PYTHON, "faults", "drill", "ring", "-n", "2"]
PROGRAM = "print('said by the program')\n"
PRINTERS = [
    ["emulator", "networks"], ["emulator", "networks", "check", "hdr"], ["demos.speedup"], ["demos.ring", "--help"],
    ["emulator", "--help"], ["faults", "drill", "-h"],
]  # fmt: skip


def run(command, **how):
    env = environment({"PYTHONPATH": str(ROOT)})
    how = {"stdout": subprocess.PIPE, "cwd": ROOT, **how}
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, env=env, check=False, **how)


def one_line(done):
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture
def full(tmp_path):
    """A file system without room for a byte."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a file system, and not everywhere")
    try:
        (folder / "fill").write_bytes(bytes(4096))
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def files(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_full_disk_costs_a_demo_its_files_and_nothing_else(full):
    done = run([*TINY, "--out", str(full / "run"), "--json", str(full / "copy.json")])
    assert done.returncode == 1
    assert "2 ranks, sizes" in done.stdout
    assert "page:" not in done.stdout
    for name in ("run/result.json", "run/samples.csv", "copy.json"):
        assert str(full / name) in one_line(done)
    assert "No space left on device" in one_line(done)
    assert files(full) == ["fill"]


def test_a_page_that_cannot_be_written_costs_no_result(tmp_path):
    (tmp_path / "report.html").mkdir()
    done = run([*TINY, "--out", str(tmp_path)])
    assert done.returncode == 1
    assert "2 ranks, sizes" in done.stdout
    assert "page:" not in done.stdout
    assert one_line(done).startswith(f"error: cannot write {tmp_path}/report.html")
    assert results.load(tmp_path)["environment"]["ranks"] == 2


def test_a_full_disk_costs_a_program_its_result_and_nothing_else(full, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    program = ["emulator", "run", "-n", "2", "--net", "hdr", "--out", str(full / "run"), str(tmp_path / "program.py")]
    done = run([*PYTHON, *program])
    assert done.returncode == 1
    assert "said by the program" in done.stdout
    assert "emulated time:" in done.stdout
    assert f"cannot write {full}/run/result.json: No space left" in one_line(done)
    assert files(full) == ["fill"]


def test_a_full_disk_is_one_line_of_a_drill(full):
    done = run([*DRILL, "--out", str(full / "run")])
    assert done.returncode == 1
    assert f"cannot write {full}/run/" in one_line(done)
    assert "No space left on device" in one_line(done)
    assert files(full) == ["fill"]


@pytest.mark.parametrize(
    ("command", "printed"),
    [(["demos.speedup"], "p* ="), (["demos.design", "predict", "demos/cases/rag.toml"], "node-hours")],
    ids=["speedup", "design"],
)
def test_a_file_that_cannot_be_written_costs_no_table(tmp_path, command, printed):
    def no_file_may_grow():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = run([*PYTHON, *command, "--json", str(tmp_path / "it.json")], preexec_fn=no_file_may_grow)
    assert done.returncode == 1
    assert printed in done.stdout
    assert one_line(done).startswith(f"error: cannot write {tmp_path}/it.json: File too large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[*PYTHON, *one] for one in PRINTERS] + [[*TINY, "--out", "OUT"]], ids=str)
def test_full_standard_output_is_one_line_and_status_1(tmp_path, command):
    command = [str(tmp_path) if word == "OUT" else word for word in command]
    with open("/dev/full", "w") as nowhere:
        done = run(command, stdout=nowhere)
    assert (done.returncode, one_line(done)[:29]) == (1, "error: cannot write standard ")


@pytest.mark.parametrize(
    ("streams", "command"),
    [((1,), [*PYTHON, *one]) for one in PRINTERS]
    + [(streams, [*TINY, "--out", "OUT"]) for streams in ((1,), (0, 1, 2))]
    + [((0, 1, 2), [*PYTHON, *PRINTERS[0]])],
    ids=str,
)
def test_closed_standard_output_is_one_line_and_status_1(tmp_path, command, streams):
    def close():
        for descriptor in streams:
            os.close(descriptor)

    command = [str(tmp_path) if word == "OUT" else word for word in command]
    done = run(command, preexec_fn=close)
    said = "" if 2 in streams else "error: cannot write standard output: Bad file descriptor; some output is lost\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    if "--out" in command:
        assert len(results.load(tmp_path)["measurements"]) == 1


@pytest.mark.parametrize(
    "command",
    [TINY, DRILL, [*PYTHON, "faults", "run", "-n", "2", "-m", "demos.ring"],
     [*PYTHON, "emulator", "run", "-n", "2", "--net", "hdr", "-m", "demos.ring"],
     [*PYTHON, "demos.incast", "--simulate", "2", "--net", "hdr"]],
    ids=lambda command: " ".join(command[2:4]),
)  # fmt: skip
def test_a_removed_directory_is_one_line_and_status_2(tmp_path, command):
    gone = tmp_path / "gone"
    gone.mkdir()

    def leave():
        os.chdir(gone)
        gone.rmdir()

    done = run(command, cwd=None, preexec_fn=leave)
    assert done.returncode == 2
    assert "a current directory, and this one has been removed: cd to one that exists" in one_line(done)


def test_ctrl_c_under_a_plain_mpirun_says_what_is_kept(tmp_path):
    """mpirun itself ends with 1 and forwards nothing more."""
    command = mpirun.command(3, ["-m", "tests.emulator.tiny", "--out", str(tmp_path), "--end", "interrupt"])
    with running(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    ) as process:
        assert any("waiting" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()  # until the process that saves has ended, too
    assert errors.splitlines() == [f"ended early: what was measured until then is in {tmp_path}"]
    assert [row["bytes"] for row in results.load(tmp_path)["measurements"]] == [0, 8]


def heed_ctrl_c() -> None:
    """Let Ctrl-C end this process, though a shell has started the tests in the background, where it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("module", ["emulator", "demos.ring", "faults"])
def test_ctrl_c_while_a_command_is_importing_ends_it_without_a_traceback(tmp_path, module):
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    env = environment({"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    command = [*PYTHON, module, "-h"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=env, check=False, preexec_fn=heed_ctrl_c
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_is_a_program_s_own_business_where_it_imports_the_emulator(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("import emulator\n")
    (tmp_path / "mine" / "__main__.py").write_text("import signal\nprint(signal.getsignal(signal.SIGINT).__name__)\n")
    env = environment({"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    done = subprocess.run(
        [*PYTHON, "mine"], capture_output=True, text=True, timeout=60, env=env, check=True, preexec_fn=heed_ctrl_c
    )
    assert done.stdout == "default_int_handler\n"


@pytest.mark.parametrize("command", ["pool", "report", "networks"])
def test_what_reads_results_needs_no_mpi_library(tmp_path, command):
    """`pool` is seen to fit in `tests.demos.test_ring`; here it comes as far as comparing two results."""
    result = results.new("ring", ["python", "-m", "demos.ring"])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        results.save({**result, "demo": "ring"}, tmp_path / name / results.RESULT)
    arguments = {"pool": ["one", "two"], "report": ["one"], "networks": []}[command]
    program = (
        "import sys; sys.modules['mpi4py.MPI'] = None\n"
        "import emulator.measure.terms, emulator.measure.series, demos.speedup\n"
        f"from emulator.__main__ import main; main({[command, *arguments]})"
    )
    done = run([sys.executable, "-c", program], cwd=tmp_path)
    if command == "pool":
        assert (done.returncode, "results of demos.ring" in one_line(done)) == (2, True)
    else:
        assert (done.returncode, done.stderr) == (0, "")
