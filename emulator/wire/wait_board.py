"""Which rank each rank of a machine has long been waiting for, in shared memory, to report jobs that hang.

    three cells for each rank    since when it waits (wall, s; 0: it does not)    the rank waited for    tag

A wait for an emulated message is noted once it has lasted for `NOTED_S`, so that messages cost nothing.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from mpi4py import MPI

from emulator.core.instruments import NO_PEER
from emulator.core.wall_clock import perf_counter
from emulator.wire.shared_clocks import common_file

NOTED_S = 1.0
_CELLS = 3
NO_TAG, COLLECTIVE = -1, -2
"""In the place of a tag: for any, and for the other ranks of a collective operation."""


@dataclass(frozen=True)
class Waiter:
    """A waiting rank: for how many seconds, for which rank (`NO_PEER`: any, or several) and which tag."""

    rank: int
    seconds: float
    peer: int = NO_PEER
    tag: int = NO_TAG


class WaitBoard:
    """The shared cells of waiting ranks; all ranks of `control` construct one (collective).

    Parameters
    ----------
    control : a communicator of MPI itself; ranks on other machines than this one are not known
    """

    def __init__(self, control: MPI.Intracomm) -> None:
        machine: MPI.Intracomm = control.Split_type(MPI.COMM_TYPE_SHARED)  # type: ignore[assignment]
        self.ranks: list[int] = machine.allgather(control.Get_rank())
        length = 8 * _CELLS * control.Get_size()
        self._map = mmap.mmap(common_file(machine, length), length)
        machine.Free()
        self._cells = memoryview(self._map).cast("d")
        self._own = _CELLS * control.Get_rank()

    def waits(self, since: float, peer: int = NO_PEER, tag: int = NO_TAG) -> None:
        """Note that this rank has been waiting since `since` (perf_counter)."""
        own, cells = self._own, self._cells
        cells[own + 1], cells[own + 2] = peer if peer >= 0 else NO_PEER, tag
        cells[own] = since

    def goes_on(self) -> None:
        """Note that this rank no longer waits."""
        self._cells[self._own] = 0.0

    def waiters(self, least_s: float = 0.0) -> list[Waiter]:
        """List the ranks of this machine that have been waiting for at least `least_s` seconds."""
        now, found = perf_counter(), []
        for rank in self.ranks:
            since, peer, tag = self._cells[_CELLS * rank : _CELLS * (rank + 1)].tolist()
            if since and now - since >= least_s:
                found.append(Waiter(rank, now - since, int(peer), int(tag)))
        return found
