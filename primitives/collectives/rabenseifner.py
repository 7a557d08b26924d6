"""Rabenseifner's all-reduce: recursive halving, then recursive doubling.

A reduce-scatter in lg p steps: in step k the two ranks that differ in bit k share a range of the array; each sends
the half that it gives up and adds the half that it keeps. Then the same way back, each sending what it has summed.
p = 4, ranges in quarters::

    rank         0          1          2          3
    halving    [0:4]  <-> [0:4]      [0:4]  <-> [0:4]       half of n to the neighbour
               [0:2]  <------------> [0:2]                  a quarter to the one two places on
                          [2:4]  <------------> [2:4]
    ends on    [0:1]      [2:3]      [1:2]      [3:4]       complete sums, each on one rank
    doubling   the same exchanges backwards, each range sent to whom its other half came from

The ring's bytes in 2 lg p steps instead of 2 (p-1)::

    T = 2 lg p alpha + 2 (p-1)/p n beta + (p-1)/p n gamma            p = 2^k

and another 2 (alpha + n beta) + n gamma for other p, which are reduced to the next lower power of two (p in the
fractions).

For middle sizes, and for long messages if p is a power of two. Each range is summed on one rank, the lower ranks'
part first, and copied to the others: identical bits, and the order of the ranks is kept.

R. Rabenseifner: Optimization of collective reduction operations, ICCS 2004; R. Thakur, R. Rabenseifner, W. Gropp:
Optimization of collective communication operations in MPICH (2005).
"""

from __future__ import annotations

from collections.abc import Iterator

from mpi4py import MPI

from primitives.buffers import Array, scratch
from primitives.collectives.persistent import TAG, Apply, Request
from primitives.collectives.power_of_two import PowerOfTwo


class Rabenseifner(PowerOfTwo):
    """All-reduce by halving and doubling; see the module for the algorithm, `Reduction` for the parameters."""

    def __init__(self, comm: MPI.Intracomm, send: Array, recv: Array, op: Apply, tag: int = TAG) -> None:
        super().__init__(comm, send, recv, op, tag)
        self._halvings: list[tuple[MPI.Prequest, MPI.Prequest, Array, Array, Array]] = []
        self._doublings: list[tuple[MPI.Prequest, MPI.Prequest, MPI.Prequest]] = []
        self.uniform = send.size, send.dtype
        low, high, source = 0, recv.size, self.begin
        for step in range(self.doublings):
            bit = 1 << step
            partner = self.rank_at(self.place ^ bit)
            lower, upper = slice(low, (low + high) // 2), slice((low + high) // 2, high)
            keep, give = (upper, lower) if self.place & bit else (lower, upper)
            (theirs,) = scratch(recv[keep], 1)
            receive, give_away = self.receiver(theirs, partner), self.starter(source[give], partner)
            self._halvings.append((receive, give_away, *self.operands(theirs, source[keep], partner), recv[keep]))
            self._doublings.append((give_away, self.receiver(recv[give], partner), self.starter(recv[keep], partner)))
            low, high, source = keep.start, keep.stop, recv
        self._doublings.reverse()

    def exchange(self) -> Iterator[Request]:
        self.phase("reduce_scatter")
        for receive, *_ in self._halvings:
            receive.Start()
        for receive, give, first, second, total in self._halvings:
            give.Start()
            yield receive
            self.op(first, second, total)
        self.phase("all_gather")
        for given, receive, pass_on in self._doublings:
            yield given  # from where the result arrives now
            receive.Start()
            pass_on.Start()
            yield receive
        yield from (pass_on for _, _, pass_on in self._doublings)
