"""Checks of arguments that every form of scatter-gather makes."""

from __future__ import annotations

from mpi4py import MPI

from emulator.errors import UsageError


def check_root(comm: MPI.Comm, root: int) -> None:
    """Refuse a root that is not a rank of the communicator."""
    if not 0 <= root < comm.Get_size():
        raise UsageError(f"root must be a rank of the communicator, 0 to {comm.Get_size() - 1}, got {root}")


def check_workers(comm: MPI.Comm) -> None:
    """Refuse a communicator without a worker."""
    if comm.Get_size() < 2:
        raise UsageError("scatter-gather needs a coordinator and at least 1 worker, got 1 rank: start at least 2")


def check_retries(retries: int) -> None:
    """Refuse a negative number of further attempts."""
    if retries < 0:
        raise UsageError(f"retries must be >= 0, got {retries}: 0 means one attempt only")
