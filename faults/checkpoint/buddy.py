"""Checkpoints in memory: every rank keeps its own state and its left neighbour's.

    rank       0      1      2      3
    holds      0, 3   1, 0   2, 1   3, 2         rank 2 dies: rank 3 has its state

A save is one local copy and one message of the whole state to the right. Two generations are kept, because a death
during a save leaves the newer one incomplete. Survives any deaths but those of a rank and its right neighbour together
(`faults.protocol.Lost`); faster than a disk by far, and only for states that differ between ranks: a state that all
hold alike needs no buddy.

Cost: one copy and alpha + n beta, whatever the number of ranks; memory 4 n. Source: Zheng, Shi, Kale, "FTC-Charm++: an
in-memory checkpoint-based fault tolerant runtime" (2004).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from emulator.errors import UsageError
from faults.protocol import Lost

if TYPE_CHECKING:
    from mpi4py import MPI

_TAG = 30_021
State = dict[str, np.ndarray]


class Buddy:
    """The last two checkpoints of this rank and of its left neighbour.

    Parameters
    ----------
    comm
        Those at work; after a recovery make a new one, or `adopt` the communicator if it has as many ranks.
    state
        Arrays of the shapes that will be saved; they may differ from rank to rank.
    """

    def __init__(self, comm: MPI.Intracomm, state: State) -> None:
        self._layout = {name: (array.dtype, array.shape, array.nbytes) for name, array in state.items()}
        length = sum(size for _, _, size in self._layout.values())
        self.adopt(comm)
        theirs = np.zeros(1, np.int64)
        comm.Sendrecv(np.array([length]), self._right, _TAG, theirs, self._left, _TAG)
        self._own = [np.zeros(length, np.uint8) for _ in range(2)]
        self._kept = [np.zeros(int(theirs[0]), np.uint8) for _ in range(2)]
        self._steps = [-1, -1]
        self._next = 0

    def adopt(self, comm: MPI.Intracomm) -> None:
        """Go on over another communicator, in which everybody has the same rank."""
        self._comm = comm
        self._rank, size = comm.Get_rank(), comm.Get_size()
        self._left, self._right = (self._rank - 1) % size, (self._rank + 1) % size

    @property
    def steps(self) -> list[int]:
        """Steps that this rank can go back to, oldest first."""
        return sorted(step for step in self._steps if step >= 0)

    def save(self, step: int, state: State) -> None:
        """Keep the state as of `step`; called by all. An `MPI.Exception` leaves the save before this one."""
        slot = self._next
        self._steps[slot] = -1
        self._pack(state, self._own[slot])
        self._comm.Sendrecv(self._own[slot], self._right, _TAG, self._kept[slot], self._left, _TAG)
        self._steps[slot] = step
        self._next = 1 - slot

    def restore(self, step: int, state: State, newcomers: Collection[int] = ()) -> None:
        """Put the state of `step` back in place; called by all, with the same step and newcomers.

        Parameters
        ----------
        newcomers
            Ranks that come without memory: each gets its state from its right neighbour, and then
            its left neighbour's copy from that one.

        Raises
        ------
        Lost
            A rank and its right neighbour are both new.
        UsageError
            This rank was there and has no such step.
        """
        size = self._comm.Get_size()
        both = [rank for rank in newcomers if (rank + 1) % size in newcomers]
        if both or size == len(newcomers):
            rank = min(both or newcomers)
            raise Lost("restore", f"rank {rank} and its buddy are both lost: only a disk has its state")
        if self._rank in newcomers:
            self._comm.Recv(self._own[0], self._right, _TAG)
            self._comm.Recv(self._kept[0], self._left, _TAG)
            self._steps, self._next = [step, -1], 1
        elif step not in self._steps:
            raise UsageError(f"this rank can go back to step {' or '.join(map(str, self.steps))}, got {step}")
        slot = self._steps.index(step)
        if self._rank not in newcomers:
            if self._left in newcomers:
                self._comm.Send(self._kept[slot], self._left, _TAG)
            if self._right in newcomers:
                self._comm.Send(self._own[slot], self._right, _TAG)
        self._unpack(self._own[slot], state)

    def _pack(self, state: State, into: np.ndarray) -> None:
        first = 0
        for name, (dtype, shape, size) in self._layout.items():
            np.copyto(into[first : first + size].view(dtype).reshape(shape), state[name])
            first += size

    def _unpack(self, values: np.ndarray, state: State) -> None:
        first = 0
        for name, (dtype, shape, size) in self._layout.items():
            np.copyto(state[name], values[first : first + size].view(dtype).reshape(shape))
            first += size
