"""One command line, one way to fail: a tiny demo is really started and ended in every way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from emulator import results
from emulator.launch.job import environment
from tests.emulator import tiny
from tests.processes import running

ROOT = Path(__file__).resolve().parents[3]
TINY = [sys.executable, "-m", "tests.emulator.tiny"]


def run(*arguments, timeout=60):
    return subprocess.run(
        [*TINY, *arguments], capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=environment()
    )


def one_line(done):
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_starts_mpirun_itself_and_leaves_a_run_folder(tmp_path):
    copy = tmp_path / "copy.json"
    done = run("-n", "2", "--out", str(tmp_path / "run"), "--json", str(copy), "--sizes", "8:32")
    assert done.returncode == 0, done.stderr
    assert "2 ranks, sizes [8, 16, 32]" in done.stdout
    result = results.load(tmp_path / "run")
    assert result["environment"]["ranks"] == 2
    assert result["clock"] == "wall"
    assert result["command"][:3] == ["python", "-m", "tests.emulator.tiny"]
    assert (
        json.loads(copy.read_text())["measurements"]
        == json.loads((tmp_path / "run/result.json").read_text())["measurements"]
    )
    assert results.load_samples(tmp_path / "run") == [{"pattern": "none", "seconds": 1.0}]


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        ("all refuse", 2, "error: the rule, the value: the remedy"),
        ("one refuses", 1, "error: rank 1: rank 1 found it wrong"),
        ("check fails", 1, "FAILED: a wrong result"),
    ],
)
def test_each_bad_end_is_one_line_and_a_status(tmp_path, end, status, words):
    folder, copy = tmp_path / "run", tmp_path / "copy.json"
    done = run("-n", "2", "--out", str(folder), "--json", str(copy), "--end", end)
    assert (done.returncode, one_line(done)) == (status, words)
    assert status != 2 or list(tmp_path.iterdir()) == []


def test_a_crash_on_one_rank_shows_its_traceback_and_ends_the_job(tmp_path):
    done = run("-n", "2", "--out", str(tmp_path), "--end", "one crashes")
    assert done.returncode == 1
    assert done.stderr.count("RuntimeError: a bug") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "2", "--sizes", "many"], "got 'many'"),
        (["-n", "2", "--sizes", "8:4"], "1 <= FIRST <= LAST"),
        (["-n", "2", "--ranks", "0,2"], "at least 1, got 0"),
        (["-n", "2", "--pace", "-1"], "auto, none or a factor > 0"),
        (["-n", "2", "--pace", "5"], "goes with --net, got --pace 5.0 without"),
        (["-n", "2", "--trace-limit", "9"], "--trace-limit is for --trace, got --trace-limit 9 alone"),
        (["-n", "2", "--compute", "none"], "goes with --net, got --compute none without"),
        (["-n", "2", "--budget", "nan"], "a finite number of seconds > 0, got 'nan'"),
        (["-n", "2", "--budget", "inf"], "a finite number of seconds > 0, got 'inf'"),
        (["-n", "2", "--budget", "0"], "a finite number of seconds > 0, got '0'"),
        ([], "mpirun -n 16"),
        (["--frob"], "--frob"),
    ],
)
def test_bad_usage_starts_nothing_and_is_one_line(arguments, words):
    """In pytest's process; that the process ends so is tested with the usage that only ranks find bad."""
    done = CliRunner().invoke(tiny.main, arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert words in one_line(done)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "1"], "at least 2 ranks, got 1"),
        (["-n", "0"], "0 is not in the range x>=1"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in one_line(done)


def test_a_place_that_cannot_be_written_is_said_before_measuring(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = run("-n", "2", "--out", str(blocked / "below"))
    assert done.returncode == 2
    assert str(blocked) in one_line(done)
    assert "ranks, sizes" not in done.stdout


def test_a_refused_json_leaves_neither_a_folder_nor_a_file(tmp_path):
    copy = tmp_path / "copy.json"
    command = [*TINY, "-n", "2", "--json", str(tmp_path / "no" / "it.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=_from_elsewhere(), timeout=60)
    assert done.returncode == 2
    assert str(tmp_path / "no") in one_line(done)
    assert "ranks, sizes" not in done.stdout
    assert list(tmp_path.iterdir()) == []
    done = run("-n", "2", "--json", str(copy), "--net", "no-such-network")
    assert done.returncode == 2, done.stderr
    assert "no-such-network" in one_line(done)
    assert list(tmp_path.iterdir()) == []


def _from_elsewhere():
    return environment({"PYTHONPATH": str(ROOT)})


def test_ctrl_c_ends_the_job_keeps_the_measurements_and_leaves_nothing(tmp_path):
    with running(
        [*TINY, "-n", "2", "--out", str(tmp_path), "--end", "interrupt"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "waiting" in line:
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        errors = process.communicate(timeout=30)[1]
    assert "Traceback" not in errors
    assert process.returncode == 130, errors
    assert errors == "interrupted: what had been measured, if anything, is in the run folder\n"
    (saved,) = {path.resolve() for path in tmp_path.rglob("result.json")}
    kept = results.load(saved)
    assert [row["bytes"] for row in kept["measurements"]] == [0, 8]
    assert all(row["seconds"]["n"] >= 1 for row in kept["measurements"])
    assert any("ended early" in warning for warning in kept["warnings"])


def test_a_reader_that_leaves_costs_nothing(tmp_path):
    with running(
        [*TINY, "-n", "2", "--out", str(tmp_path), "--end", "talk"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
    assert len(results.load(tmp_path)["measurements"]) == 1


def test_help_starts_no_mpi() -> None:
    look = (
        "import contextlib, runpy, sys; sys.argv = ['emulator', '--help']\n"
        "with contextlib.suppress(SystemExit): runpy.run_module('emulator', run_name='__main__')\n"
        "from mpi4py import MPI; print(MPI.Is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
