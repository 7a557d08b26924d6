"""Collectives on MPI.COMM_WORLD in a loop with spares are refused: the spares take part in no step."""

from __future__ import annotations

import functools
from typing import Any

from mpi4py import MPI

from emulator.comm.compiled_classes import replace_methods
from emulator.errors import UsageError
from faults.recover.program_failure import in_loop

_COLLECTIVES = (
    "Barrier Bcast Gather Gatherv Scatter Scatterv Allgather Allgatherv Alltoall Alltoallv Alltoallw Reduce Allreduce "
    "Reduce_scatter Reduce_scatter_block Scan Exscan barrier bcast gather scatter allgather alltoall reduce allreduce "
    "scan exscan Split Dup Create"
)


@functools.cache
def refuse_in_loops_with_spares() -> None:
    """From now on refuse them, once for the process: the ranks at work would wait for the spares for ever."""
    for cls in (MPI.Comm, MPI.Intracomm):
        own = {name: vars(cls)[name] for name in _COLLECTIVES.split() if name in vars(cls)}
        replace_methods(cls, {name: _refusing(name, original) for name, original in own.items()})


def _refusing(name: str, original: Any) -> Any:
    @functools.wraps(original)
    def call(comm: Any, *arguments: Any, **named: Any) -> Any:
        if in_loop() and comm == MPI.COMM_WORLD:
            raise UsageError(
                f"MPI.COMM_WORLD.{name} in the loop would wait for the spares, which take part in no step: "
                f"use job.comm.{name}"
            )
        return original(comm, *arguments, **named)

    return call
