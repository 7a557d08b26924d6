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

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, cycle, islice, repeat, tee, zip_longest
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import carrier
from emulator.errors import UsageError
from primitives.blocks import Blocks, split
from primitives.buffers import Array, scratch
from primitives.collectives.persistent import TAG, Apply, PersistentCollective, Reduction, Request

SEGMENT_BYTES = 1 << 20
SCRATCH_BYTES = 1 << 20
EMULATED_SCRATCH_BYTES = 1 << 17
EMULATED_KEPT = 64
EMULATED_AHEAD = 4
"""Emulated time does not depend on how far ranks run ahead, and many simulated ranks share one memory: more ranks than
`EMULATED_KEPT` keep no requests, and have so many receives posted, and half as many sends begun, that are not
complete."""

_bytes_of = MPI.buffer.frombuffer

_Hop = tuple[Any, Any, Callable[[], None] | None, Callable[[], None] | None, Any]
"""The receive to wait for, operands of the operation, what begins a send, what posts a receive, a send to wait for."""


class _Phase(PersistentCollective):
    """One pass round the ring: `hops`, then the wait for the sends.

    Persistent requests are made once and kept. More than `EMULATED_KEPT` ranks of an emulated network, which may share
    one memory, make a plain request when they come to it, in each run.
    """

    name: str
    op: Apply

    def __init__(self, comm: MPI.Intracomm, segments: int, tag: int) -> None:
        super().__init__(comm, tag)
        self.emulated = carrier.of(comm).timed
        self.keeps = not self.emulated or self.size <= EMULATED_KEPT
        self.left, self.right = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        self.segments, self.count = segments, (self.size - 1) * segments
        self.ahead = self.count
        self.first: list[Any] = []
        self.sends: Any = ()  # those that `hops` has not waited for, without the first ones
        self._starts: list[Callable[[], None]] = []
        self._kept: list[_Hop] = []

    def _views(self) -> tuple[Iterator[Array], Iterator[Array], Iterator[Any]]:
        """The views of each message from the left and to the right, and the operands of `op` after each hop.

        No operands: `op` is not applied.
        """
        raise NotImplementedError

    def _again(self) -> range:
        """The hops after which one more receive is posted, as many hops late as a send has to complete."""
        late = self.ahead // 2 if self.size > 2 else 0
        return range(late, late + self.count - self.ahead)

    def _keep(self) -> None:
        """Make all requests, unless each run makes them."""
        if not self.keeps:
            return
        theirs, ours, operands = self._views()
        receives = [self.receiver(view, self.left) for view in theirs]
        sends = [self.starter(view, self.right) for view in ours]
        self.first, self.sends, again = sends[: self.segments], sends[self.segments :], self._again()
        self._starts = [request.Start for request in receives[: self.ahead] + self.first]
        onward = [request.Start for request in self.sends] + [None] * self.segments
        posts = [None] * again.start + [request.Start for request in receives[self.ahead :]]
        sent = [None] * again.start + self.sends[: len(again)]
        self._kept = list(islice(zip_longest(receives, operands, onward, posts, sent), self.count))

    def _make(self) -> Iterator[Request]:
        """Do a run whose requests are made and started one by one."""
        left, right, tag, again = self.left, self.right, self.tag, self._again()
        receive, send, begin, end = self.comm.Irecv, self.comm.Isend, again.start, again.stop
        places, pieces, operands = self._views()
        theirs, ours = map(_bytes_of, places), map(_bytes_of, pieces)
        posted = deque(receive(view, left, tag) for view in islice(theirs, self.ahead))
        self.first = [send(view, right, tag) for view in islice(ours, self.segments)]
        sends: deque[Any] = deque()
        self.sends = sends
        for hop, operand in enumerate(operands):
            yield posted.popleft()
            if operand:
                self.op(*operand)
            more = begin <= hop < end
            sent = sends.popleft() if more and sends else None
            onward = next(ours, None)
            if onward is not None:
                sends.append(send(onward, right, tag))
            if sent is not None:
                yield sent
            if more:
                posted.append(receive(next(theirs), left, tag))

    def hops(self) -> Iterator[Request]:
        """The algorithm without the final wait for its sends.

        At most `ahead` receives are posted. The send that began half as many hops ago is complete before another is.
        """
        self.phase(self.name)
        return self._walk_kept() if self.keeps else self._make()

    def _walk_kept(self) -> Iterator[Request]:
        """Do a run of the requests that are kept."""
        for start in self._starts:
            start()
        for receive, operands, onward, post, sent in self._kept:
            yield receive
            if operands:
                self.op(*operands)
            if onward is not None:
                onward()
            if post is not None:
                if sent is not None:
                    yield sent
                post()

    def steps(self) -> Iterator[Request]:
        yield from self.hops()
        yield from self.first
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

    name = "reduce_scatter"

    def __init__(
        self, comm: MPI.Intracomm, blocks: Sequence[Array], own: Array, op: Apply, segments: int = 1, tag: int = TAG
    ) -> None:
        super().__init__(comm, segments, tag)
        self.op, self.mine, self.own = op, blocks[self.rank], own
        self._blocks = blocks
        longest = blocks[0] if isinstance(blocks, Blocks) else max(blocks, key=len)
        longest = split(longest, segments)[0] if self.count else own
        room = EMULATED_SCRATCH_BYTES if self.emulated else SCRATCH_BYTES
        room = room if self.keeps else min(room, EMULATED_AHEAD * longest.nbytes)
        self._places = _places(longest, self.count, segments, room)
        self.ahead = min(self.count, len(self._places))
        self._keep()

    def _arriving(self) -> Iterator[int]:
        """The blocks whose sums arrive, in this order."""
        return ((self.rank - step - 2) % self.size for step in range(self.size - 1))

    def _views(self) -> tuple[Iterator[Array], Iterator[Array], Iterator[Any]]:
        blocks, segments, count = self._blocks, self.segments, self.count
        first = split(blocks[self.left], segments)  # block r-1 is the one that this rank sends on its way
        addends, again = tee(_pieces(blocks, self._arriving(), segments))
        fitting: Iterator[Array] = islice(cycle(self._places), self.count)
        if not (isinstance(blocks, Blocks) and blocks.even and segments == 1):
            fitting = (
                place if place.size == like.size else place[: like.size]
                for place, like in zip(fitting, again, strict=False)
            )
        theirs, received, sums = tee(fitting, 3)
        sums, ours = tee(islice(chain(islice(sums, max(0, count - segments)), split(self.own, segments)), count))
        return theirs, islice(chain(first, ours), count), zip(addends, received, sums, strict=True)

    def hops(self) -> Iterator[Request]:
        if self.size == 1:
            np.copyto(self.own, self.mine)
        return super().hops()


