"""Reduce any number of ranks to a power of two, for algorithms that halve and double.

With p = q + r ranks, q the largest power of two: of the first 2r ranks each even one gives all its data to the odd one
next to it, which adds them and takes part for both; afterwards it sends the result back. p = 6::

    rank       0 -> 1     2 -> 3     4     5
    place           0          1     2     3         among q = 4

The order of the ranks is kept. Costs 2 (alpha + n beta) + n gamma if p is no power of two, and nothing otherwise.

R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective communication operations in MPICH, Int. J. High
Performance Computing Applications 19 (2005), section 4.5.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from mpi4py import MPI

from primitives.buffers import Array
from primitives.collectives.persistent import TAG, Apply, Reduction, Request


class PowerOfTwo(Reduction):
    """Base of an all-reduce that is written for a power of two of ranks and runs on any number.

    A subclass writes `exchange`, in terms of `place`, `places` and `rank_at`. It begins with the data in `begin` (the
    input itself, or what two ranks have together) and leaves the result in `recv`. `send` and `recv` have any shape.
    """

    ordered = True

    def __init__(self, comm: MPI.Intracomm, send: Array, recv: Array, op: Apply, tag: int = TAG) -> None:
        super().__init__(comm, send, recv, op, tag)
        self.places = 1 << (self.size.bit_length() - 1)
        self.extra = self.size - self.places
        self.paired = self.rank < 2 * self.extra
        self.outside = self.paired and self.rank % 2 == 0
        self.place = self.rank // 2 if self.paired else self.rank - self.extra
        self.doublings = 0 if self.outside else self.places.bit_length() - 1
        self.begin = recv if self.paired else send
        if self.outside:
            self._give, self._take = self.sender(send, self.rank + 1), self.receiver(recv, self.rank + 1)
        elif self.paired:
            self._give = self.sender(recv, self.rank - 1)
            self._theirs = np.empty_like(recv)
            self._take = self.receiver(self._theirs, self.rank - 1)

    def rank_at(self, place: int) -> int:
        """The rank that takes part at a place."""
        return 2 * place + 1 if place < self.extra else place + self.extra

    def operands(self, theirs: Array, mine: Array, partner: int) -> tuple[Array, Array]:
        """The two operands in the order of the ranks, so that both partners compute the same bits."""
        return (theirs, mine) if partner < self.rank else (mine, theirs)

    def steps(self) -> Iterator[Request]:
        if self.recv.size == 0:
            return
        if self.outside:
            self.phase("pair_reduce")
            yield self._give()
            self.phase("pair_return")
            self._take.Start()
            yield self._take
        elif self.paired:
            self.phase("pair_reduce")
            self._take.Start()
            yield self._take
            self.op(self._theirs, self.send, self.recv)
            yield from self.exchange()
            self.phase("pair_return")
            yield self._give()
        elif self.doublings:
            yield from self.exchange()
        elif self.send is not self.recv:
            np.copyto(self.recv, self.send)

    def exchange(self) -> Iterator[Request]:
        """The algorithm among the `places`, from `begin` to `recv`."""
        raise NotImplementedError
