"""The ring: reduce-scatter, all-gather, and all-reduce as one after the other.

Every rank talks to its two neighbours only: it sends to the right and receives from the left. The n bytes are cut
into p blocks. With p = 4, and a, b, c, d the ranks' own values::

    reduce-scatter, 3 steps: a block's sum travels round the ring and grows by one rank at each hop

        block          0            1            2            3
        step 1   1 -> 2: b    2 -> 3: c    3 -> 0: d    0 -> 1: a
        step 2   2 -> 3: bc   3 -> 0: cd   0 -> 1: da   1 -> 2: ab
        step 3   3 -> 0: bcd  0 -> 1: cda  1 -> 2: dab  2 -> 3: abc
        ends on  rank 0       rank 1       rank 2       rank 3         complete there, and nowhere else

    all-gather, 3 steps: each complete block travels round the ring once more and every rank keeps it

In step s (from 0) of the first phase rank r sends block r-s-1 and adds its own part to block r-s-2 as it arrives;
in step s of the second it sends block r-s and receives block r-s-1 in its place (all modulo p). A block is summed
once, in the order of the ranks from r+1 round to r, and copied to the others: the result has identical bits on
every rank, whatever the timing.

Each rank sends and receives 2 (p-1)/p n bytes, which no all-reduce can beat. For p ranks, n bytes, latency alpha,
beta seconds per byte on a link and gamma seconds per byte reduced::

    T = 2 (p-1) alpha  +  2 (p-1)/p n beta  +  (p-1)/p n gamma

with ceil(n/p) in the place of n/p where blocks are uneven: they follow one another, and the largest sets the pace.
The 2 (p-1) latencies make it a poor choice for short messages. Any p and n are allowed; blocks of n < p are empty
or one element. The operation must be commutative. The input is never written, unless it is the output as well.

*Running ahead.* Receives are posted as early as can be, and no rank waits for a send before the end: a rank goes as far
as what has come from the left allows, which counts where ranks share a core and should do many steps in their turn. So
each block arrives in a place of its own, is summed there and sent on from there. What does not fit into
`SCRATCH_BYTES` (emulated: `EMULATED_SCRATCH_BYTES`) takes turns: a place is used again when what it held has gone to
the right.

*Segments.* A block longer than a segment travels as several messages, and the sum of one is computed while the next is
on its way: what has just arrived is added, and sent on, while it is still in the cache. With k segments to a block::

    T = 2 ((p-2) max(alpha + n beta / (p k), n beta / p)  +  alpha + n beta / p)     and the additions

An emulated communicator, whose network a block should meet as a whole, gets one segment unless told otherwise.

P. Patarasuk, X. Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations, J. Parallel Distrib.
Comput. 69 (2009).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import carrier
from emulator.errors import UsageError
from primitives.blocks import split
from primitives.buffers import Array, scratch
from primitives.collectives.persistent import TAG, Apply, PersistentCollective, Reduction, Request

SEGMENT_BYTES = 1 << 20
SCRATCH_BYTES = 1 << 20
EMULATED_SCRATCH_BYTES = 1 << 17
"""Emulated time does not depend on how far ranks run ahead, and many simulated ranks share one memory."""


class _Phase(PersistentCollective):
    """One way round the ring: `hops`, then waiting for the sends."""

    sends: list[MPI.Prequest]

    def hops(self) -> Iterator[Request]:
        """The algorithm without the final wait for its sends."""
        raise NotImplementedError

    def steps(self) -> Iterator[Request]:
        yield from self.hops()
        yield from self.sends


class ReduceScatter(_Phase):
    """Reduce-scatter: rank r ends with the sum of block r over all ranks.

    Parameters
    ----------
    blocks : this rank's input: p flat arrays, block i as long on every rank
    own : where the sum of block r goes; may be ``blocks[r]`` itself
    op : ``op(a, b, out)``, commutative
    segments : messages per block
    """

    def __init__(
        self, comm: MPI.Intracomm, blocks: Sequence[Array], own: Array, op: Apply, segments: int = 1, tag: int = TAG
    ) -> None:
        super().__init__(comm, tag)
        self.op, self.mine, self.own = op, blocks[self.rank], own
        left, right = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        first = split(blocks[left], segments)  # block r-1 is the one that this rank sends on its way
        arriving = [blocks[(self.rank - step - 2) % self.size] for step in range(self.size - 1)]
        addends = [segment for block in arriving for segment in split(block, segments)]
        theirs, slots = _places(addends, segments, EMULATED_SCRATCH_BYTES if carrier.of(comm).timed else SCRATCH_BYTES)
        sums = (theirs[:-segments] + split(own, segments))[: len(theirs)]
        receives = [self.receiver(segment, left) for segment in theirs]
        self.sends = [self.starter(segment, right) for segment in (first + sums)[: len(theirs)]]
        self.first, onward = self.sends[:segments], self.sends[segments:]
        self._posted = receives[:slots]
        # A slot is used again when its sum has been sent on: half of the slots wait for that, half for messages.
        again = list(zip_longest(receives[slots:], onward[: max(0, len(receives) - slots)]))
        waiting = [None] * (slots // 2 if onward else 0)
        self._hops: list[Any] = list(zip_longest(receives, addends, theirs, sums, onward, [*waiting, *again]))

    def hops(self) -> Iterator[Request]:
        self.phase("reduce_scatter")
        if self.size == 1:
            np.copyto(self.own, self.mine)
        for request in (*self._posted, *self.first):
            request.Start()
        for receive, mine, theirs, total, onward, again in self._hops:
            yield receive
            self.op(mine, theirs, total)
            if onward is not None:
                onward.Start()
            if again is not None:
                post, sent = again
                if sent is not None:
                    yield sent
                post.Start()


class AllGather(_Phase):
    """Every rank ends with every rank's block.

    Parameters
    ----------
    blocks : the output: p flat arrays, block i as long on every rank, block r filled in on rank r
    segments : messages per block
    """

    def __init__(self, comm: MPI.Intracomm, blocks: Sequence[Array], segments: int = 1, tag: int = TAG) -> None:
        super().__init__(comm, tag)
        left, right = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        route = [split(blocks[(self.rank - step) % self.size], segments) for step in range(self.size)]
        self._receives = [self.receiver(segment, left) for block in route[1:] for segment in block]
        self.sends = [self.starter(segment, right) for block in route[:-1] for segment in block]
        self.first = self.sends[:segments]
        self._hops: list[Any] = list(zip_longest(self._receives, self.sends[segments:]))

    def hops(self) -> Iterator[Request]:
        self.phase("all_gather")
        for request in (*self._receives, *self.first):
            request.Start()
        for receive, onward in self._hops:
            yield receive
            if onward is not None:
                onward.Start()


class AllReduce(Reduction):
    """All-reduce as reduce-scatter, then all-gather in the same blocks; see `Reduction` for the other parameters.

    Parameters
    ----------
    segment : longest message in bytes, 0 for whole blocks; None for what suits the communicator
    """

    def __init__(
        self, comm: MPI.Intracomm, send: Array, recv: Array, op: Apply, segment: int | None = None, tag: int = TAG
    ) -> None:
        super().__init__(comm, send, recv, op, tag)
        given, taken = split(send, self.size), split(recv, self.size)
        segments = segments_of(comm, taken[0].nbytes, segment)
        self._phases = (
            ReduceScatter(comm, given, taken[self.rank], op, segments, tag),
            AllGather(comm, taken, segments, tag),
        )

    def steps(self) -> Iterator[Request]:
        scatter, gather = self._phases
        yield from scatter.hops()
        yield from scatter.first  # in place, the blocks that they carry are overwritten from here on
        yield from gather.hops()
        yield from scatter.sends
        yield from gather.sends

    def free(self) -> None:
        for phase in self._phases:
            phase.free()


def segments_of(comm: MPI.Intracomm, block_bytes: int, segment: int | None) -> int:
    """How many messages a block of that length travels as."""
    if segment is None:
        segment = 0 if carrier.of(comm).timed else SEGMENT_BYTES
    if segment < 0:
        raise UsageError(f"a segment must be >= 0 bytes, got {segment}: 0 sends whole blocks, None chooses")
    return max(1, -(-block_bytes // segment)) if segment else 1


def _places(like: Sequence[Array], segments: int, room: int) -> tuple[list[Array], int]:
    """A receive buffer for each segment, and how many buffers there are: where memory is short, segments share them.

    Two at the least, so that a message can come while the last one is added, and two more than the segments of a block
    where segments are sent on.
    """
    longest = max(like, key=len, default=None)
    if longest is None:
        return [], 0
    least = 2 if len(like) == segments else segments + 3
    slots = min(len(like), max(least, room // max(1, longest.nbytes)))
    places = [place[: longest.size] for place in scratch(longest, slots)]
    return [places[i % slots][: array.size] for i, array in enumerate(like)], slots
