"""Recursive doubling: in step k a rank exchanges all its data with the rank whose number differs in bit k.

::

    rank         0      1      2      3
    step 1       0 <--> 1      2 <--> 3          sums of 2
    step 2       0 <---------> 2
                        1 <---------> 3          sums of 4

lg p steps, each of which sends, receives and adds all n bytes::

    T = lg p (alpha + n beta + n gamma)          p = 2^k; other p are reduced to one: + 2 (alpha + n beta) + n gamma

The least latency there is, and lg p / 2 times the bytes of a ring: for short messages. Both partners compute the
same sum, the lower rank's part first, so that every rank has identical bits and the order of the ranks is kept: the
operation need not be commutative.

R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective communication operations in MPICH, Int. J. High
Performance Computing Applications 19 (2005).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from mpi4py import MPI

from primitives.buffers import Array
from primitives.collectives.persistent import TAG, Apply, Request
from primitives.collectives.power_of_two import PowerOfTwo


class RecursiveDoubling(PowerOfTwo):
    """All-reduce in lg p exchanges; see the module for the algorithm, `Reduction` for the parameters."""

    flat = False  # arrays as they are, which spares it a copy

    def __init__(self, comm: MPI.Intracomm, send: Array, recv: Array, op: Apply, tag: int = TAG) -> None:
        super().__init__(comm, send, recv, op, tag)
        scratch = [np.empty_like(recv) for _ in range(min(2, self.doublings))]
        sums = [np.empty_like(recv) for _ in range(self.doublings - 1)]  # being sent until the end
        self._exchanges: list[tuple[MPI.Prequest, MPI.Prequest, Array, Array]] = []
        for step, mine in enumerate([self.begin, *sums][: self.doublings]):
            partner, theirs = self.rank_at(self.place ^ (1 << step)), scratch[step % 2]
            self._lower, self._higher = self.operands(theirs, mine, partner)
            self._exchanges.append(
                (self.receiver(theirs, partner), self.starter(mine, partner), self._lower, self._higher)
            )
        self._sums = [*sums, recv][: self.doublings]
        self._program = list(self._calls())

    def exchange(self) -> Iterator[Request]:
        self.phase("exchange")
        for (receive, send, lower, higher), total in zip(self._exchanges, self._sums, strict=True):
            receive.Start()
            send.Start()
            yield receive
            if total is self.recv:  # where what is sent may lie
                yield from (sent for _, sent, *_ in self._exchanges)
            self.op(lower, higher, total)

    def _calls(self) -> Iterator[Callable[[], object]]:
        """The calls of `exchange`, without arguments, except for the last operation."""
        for (receive, send, lower, higher), total in zip(self._exchanges, self._sums, strict=True):
            yield from (receive.Start, send.Start, receive.Wait)
            if total is not self.recv:
                yield partial(self.op, lower, higher, total)
        yield from (send.Wait for _, send, *_ in self._exchanges)

    def run(self) -> None:
        if self.direct:
            self.run_into(self.recv)
        else:
            super().run()

    @property
    def direct(self) -> bool:
        """Whether `run_into` can be used."""
        return self.size > 1 and self.extra == 0 and self.recv.size > 0

    def run_into(self, out: Array) -> None:
        """Run, with the result in any array of the shape and dtype of `recv`.

        The same as `exchange`, but for the time that a generator takes, which counts beside a short message.
        """
        self.phase("exchange")
        for call in self._program:
            call()
        self.op(self._lower, self._higher, out)
