"""Recursive doubling: in step k everybody exchanges everything with the rank whose number differs in bit k.

::

    rank         0      1      2      3
    step 1       0 <--> 1      2 <--> 3          sums of 2
    step 2       0 <---------> 2
                        1 <---------> 3          sums of 4

lg p steps, each of which sends, receives and adds all n bytes::

    T = lg p (alpha + n beta + n gamma)          p = 2^k; other p are folded: + 2 (alpha + n beta) + n gamma

The least latency there is, and lg p / 2 times the bytes of a ring: for short messages. Both partners compute the
same sum, the lower rank's part first, so that every rank has identical bits and the order of the ranks is kept: the
operation need not be commutative.

R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective communication operations in MPICH, Int. J. High
Performance Computing Applications 19 (2005).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mpi4py import MPI

from primitives import hooks
from primitives.buffers import Array
from primitives.fold import Folded
from primitives.plans import TAG, Request


class RecursiveDoubling(Folded):
    """All-reduce in lg p exchanges; see the module for the algorithm, `Folded` for the parameters."""

    def __init__(
        self, comm: MPI.Intracomm, send: Array, recv: Array, op: Callable[[Array, Array, Array], object],
        tag: int = TAG,
    ) -> None:  # fmt: skip
        super().__init__(comm, send, recv, op, tag)
        self._exchanges = []
        for step in range(0 if self.outside else self.places.bit_length() - 1):
            partner = self.rank_at(self.place ^ (1 << step))
            theirs = self.scratch[step % 2]
            self._exchanges.append((partner, theirs, self.sender(recv, partner), self.receiver(theirs, partner)))

    def exchange(self) -> Iterator[Request]:
        for partner, theirs, send, receive in self._exchanges:
            hooks.phase("exchange", partner=partner)
            receive.Start()
            sent = send()
            yield receive
            yield sent
            self.combine(theirs, self.recv, partner)
