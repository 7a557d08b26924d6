"""Checkpoints in memory: every rank keeps its own state and its left neighbour's.

    rank       0      1      2      3
    holds      0, 3   1, 0   2, 1   3, 2         rank 2 dies: rank 3 has its state

A save is one local copy and one message of the whole state to the right; where the caller keeps its own state anyway
(`faults.recovering` does) the copy is left out. Two generations are kept, because a death during a save leaves the
newer one incomplete. Survives any deaths but those of a rank and its right neighbour together
(`RecoveryFailed`); faster than a disk by far, and only for states that differ between ranks: a state
that all hold alike needs no buddy.

Cost: one copy and alpha + n beta, whatever the number of ranks; memory 4 n. Source: Zheng, Shi, Kale, "FTC-Charm++: an
in-memory checkpoint-based fault tolerant runtime" (2004).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from emulator.errors import UsageError
from faults.agree.survivor_group import RecoveryFailed

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
        Contiguous arrays of the shapes that will be saved; they may differ from rank to rank.
    own
        Keep this rank's own state too. Without, a survivor brings the state of the step to `restore` itself, and a
        state of one array is sent from where it lies.
    """

    def __init__(self, comm: MPI.Intracomm, state: State, own: bool = True) -> None:
        self._layout = {name: (array.dtype, array.shape, array.nbytes) for name, array in state.items()}
        length = sum(size for _, _, size in self._layout.values())
        self.adopt(comm)
        theirs = np.zeros(1, np.int64)
        comm.Sendrecv(np.array([length]), self._right, _TAG, theirs, self._left, _TAG)
        self._keeps_own = own
        self._packs = own or len(state) != 1
        self._own = [np.zeros(length if self._packs else 0, np.uint8) for _ in range(2)]
        self._kept = [np.zeros(int(theirs[0]), np.uint8) for _ in range(2)]
        self._steps = [-1, -1]
        self._next = 0

    def adopt(self, comm: MPI.Intracomm) -> None:
        """Go on over another communicator, in which every process has the same rank."""
        self._comm = comm
        self._rank, size = comm.Get_rank(), comm.Get_size()
        self._left, self._right = (self._rank - 1) % size, (self._rank + 1) % size

    def inherit(self, older: Buddy) -> None:
        """Take over what another one of this rank keeps, of the same neighbours' ranks."""
        self._own, self._kept, self._steps, self._next = older._own, older._kept, older._steps, older._next

    @property
    def steps(self) -> list[int]:
        """Steps that this rank can go back to, oldest first."""
        return sorted(step for step in self._steps if step >= 0)

    def save(self, step: int, state: State) -> None:
        """Keep the state as of `step`; called by all. An `MPI.Exception` leaves the save before this one."""
        # A step that is tried again replaces its own copy, not that of the step before.
        slot = self._steps.index(step) if step in self._steps else self._next
        self._steps[slot], self._next = -1, slot
        self._comm.Sendrecv(self._packed(state, slot), self._right, _TAG, self._kept[slot], self._left, _TAG)
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
            self._comm.Recv(self._own[0] if self._packs else _bytes(state), self._right, _TAG)
            self._comm.Recv(self._kept[0], self._left, _TAG)
            self._steps, self._next = [step, -1], 1
        elif step not in self._steps:
            raise UsageError(f"this rank can go back to step {' or '.join(map(str, self.steps))}, got {step}")
        slot = self._steps.index(step)
        if self._rank not in newcomers:
            if self._left in newcomers:
                self._comm.Send(self._kept[slot], self._left, _TAG)
            if self._right in newcomers:
                own = self._own[slot] if self._keeps_own else self._packed(state, slot)
                self._comm.Send(own, self._right, _TAG)
        if self._packs and (self._keeps_own or self._rank in newcomers):
            self._unpack(self._own[slot], state)

    def _packed(self, state: State, slot: int) -> np.ndarray:
        """The state's bytes: copied together, or where they lie."""
        if not self._packs:
            return _bytes(state)
        self._pack(state, self._own[slot])
        return self._own[slot]

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


def _bytes(state: State) -> np.ndarray:
    """The bytes of a state of one array, in place."""
    (array,) = state.values()
    return array.reshape(-1).view(np.uint8)
