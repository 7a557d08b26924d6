"""Whatever ends the process that started a job in the foreground, nothing of the job outlives it."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from emulator import results
from emulator.launch import job
from emulator.launch.job import environment
from tests.processes import running

ROOT = Path(__file__).resolve().parents[3]
WAITING = [sys.executable, "-m", "tests.emulator.tiny", "-n", "2", "--end", "interrupt"]


def end(command: list[str], number: signal.Signals) -> tuple[int, str]:
    """Status and last words of a job's launcher that is sent a signal while all ranks wait; all of it must be gone."""
    with running(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    ) as process:
        assert process.stdout is not None
        assert any("waiting" in line for line in process.stdout)
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) >= 3  # mpirun and its ranks
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1]
    _, left = psutil.wait_procs(below, timeout=30)
    for one in left:
        one.kill()
    assert left == []
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_launcher_that_is_told_to_end_ends_its_job_and_keeps_the_measurements(tmp_path, number) -> None:
    status, errors = end([*WAITING, "--out", str(tmp_path)], number)
    assert status == 128 + number
    assert errors == f"ended by {number.name}: what had been measured, if anything, is in the run folder\n"
    assert [row["bytes"] for row in results.load(tmp_path)["measurements"]] == [0, 8]


def test_rank_0_may_take_longer_to_save_than_mpirun_gives_it(tmp_path) -> None:
    """mpirun kills its ranks a quarter of a second after it has told them."""
    slow = (
        "import pathlib, signal, sys, time\n"
        "from mpi4py import MPI\n"
        "def save(*_):\n"
        "    time.sleep(1.0)\n"
        f"    pathlib.Path({str(tmp_path / 'saved')!r}).touch()\n"
        "    sys.exit(0)\n"
        "if MPI.COMM_WORLD.rank == 0:\n"
        "    signal.signal(signal.SIGTERM, save)\n"
        "MPI.COMM_WORLD.Barrier()\n"
        "print('waiting', flush=True)\n"
        "time.sleep(60)\n"
    )
    launcher = (
        "from emulator.launch import foreground, mpirun\n"
        f"foreground.run_filtered(mpirun.command(2, ['-c', {slow!r}]), rank_0_first=True)\n"
    )
    end([sys.executable, "-c", launcher], signal.SIGTERM)
    assert (tmp_path / "saved").exists()


@pytest.mark.skipif(
    not job._ended_with_parent(), reason="the kernel ends a job with its launcher through Linux' setpriv"
)
def test_a_launcher_that_is_killed_takes_its_job_along(tmp_path) -> None:
    assert end([*WAITING, "--out", str(tmp_path)], signal.SIGKILL)[0] == -signal.SIGKILL


def test_a_signal_that_was_set_aside_stays_so(tmp_path) -> None:
    """Under nohup a terminal that closes ends nothing."""
    program = (
        "import os, signal\n"
        "from emulator.launch.foreground import Ended, ending_in_order\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "try:\n"
        "    with ending_in_order():\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "        print('goes on', flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "except Ended as ended:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print(ended.signal.name, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "    raise\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (143, "goes on\nSIGTERM True\n", "")
