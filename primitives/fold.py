"""Any number of ranks made a power of two, for algorithms that halve and double.

With p = q + r ranks, q the largest power of two: of the first 2r ranks each even one gives all its data to the odd one
next to it, which adds them and takes part for both; afterwards it sends the result back. p = 6::

    rank       0 -> 1     2 -> 3     4     5
    place           0          1     2     3         among q = 4

The order of the ranks is kept. Costs 2 (alpha + n beta) + n gamma if p is no power of two, and nothing otherwise.

R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective communication operations in MPICH, Int. J. High
Performance Computing Applications 19 (2005), section 4.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from mpi4py import MPI

from primitives import hooks
from primitives.buffers import Array
from primitives.plans import TAG, Plan, Request


class Folded(Plan):
    """An all-reduce among a power of two of ranks, made one for any number of them.

    A subclass writes `exchange`, in terms of `place`, `places` and `rank_at`.

    Parameters
    ----------
    send, recv
        Flat arrays of the same size and dtype, separate or the same.
    op
        ``op(a, b, out)``, associative.
    """

    def __init__(
        self, comm: MPI.Intracomm, send: Array, recv: Array, op: Callable[[Array, Array, Array], object],
        tag: int = TAG,
    ) -> None:  # fmt: skip
        super().__init__(comm, tag)
        self.send, self.recv, self.op = send, recv, op
        self.places = 1 << (self.size.bit_length() - 1)
        self.extra = self.size - self.places
        self.paired = self.rank < 2 * self.extra
        self.outside = self.paired and self.rank % 2 == 0
        self.place = self.rank // 2 if self.paired else self.rank - self.extra
        self.scratch = self._scratch()
        if self.paired:
            other = self.rank ^ 1
            self._give = self.sender(recv, other)
            self._take = self.receiver(recv if self.outside else self.scratch[0], other)

    def rank_at(self, place: int) -> int:
        """The rank that takes part at a place."""
        return 2 * place + 1 if place < self.extra else place + self.extra

    def _scratch(self) -> list[Array]:
        """Two buffers that take turns, so that a receive can be posted while the last one is being added."""
        wanted = 0 if self.size == 1 or self.outside else 2
        return [np.empty_like(self.recv) for _ in range(wanted)]

    def combine(self, theirs: Array, mine: Array, partner: int) -> None:
        """Add what the partner sent into `mine`, the lower rank's part first: both then get the same bits."""
        if partner < self.rank:
            self.op(theirs, mine, mine)
        else:
            self.op(mine, theirs, mine)

    def steps(self) -> Iterator[Request]:
        if self.send is not self.recv:
            np.copyto(self.recv, self.send)
        if self.recv.size == 0:
            return
        if self.outside:
            yield from self._stand_by()
        elif self.paired:
            hooks.phase("fold")
            self._take.Start()
            yield self._take
            self.combine(self.scratch[0], self.recv, self.rank ^ 1)
            yield from self.exchange()
            hooks.phase("unfold")
            yield self._give()
        else:
            yield from self.exchange()

    def _stand_by(self) -> Iterator[Request]:
        hooks.phase("fold")
        self._take.Start()
        yield self._give()
        hooks.phase("unfold")
        yield self._take

    def exchange(self) -> Iterator[Request]:
        """The algorithm among the `places`, in `recv`."""
        raise NotImplementedError
