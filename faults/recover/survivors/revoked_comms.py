"""Revoke the program's other communicators after a death, so that no rank waits there for ever.

A program may use MPI.COMM_WORLD in a step, a communicator that it made from it before the loop, or a window on one,
which has a communicator inside. The ranks that find a death leave the step for its repair, and one that waits for them
on such a communicator would never hear of it. MPI lists no communicators; the numbers by which Fortran knows them are
small and successive in Open MPI, and `MPI_Comm_f2c` gives the communicator of a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mpi4py import MPI

from emulator.carrier import CARRIES_OTHERS
from faults.agree.agreement import revoke

JOB = "of a job that recovers"
"""The name of every communicator that is the job's own."""
_GAP = 32  # successive numbers without a communicator, behind which there is none any more


def claim(comms: Iterable[MPI.Comm]) -> None:
    """Mark communicators as the job's own, which the job revokes itself."""
    for comm in comms:
        comm.Set_name(JOB)


def revoke_others() -> None:
    """Wake every rank that waits on a communicator of several processes that is not the job's own."""
    for comm in _communicators():
        if comm.Get_size() > 1 and comm.Get_name() not in (JOB, CARRIES_OTHERS):
            revoke(comm)


def _communicators() -> Iterator[MPI.Comm]:
    """Every communicator of this process that is over one group."""
    number = missed = 0
    while missed < _GAP:
        try:
            comm = MPI.Comm.f2py(number)
        except MPI.Exception:
            missed += 1
        else:
            missed = 0
            if comm != MPI.COMM_NULL and not isinstance(comm, MPI.Intercomm):
                yield comm
        number += 1
