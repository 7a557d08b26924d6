"""Checkpoints in memory: every rank keeps a copy of its left neighbour's state.

    rank       0   1   2   3
    holds      3   0   1   2         rank 2 dies: rank 3 has its state

A save is one message of the whole state to the right; its own state a rank keeps itself (`faults.recovering` does). Two
generations are kept, because a death during a save leaves the newer one incomplete. Survives any deaths but those of a
rank and its right neighbour together (`RecoveryFailed`); faster than a disk by far, and only for states that differ
between ranks: a state that all hold alike needs no buddy.

Cost: alpha + n beta, whatever the number of ranks; memory 2 n. Source: Zheng, Shi, Kale, "FTC-Charm++: an in-memory
checkpoint-based fault tolerant runtime" (2004).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from emulator.errors import UsageError
from faults.agree.deaths import RecoveryFailed

if TYPE_CHECKING:
    from mpi4py import MPI

_TAG = 30_021
State = dict[str, np.ndarray]


class Buddy:
    """This rank's copies of its left neighbour's state at two steps.

    Parameters
    ----------
    comm : those at work; after a recovery make a new one, or `adopt` the communicator if it has as many ranks
    state : contiguous arrays of the shapes that will be saved; they may differ from rank to rank. A state of one array
        is sent from where it lies, several are copied together first.
    """

    def __init__(self, comm: MPI.Intracomm, state: State) -> None:
        self._layout = {name: (array.dtype, array.shape, array.nbytes) for name, array in state.items()}
        length = sum(size for _, _, size in self._layout.values())
        self.adopt(comm)
        theirs = np.zeros(1, np.int64)
        comm.Sendrecv(np.array([length]), self._right, _TAG, theirs, self._left, _TAG)
        self._together = None if len(state) == 1 else np.zeros(length, np.uint8)
        self._kept = [np.zeros(int(theirs[0]), np.uint8) for _ in range(2)]
        self._steps = [-1, -1]
        self._next = 0

    def adopt(self, comm: MPI.Intracomm) -> None:
        """Use another communicator in which every process has the same rank."""
        self._comm = comm
        self._rank, size = comm.Get_rank(), comm.Get_size()
        self._left, self._right = (self._rank - 1) % size, (self._rank + 1) % size

    def inherit(self, older: Buddy) -> None:
        """Take over the copies of an older buddy of this rank, whose neighbours are the same ranks."""
        self._kept, self._steps, self._next = older._kept, older._steps, older._next

    @property
    def steps(self) -> list[int]:
        """Steps that this rank can go back to, oldest first."""
        return sorted(step for step in self._steps if step >= 0)

    def save(self, step: int, state: State) -> None:
        """Copy every rank's state as of `step` to its right neighbour; collective. An error leaves the save before."""
        # A step that is tried again replaces its own copy, not that of the step before.
        slot = self._steps.index(step) if step in self._steps else self._next
        self._steps[slot], self._next = -1, slot
        self._comm.Sendrecv(self._packed(state), self._right, _TAG, self._kept[slot], self._left, _TAG)
        self._steps[slot] = step
        self._next = 1 - slot

    def restore(self, step: int, state: State, newcomers: Collection[int]) -> None:
        """Send new processes their state as of `step` from their buddies; collective, with the same step and newcomers.

        Parameters
        ----------
        state : of a newcomer: filled; of another rank: its state of that step
        newcomers : ranks that come without memory: each gets its state from its right neighbour, and then its left
            neighbour's copy from that one

        Raises
        ------
        RecoveryFailed
            A rank and its right neighbour are both new.
        UsageError
            This rank was there and has no such step.
        """
        size = self._comm.Get_size()
        both = [rank for rank in newcomers if (rank + 1) % size in newcomers]
        if both or size == len(newcomers):
            rank = min(both or newcomers)
            raise RecoveryFailed("restore", f"rank {rank} and its buddy are both lost: only a disk has its state")
        if self._rank in newcomers:
            self._comm.Recv(_bytes(state) if self._together is None else self._together, self._right, _TAG)
            self._unpack(state)
            self._comm.Recv(self._kept[0], self._left, _TAG)
            self._steps, self._next = [step, -1], 1
            return
        if step not in self._steps:
            raise UsageError(f"this rank can go back to step {' or '.join(map(str, self.steps))}, got {step}")
        if self._left in newcomers:
            self._comm.Send(self._kept[self._steps.index(step)], self._left, _TAG)
        if self._right in newcomers:
            self._comm.Send(self._packed(state), self._right, _TAG)

    def _packed(self, state: State) -> np.ndarray:
        """The bytes of the state: copied into one buffer, or in place."""
        if self._together is None:
            return _bytes(state)
        for name, part in self._parts(self._together):
            np.copyto(part, state[name])
        return self._together

    def _unpack(self, state: State) -> None:
        if self._together is not None:
            for name, part in self._parts(self._together):
                np.copyto(state[name], part)

    def _parts(self, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Views, with dtype and shape, of the arrays that were copied into a buffer of bytes."""
        first = 0
        for name, (dtype, shape, size) in self._layout.items():
            yield name, values[first : first + size].view(dtype).reshape(shape)
            first += size


def _bytes(state: State) -> np.ndarray:
    """A view of a state of one array as bytes."""
    (array,) = state.values()
    return array.reshape(-1).view(np.uint8)
