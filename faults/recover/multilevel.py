"""Private state of ranks, saved on two levels: in the right neighbour's memory at every agreement, and on disk.

    step done ─ copy to the buddy ─ agreement ─► committed: every buddy has it         (memory)
                                              └─ every k steps: parts to the store     (disk)

The copy goes before the agreement, so a step is committed only when all buddies have it, and a failed one leaves the
copy before it. A rank that takes a dead one's place gets its state from the buddy; where a rank and its buddy are dead
together, all go back to the newest intact checkpoint on disk. Source: Moody et al., "Design, modeling, and evaluation
of a scalable multi-level checkpointing system" (SC 2010).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from faults.agree.deaths import RecoveryFailed
from faults.checkpoint.buddy import Buddy
from faults.checkpoint.part import Damaged, Slice, even_slice
from faults.recover.user_loop.preconditions import check_state

if TYPE_CHECKING:
    from mpi4py import MPI

    from faults.checkpoint.store import Store

State = dict[str, np.ndarray]


class Levels:
    """Two levels of checkpoints for `faults.recovering`.

    Parameters
    ----------
    own : this rank's own arrays, of the same names, types and shapes on every rank, changed in place. As they are given
        they are the state before step 0, also on ranks that wait or are started later.
    store : the second level; without it the loss of a rank together with its buddy ends the job
    every : steps between checkpoints on disk

    Raises
    ------
    UsageError
        `own` is other than arrays of numbers.

    Attributes
    ----------
    passed_over : what was wrong with newer checkpoints than the one that was found last
    """

    def __init__(self, own: State, store: Store | None = None, every: int = 10) -> None:
        check_state(own)
        self.own, self.store, self.every = own, store, every
        self.passed_over: list[str] = []
        self._committed = {name: array.copy() for name, array in own.items()}
        self._buddy: Buddy | None = None

    def keep(self, comm: MPI.Intracomm, step: int) -> None:
        """Copy the private state as of `step` steps to the buddy; called by all working ranks."""
        if self._buddy is None:
            self._buddy = Buddy(comm, self.own)
        self._buddy.adopt(comm)
        self._buddy.save(step, self.own)

    def commit(self) -> None:
        """Make the arrays just copied to the buddies the state that a rollback restores."""
        for name, array in self.own.items():
            np.copyto(self._committed[name], array)

    def roll_back(self) -> None:
        """Restore the arrays as of the last commit."""
        for name, array in self.own.items():
            np.copyto(array, self._committed[name])

    def to_disk(self, step: int, shared: State, rank: int, size: int) -> bool:
        """Write this rank's part of a checkpoint, if one is due; returns whether it was."""
        if self.store is None or step % self.every:
            return False
        slices = {name: even_slice(array, rank, size) for name, array in shared.items()}
        for name, array in self._committed.items():
            slices[_on_disk(name)] = Slice(array.reshape(-1), rank * array.size, size * array.size)
        self.store.save_slices(step, slices, rank, size)
        return True

    def memory_has(self, size: int, newcomers: Collection[int]) -> bool:
        """Whether memory holds the private state of all ranks: no rank was lost together with its buddy."""
        return not any((rank + 1) % size in newcomers for rank in newcomers)

    def from_memory(self, comm: MPI.Intracomm, step: int, newcomers: Collection[int]) -> None:
        """Send newcomers the state of `step` from their buddies; called by all at work, after `roll_back`."""
        if step:  # before that all ranks have what they were given
            buddy = Buddy(comm, self.own)
            if comm.Get_rank() not in newcomers and self._buddy is not None:
                buddy.inherit(self._buddy)
            buddy.restore(step, self.own, newcomers)
            self._buddy = buddy
        else:
            self._buddy = None
        self.commit()

    def newest_on_disk(self) -> int:
        """The newest step with an intact checkpoint; -1 if there is no second level or none is intact."""
        found, self.passed_over = self.store.newest_intact() if self.store is not None else (None, [])
        return -1 if found is None else found

    def from_disk(self, comm: MPI.Intracomm, step: int, shared: State) -> None:
        """Load the checkpoint of `step` into private and shared arrays, and copy it to the buddies."""
        assert self.store is not None
        rank = comm.Get_rank()
        wanted = {_on_disk(name): (rank * a.size, (rank + 1) * a.size) for name, a in self.own.items()}
        try:
            found = self.store.load(step, wanted)
        except Damaged as error:
            raise RecoveryFailed("restore", f"no intact checkpoint: {error}") from None
        for name, array in shared.items():
            np.copyto(array, found[name])
        for name, array in self.own.items():
            np.copyto(array, found[_on_disk(name)].reshape(array.shape))
        self.commit()
        self._buddy = Buddy(comm, self.own)
        self._buddy.save(step, self.own)


def _on_disk(name: str) -> str:
    """Name under which a private array is stored, distinct from shared ones."""
    return f"own/{name}"
