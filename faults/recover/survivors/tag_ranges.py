"""Ranges of tags of one communicator, which separate the messages of several communicators of survivors.

    tags of the communicator beside the one at work    0 ........ 2^20 ........ 2*2^20 ........ 3*2^20 ...
    messages of                                            (unused)  collectives   Split, Dup     its collectives
                                                                     of job.comm

MPI builds no communicator after a death, because death notices that arrive meanwhile can crash or hang the survivors.
So `Split` and `Dup` of a job's communicator choose a free range of tags instead. All ranks of the communicator that is
split say which ranges they use, and take the first one that none does, as MPICH chooses its context ids.

Limits: 1023 such communicators at a time, tags below 2^20, and no receive with ANY_TAG on them.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError

BITS = 20
PAIRS = 1 << 31 - BITS - 1
"""Ranges come in pairs: one for a communicator's own messages, one for its collectives. Pair 0 is of `job.comm`."""


class _Refusing:
    """Stands for the members of a communicator that carries nothing now: every access raises an error."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __getitem__(self, rank: Any) -> Any:
        raise UsageError(self._why)

    def __len__(self) -> int:
        raise UsageError(self._why)

    def __iter__(self) -> Any:
        raise UsageError(self._why)


REPLACED = _Refusing(
    "job.comm is another one after a recovery: read job.comm, and make its communicators, anew in each step"
)
BETWEEN_STEPS = _Refusing(
    "job.comm carries no messages between two steps, which are not done again after a death: use it inside "
    "job.attempt(), or after the loop"
)


class TagRanges:
    """The ranges that this process has in use on one communicator.

    Parameters
    ----------
    comm : a communicator over all processes, bare or emulated, that carries nothing else

    Attributes
    ----------
    free : a byte for each pair of ranges: 1 if this process does not use it
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm = comm
        self.free = np.ones(PAIRS, np.uint8)
        self.free[0] = 0
        self._few = PAIRS // 4
        self._comms: weakref.WeakSet[Any] = weakref.WeakSet()

    def watch(self, comm: Any) -> None:
        """Make `expire` also expire this communicator."""
        self._comms.add(comm)

    def expire(self) -> None:
        """Refuse all later use of the communicators of these ranges."""
        for comm in self._comms:
            comm.members = REPLACED

    def offered(self) -> np.ndarray:
        """The bytes of `free`, after garbage collection of dropped communicators if few pairs are left."""
        if self.free.sum() < self._few:
            gc.collect()
            self._few = min(PAIRS // 4, int(self.free.sum()) // 2)  # not in each call, if there is nothing to collect
        return self.free

    @staticmethod
    def first(free: np.ndarray) -> int:
        """The first pair that is free on all ranks, from the minimum of their `free`.

        Raises
        ------
        UsageError
            There is none.
        """
        pair = int(np.argmax(free))
        if not free[pair]:
            raise UsageError(f"at most {PAIRS - 1} communicators are made from job.comm at a time: Free those not used")
        return pair

    def take(self, pair: int, comm: Any) -> Callable[[], object]:
        """Mark a pair as used by `comm`; returns the call that releases it, at the latest when `comm` is collected."""
        self.free[pair] = 0
        release = weakref.finalize(comm, self.free.__setitem__, pair, 1)
        release.atexit = False
        return release
