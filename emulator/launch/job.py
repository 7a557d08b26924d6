"""The processes of a job: their environment, and a running mpirun with everything it has started.

Everything here runs outside MPI: a process that only starts a job never initialises MPI itself.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # ranks, whose start counts, import this module too
    import subprocess

    import psutil

# Set by the launchers of Open MPI 4 and 5 (PMIx), MPICH and Intel MPI (PMI), and by srun.
_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MPI_LOCALRANKID")
_JOB_MARK = "CLUSTER_EMULATOR_JOB"
_REAPED_S = 5.0  # for a killed process to end, on a busy machine
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Ranks share the cores: by default BLAS starts a thread for each core in each rank, which spins between two calls."""


def rank() -> int | None:
    """This process's rank by its launcher's environment variables, without MPI; None outside a job."""
    return _rank_in(os.environ)


def inside() -> bool:
    """Whether this process is a rank of a launcher's job."""
    return rank() is not None


def started_by_us() -> bool:
    """Whether this process belongs to a job that `start` began, whose launcher reports its end."""
    return _JOB_MARK in os.environ


def _rank_in(environment: Mapping[str, str]) -> int | None:
    return next((int(environment[name]) for name in _RANK_VARIABLES if name in environment), None)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a job: root and more ranks than cores are allowed, BLAS uses one thread per rank.

    What the user has set already stands, but for ``PYTHONDONTWRITEBYTECODE``: without bytecode
    on disk every rank compiles the same sources at every start.
    """
    defaults = {
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",  # Open MPI 4's word for the same
        **ONE_THREAD,
        "PYTHONUNBUFFERED": "1",
    }
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        defaults |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # A process that was itself a rank must not hand its identity to a new job.
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PMIX_", "PMI_", "OMPI_COMM_WORLD"))}
    mine.pop("PYTHONDONTWRITEBYTECODE", None)
    return defaults | mine | dict(extra or {})


@dataclass
class Job:
    """A running mpirun with everything it has started.

    Processes are told apart by a mark in their environment, so that what a job leaves behind is found
    even after its parent died.
    """

    process: subprocess.Popen[bytes]
    mark: str
    started: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()

    def wait(self, timeout: float | None = None, tick: Callable[[], None] | None = None) -> int | None:
        """Wait for mpirun and return its exit status, None after `timeout` seconds; `tick` is called while waiting."""
        import subprocess

        deadline = None if timeout is None else time.monotonic() + timeout
        while deadline is None or time.monotonic() < deadline:
            try:
                return self.process.wait(0.02 if tick else 0.2 if deadline else None)
            except subprocess.TimeoutExpired:
                if tick:
                    tick()
        return self.process.poll()

    def _processes(self) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
        """The job's processes other than mpirun, each with its environment."""
        import psutil

        for pid in psutil.pids():
            if pid == self.pid or not _may_hold(pid, self.mark):
                continue
            try:
                process = psutil.Process(pid)
                variables = process.environ()
                alive = process.status() != psutil.STATUS_ZOMBIE
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
            if alive and variables.get(_JOB_MARK) == self.mark:
                yield process, variables

    def leftovers(self) -> list[int]:
        """Ids of processes, other than mpirun, that still have this job's mark."""
        return [process.pid for process, _ in self._processes()]

    def send_signal(self, number: signal.Signals, rank: int | None = None) -> None:
        """Send a signal to one rank, or to every process except mpirun, on this machine."""
        for process, variables in self._processes():
            if rank is None or _rank_in(variables) == rank:
                try:
                    os.kill(process.pid, number)
                except ProcessLookupError:
                    continue

    def wait_gone(self, patience: float, tick: Callable[[], None] = lambda: None) -> None:
        """Wait until only mpirun remains of the job, at most `patience` seconds; `tick` is called while waiting."""
        deadline = time.monotonic() + patience
        while self.leftovers() and time.monotonic() < deadline:
            tick()
            time.sleep(0.02)

    def stop(self, grace: float = 3.0) -> None:
        """End the job: mpirun by SIGTERM (it takes its ranks along), what is left after `grace` s by SIGKILL."""
        from emulator.launch import session_directory

        if self.process.poll() is None:
            self.process.terminate()
            if self.wait(grace) is None:
                self.process.kill()
                # Not for ever: an exception out of a signal handler can leave the lock held with which Popen waits.
                self.wait(_REAPED_S)
        self.wait_gone(grace, lambda: self.send_signal(signal.SIGKILL))
        session_directory.remove(self.pid)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def start(arguments: Sequence[str], *, extra_env: Mapping[str, str] | None = None, **popen: Any) -> Job:
    """Start a command of `mpirun.command`; further keywords go to ``subprocess.Popen`` (stdout, cwd, ...).

    Where the system can, it ends by SIGTERM with the thread that calls this, whatever ends that one.
    """
    import subprocess

    mark = os.urandom(16).hex()
    env = environment({_JOB_MARK: mark, **(extra_env or {})})
    return Job(subprocess.Popen([*_ended_with_parent(), *arguments], env=env, stdin=subprocess.DEVNULL, **popen), mark)


def _may_hold(pid: int, mark: str) -> bool:
    """Whether the environment of a process may hold a mark; to have psutil parse that of each takes much longer."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return mark.encode() in file.read()
    except OSError:  # it is gone, or another user's; or the system has no such files
        return not os.path.exists("/proc/self/environ")


@functools.cache
def _ended_with_parent() -> tuple[str, ...]:
    """The start of a command that makes the kernel end it with its parent (Linux' setpriv), if supported.

    A function to call between fork and exec would do the same, but no thread may be running then.
    """
    import subprocess

    words = ("setpriv", "--pdeathsig", "TERM")
    try:
        known = subprocess.run([*words, "true"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        known = False
    return words if known else ()
