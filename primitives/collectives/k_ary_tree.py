"""A k-ary tree: reduce to rank 0 and broadcast, in few levels.

Rank r has up to k = 4 children, the ranks k r + 1 to k r + k. p = 16::

    0 -+- 1 -- 5, 6, 7, 8        up: a rank adds its children's sums to its own part and sends the sum to its parent
       +- 2 -- 9, 10, 11, 12
       +- 3 -- 13, 14, 15        down: it sends the result that comes from its parent to its children
       `- 4

With d levels, about log_k p, of at most k children::

    T <= 2 d (alpha + k n beta) + d k n gamma

Where every rank has a core of its own, a rank's port is the bottleneck: k messages pass through it one by one. Where
ranks share a few cores, the time is not that of the longest chain of messages but of all work, which is the least
here: 2 (p-1) messages (the ring sends 2 p (p-1), recursive doubling p lg p), with as many bytes in all as the ring's
and as many additions.

*Segments.* A long array goes in several messages: while one segment comes down the next ones go up.

Identical bits on every rank (the sum is made once, on rank 0). The operation must be commutative.

For trees of several shapes see E. Chan, M. Heimlich, A. Purkayastha, R. van de Geijn: Collective
communication: theory, practice, and experience (2007); for pipelining P. Sanders, J. Speck, J. L. Traeff: Two-tree
algorithms for full bandwidth broadcast, reduction and scan (2009).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from mpi4py import MPI

from emulator import carrier
from primitives.blocks import split
from primitives.buffers import Array, message
from primitives.collectives.persistent import TAG, Apply, Reduction, Request
from primitives.collectives.ring import segments_of

RADIX = 4
AHEAD = 2
"""Segments that go up before the first one comes down."""


def family(rank: int, size: int) -> tuple[int | None, list[int]]:
    """The parent of a rank (None for rank 0) and its children in ascending order."""
    first = RADIX * rank + 1
    return (rank - 1) // RADIX if rank else None, list(range(min(first, size), min(first + RADIX, size)))


class KAryTree(Reduction):
    """All-reduce up and down a tree with many children; see `Reduction` for the other parameters.

    Parameters
    ----------
    segment : longest message in bytes, 0 for the whole array; None for what suits the communicator
    """

    segmented = True
    family = staticmethod(family)
    downward = slice(None)
    """The order in which the children are sent the result."""

    def __init__(
        self, comm: MPI.Intracomm, send: Array, recv: Array, op: Apply, segment: int | None = None, tag: int = TAG
    ) -> None:
        super().__init__(comm, send, recv, op, tag)
        self.count = segments_of(comm, recv.nbytes, segment)
        self._mine, self._sums = split(send, self.count), split(recv, self.count)
        parent, children = self.family(self.rank, self.size)
        slots = [[np.empty_like(self._sums[0]) for _ in children] for _ in range(min(2, self.count))]
        self._theirs = [[slot[: part.size] for slot in slots[i % 2]] for i, part in enumerate(self._sums)]
        self._from_children = [
            [self.receiver(slot, child) for slot, child in zip(taken, children, strict=True)] for taken in self._theirs
        ]
        self._to_children = [[self.sender(part, child) for child in children[self.downward]] for part in self._sums]
        own = self._sums if children else self._mine
        self._to_parent = [] if parent is None else [self.sender(part, parent) for part in own]
        self._from_parent = [] if parent is None else [self.receiver(part, parent) for part in self._sums]
        self._tell = [partial(comm.Send, message(recv), child, tag) for child in children[self.downward]]
        self._report = [] if parent is None else [partial(comm.Send, message(own[0]), parent, tag)]

    def steps(self) -> Iterator[Request]:
        if self.size == 1:
            np.copyto(self.recv, self.send)
        if self.size == 1 or self.recv.size == 0:
            return
        ahead = min(AHEAD, self.count - 1)
        sent: list[Request] = []
        down: list[Request] = []
        self.phase("reduce")
        self._expect(0)
        for i in range(self.count + ahead):
            if i < self.count:
                self._expect(i + 1)
                yield from self._add(i)
                sent += [send() for send in self._to_parent[i : i + 1]]
            if i == ahead:
                self.phase("broadcast")
            if i >= ahead:
                yield from sent[i - ahead : i - ahead + 1]  # what comes down is received where it was sent from
                yield from self._take(i - ahead)
                down += [send() for send in self._to_children[i - ahead]]
        yield from down

    def run(self) -> None:
        if self.count > 1 or self.size == 1 or self.recv.size == 0:
            super().run()
        else:
            self._run()

    def _run(self) -> None:
        """Run `steps` on a single segment, without a generator and without send requests.

        For one segment their time counts. Send cannot deadlock: its receiver waits already.
        """
        self.phase("reduce")
        for receive in self._from_children[0]:
            receive.Start()
        mine = self._mine[0]
        for together in carrier.of(self.comm).all_matched(self._from_children[0]):
            together.Wait()
        for receive, theirs in zip(self._from_children[0], self._theirs[0], strict=True):
            receive.Wait()
            self.op(mine, theirs, self.recv)
            mine = self.recv
        for send in self._report:
            send()
        self.phase("broadcast")
        for receive in self._from_parent:
            receive.Start()
            receive.Wait()
        for send in self._tell:
            send()

    def _expect(self, i: int) -> None:
        """Post the receives of segment i from the children."""
        for receive in self._from_children[i] if i < self.count else []:
            receive.Start()

    def _add(self, i: int) -> Iterator[Request]:
        """Add this rank's segment i and those of its children."""
        mine = self._mine[i]
        yield from carrier.of(self.comm).all_matched(self._from_children[i])
        for receive, theirs in zip(self._from_children[i], self._theirs[i], strict=True):
            yield receive
            self.op(mine, theirs, self._sums[i])
            mine = self._sums[i]

    def _take(self, i: int) -> Iterator[Request]:
        """Receive the result of segment i from the parent; rank 0 has it."""
        for receive in self._from_parent[i : i + 1]:
            receive.Start()
            yield receive
