"""A communicator for control messages, apart from a program's measured messages, whose ranks wait asleep.

A blocking collective of MPI polls until the last rank has come, and yields the core at best. Where ranks outnumber the
cores, seven that poll while rank 0 fits, writes its page or trains leave it a quarter of its core or less.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from mpi4py import MPI

from emulator.core.wall_clock import polite_nap, wait_until

_Collective = TypeVar("_Collective", bound=Callable[..., Any])


def meet(comm: MPI.Intracomm) -> None:
    """Wait asleep until every rank of a communicator of MPI has made this call; collective."""
    wait_until(comm.Ibarrier().Test, longest=polite_nap(comm.Get_size()))


def _after_meeting(collective: _Collective) -> _Collective:
    """Make all ranks wait asleep before a blocking collective, so that all enter it at once."""

    @wraps(collective)
    def call(self: Control, *arguments: Any, **options: Any) -> Any:
        meet(self)
        return collective(self, *arguments, **options)

    return cast(_Collective, call)


class Control(MPI.Intracomm):
    """A communicator whose blocking collectives synchronise all ranks; ranks sleep until the last one has entered.

    ::

        control = Control.beside(MPI.COMM_WORLD)
        found = control.bcast(search() if control.rank == 0 else None)

    Everything else is MPI's own. A rank notices up to about 1 ms late that the others are there, or later where many
    share a core.
    """

    @classmethod
    def beside(cls, comm: MPI.Intracomm) -> Control:
        """Duplicate a communicator of MPI whose ranks may make this call at different times; collective."""
        meet(comm)
        return cls(comm.Dup())

    Barrier = _after_meeting(MPI.Intracomm.Barrier)
    Bcast = _after_meeting(MPI.Intracomm.Bcast)
    Gather = _after_meeting(MPI.Intracomm.Gather)
    Reduce = _after_meeting(MPI.Intracomm.Reduce)
    bcast = _after_meeting(MPI.Intracomm.bcast)
    gather = _after_meeting(MPI.Intracomm.gather)
    scatter = _after_meeting(MPI.Intracomm.scatter)
    allgather = _after_meeting(MPI.Intracomm.allgather)
    allreduce = _after_meeting(MPI.Intracomm.allreduce)
