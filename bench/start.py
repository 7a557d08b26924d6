"""From mpirun to the first line of a demo, and the CPU time of an empty job, emulated and not.

The demo is started by a plain mpirun, as a user does it, and is ended in order when its first line is there.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench._common import Row, cpu_s, row
from emulator.errors import CheckFailed
from emulator.launch import mpirun
from emulator.launch.job import start

RANKS, LIMIT_S = 16, 1.5
_FEWEST, _MOST = 5, 15
_ENDS_WITHIN_S = 10.0
_MANY, _TURNS, _JOB_WITHIN_S = 64, 3, 300.0


def rows(budget: float) -> list[Row]:
    """Start and end the demo for `budget` seconds: the median and the slowest start, and the cost of an empty job."""
    begin, taken = time.monotonic(), []
    while len(taken) < _FEWEST or (len(taken) < _MOST and time.monotonic() - begin < budget):
        taken.append(first_line())
    what = f"mpirun -n {RANKS} python -m demos.ring: first line"
    return [
        row(f"{what} (median of {len(taken)})", statistics.median(taken), "s", most=LIMIT_S),
        row("the same, the slowest", max(taken), "s"),
        _of_nothing(),
    ]


def _of_nothing() -> Row:
    """Compare the CPU time of a job of many ranks that load MPI and end: emulated, and on MPI alone."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "nothing.py"
        program.write_text("from mpi4py import MPI\n")
        alone = mpirun.command(_MANY, [str(program)])
        words = ["-m", "emulator", "run", "--net", "10gbe", "--out", str(Path(folder) / "run"), str(program)]
        used = [
            (cpu_s(mpirun.command(_MANY, words), _JOB_WITHIN_S), cpu_s(alone, _JOB_WITHIN_S)) for _ in range(_TURNS)
        ]
    ours, bare = (statistics.median(times) for times in zip(*used, strict=True))
    return row(f"CPU of {_MANY} ranks that start and end", ours, "s", bare, most_ratio=2)


def first_line() -> float:
    """Seconds from the start of mpirun to the first line that it prints."""
    command = [str(mpirun.find_mpi().mpirun), "-n", str(RANKS), sys.executable, "-m", "demos.ring"]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        with start([*command, "--out", folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as job:
            assert job.process.stdout is not None
            with job.process.stdout as output:
                said = output.readline()
                seconds = time.perf_counter() - begin
                job.process.send_signal(signal.SIGINT)  # as Ctrl-C
                output.read()
            job.wait(_ENDS_WITHIN_S)
            job.wait_gone(_ENDS_WITHIN_S)
    if not said:
        raise CheckFailed(f"{' '.join(command)} printed nothing: python -m emulator doctor")
    return seconds
