"""The parent of a rank makes every end of it a death by a signal, and records it; no MPI is needed to see that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from faults.launch.rank_watch import parent_command
from faults.record import outcome

PATIENCE_S = 20


def start(folder: Path, script: str, limit_s: float = 0.0, survives: bool = True) -> subprocess.Popen[bytes]:
    command = [*parent_command(folder, limit_s, survives), "sh", "-c", script]
    return subprocess.Popen(command, env=os.environ | {"OMPI_COMM_WORLD_RANK": "2"}, stdout=subprocess.PIPE)


def ended(folder: Path, script: str, *options: object) -> tuple[int, outcome.Process]:
    """The parent's exit status, and what is known of the rank."""
    with start(folder, script, *options) as parent:  # type: ignore[arg-type]
        status = parent.wait(PATIENCE_S)
    (one,) = outcome.processes(folder)
    return status, one


SAY = f'echo {{}} > "$FOLDER/{os.uname().nodename}-$$"; '


@pytest.mark.parametrize(
    ("said", "script", "status", "how"),
    [
        ("", "exit 7", -9, "rank 2 ended itself with exit status 7"),
        ("", "exit 0", 0, None),
        ("began", "exit 0", -9, None),
        ("began", "exit 7", -9, "rank 2 ended itself with exit status 7"),
        ("reached", "exit 0", 0, None),
        ("left", "exit 5", 5, "rank 2 ended itself with exit status 5"),
        ("began", "kill -TERM $$", -15, "rank 2 was killed by SIGTERM"),
        ("quit 3 began", "kill -KILL $$", -9, "rank 2 ended itself"),
        ("failed 0", "kill -KILL $$", -9, "rank 2 ended by an error of the program"),
        ("aborted 6 began", "kill -KILL $$", -9, "rank 2 called Abort(6)"),
    ],
)
def test_an_end_that_others_would_not_be_told_of_becomes_a_signal(
    tmp_path, monkeypatch, said: str, script: str, status: int, how: str | None
) -> None:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    found, one = ended(tmp_path, (SAY.format(said) if said else "") + script)
    assert (found, one.rank) == (status, 2)
    assert how is None or one.how == how


def test_without_fault_tolerance_the_exit_status_is_that_of_the_rank(tmp_path) -> None:
    assert ended(tmp_path, "exit 7", 0.0, False)[0] == 7


def test_a_rank_that_is_stopped_for_the_limit_is_killed_and_one_that_goes_on_is_not(tmp_path) -> None:
    status, one = ended(tmp_path, "kill -STOP $$; exit 0", 0.2)
    assert (status, one.code, one.how) == (-9, -9, "rank 2 was stopped, and killed for that")
    with start(tmp_path, "echo $$; kill -STOP $$; exit 0", 600.0) as parent:
        rank = rank_of(parent)
        wait_until(lambda: rank.status() == psutil.STATUS_STOPPED)
        rank.resume()
        assert parent.wait(PATIENCE_S) == 0


def rank_of(parent: subprocess.Popen[bytes]) -> psutil.Process:
    """The rank, which has printed its process id."""
    assert parent.stdout is not None
    return psutil.Process(int(parent.stdout.readline()))


def wait_until(true) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("stopped", [False, True])
def test_no_rank_lives_on_without_its_parent(tmp_path, stopped: bool) -> None:
    with start(tmp_path, f"echo $$; {'kill -STOP $$' if stopped else 'exec sleep 60'}") as parent:
        rank = rank_of(parent)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(rank.pid) or rank.status() == psutil.STATUS_ZOMBIE)


def test_a_rank_gets_the_signals_that_mpirun_sends_to_its_parent(tmp_path) -> None:
    script = "trap 'exit 4' TERM; echo $$; while :; do sleep 0.01; done"
    with start(tmp_path, script, 0.0, False) as parent:
        rank_of(parent)
        parent.terminate()
        assert parent.wait(PATIENCE_S) == 4
    assert json.loads(next((tmp_path / "ends").iterdir()).read_text())["code"] == 4
