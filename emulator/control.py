"""The communicator for what a program does beside its measured messages: its ranks wait asleep.

A blocking collective of MPI polls until the last rank has come, and yields the core at best. Where ranks outnumber the
cores, seven that poll while rank 0 fits, writes its page or trains leave it a quarter of its core or less.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from mpi4py import MPI

from emulator.core.wall_clock import wait_until

_Collective = TypeVar("_Collective", bound=Callable[..., Any])
_LONGEST_NAP_S = 1e-3


def _after_meeting(collective: _Collective) -> _Collective:
    """Let all ranks meet asleep before they begin a blocking collective, which then finds every rank there."""

    @wraps(collective)
    def call(self: Control, *arguments: Any, **options: Any) -> Any:
        wait_until(self.Ibarrier().Test, longest=_LONGEST_NAP_S)
        return collective(self, *arguments, **options)

    return cast(_Collective, call)


class Control(MPI.Intracomm):
    """A communicator whose blocking collectives synchronise all ranks, which sleep until the last one has come.

    ::

        control = Control(MPI.COMM_WORLD.Dup())
        found = control.bcast(search() if control.rank == 0 else None)

    Everything else is MPI's own. A rank notices up to about 1 ms late that the others are there.
    """

    Barrier = _after_meeting(MPI.Intracomm.Barrier)
    Bcast = _after_meeting(MPI.Intracomm.Bcast)
    Gather = _after_meeting(MPI.Intracomm.Gather)
    Reduce = _after_meeting(MPI.Intracomm.Reduce)
    bcast = _after_meeting(MPI.Intracomm.bcast)
    gather = _after_meeting(MPI.Intracomm.gather)
    scatter = _after_meeting(MPI.Intracomm.scatter)
    allgather = _after_meeting(MPI.Intracomm.allgather)
    allreduce = _after_meeting(MPI.Intracomm.allreduce)