class AllGather(_Phase):
    """Every rank ends with every rank's block.

    Parameters
    ----------
    blocks : the output: p flat arrays, block i as long on every rank, block r filled in on rank r
    segments : messages per block
    """

    name = "all_gather"

    def __init__(self, comm: MPI.Intracomm, blocks: Sequence[Array], segments: int = 1, tag: int = TAG) -> None:
        super().__init__(comm, segments, tag)
        self._blocks = blocks
        if not self.keeps:
            self.ahead = min(self.count, max(EMULATED_AHEAD, 2 * segments))
        self._keep()

    def _views(self) -> tuple[Iterator[Array], Iterator[Array], Iterator[Any]]:
        route = ((self.rank - step) % self.size for step in range(self.size))
        ours, theirs = tee(_pieces(self._blocks, route, self.segments))
        return islice(theirs, self.segments, None), islice(ours, self.count), repeat((), self.count)


class AllReduce(Reduction):
    """All-reduce as reduce-scatter, then all-gather in the same blocks; see `Reduction` for the other parameters.

    Parameters
    ----------
    segment : longest message in bytes, 0 for whole blocks; None for what suits the communicator
    """

    segmented = True

    def __init__(
        self, comm: MPI.Intracomm, send: Array, recv: Array, op: Apply, segment: int | None = None, tag: int = TAG
    ) -> None:
        super().__init__(comm, send, recv, op, tag)
        given, taken = Blocks(send, self.size), Blocks(recv, self.size)
        segments = segments_of(comm, taken[0].nbytes, segment)
        self.uniform = send.size, send.dtype, segments
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
        yield from gather.first
        yield from gather.sends

    def free(self) -> None:
        for phase in self._phases:
            phase.free()


def segments_of(comm: MPI.Intracomm, block_bytes: int, segment: int | None) -> int:
    """Number of messages as which a block of that length is sent."""
    if segment is None:
        segment = 0 if carrier.of(comm).timed else SEGMENT_BYTES
    if segment < 0:
        raise UsageError(f"a segment must be >= 0 bytes, got {segment}: 0 sends whole blocks, None chooses")
    return max(1, -(-block_bytes // segment)) if segment else 1


def _pieces(blocks: Sequence[Array], indices: Iterable[int], segments: int) -> Iterator[Array]:
    """The segments of these blocks."""
    if segments == 1:
        return map(blocks.__getitem__, indices)
    return chain.from_iterable(split(blocks[i], segments) for i in indices)


def _places(like: Array, messages: int, segments: int, room: int) -> Sequence[Array]:
    """Make buffers for that many messages as long as `like`; where memory is short, messages share them.

    Two at the least, so that a message can come while the last one is added, and two more than the segments of a block
    where segments are sent on.
    """
    least = 2 if messages == segments else segments + 3
    return scratch(like, min(messages, max(least, room // max(1, like.nbytes))))
