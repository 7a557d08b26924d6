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
from functools import partial

import numpy as np
from mpi4py import MPI

from primitives import hooks
from primitives.buffers import Array, message
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
        self._blocking = []
        sums = [np.empty_like(recv) for _ in range(min(2, self.doublings - 1))]
        mine = self.begin
        for step in range(self.doublings):
            partner = self.rank_at(self.place ^ (1 << step))
            theirs = self.scratch[step % 2]
            lower, higher = self.operands(theirs, mine, partner)
            receive, total = self.receiver(theirs, partner), sums[step % 2] if step + 1 < self.doublings else None
            self._exchanges.append((receive, self.sender(mine, partner), lower, higher, total))
            give = partial(comm.Send, message(mine), partner, tag)
            self._blocking.append((receive.Start, give, receive.Wait, lower, higher, total))
            mine = recv if total is None else total

    def exchange(self) -> Iterator[Request]:
        hooks.phase("exchange")
        for receive, send, lower, higher, total in self._exchanges:
            receive.Start()
            sent = send()
            yield receive
            yield sent
            self.op(lower, higher, self.recv if total is None else total)

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

        The same as `exchange` without a generator and without send requests, whose time counts where a message takes no
        more than that. Everybody posts the receive first, so that no Send waits for ever.
        """
        hooks.phase("exchange")
        op = self.op
        for start, send, wait, lower, higher, total in self._blocking:
            start()
            send()
            wait()
            op(lower, higher, out if total is None else total)
