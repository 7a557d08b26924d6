"""Collectives without a root: all-gather, all-to-all, reduce-scatter, scan and barrier.

==============  ====================================  ===========================================
pattern         algorithm                             time, n bytes per rank
==============  ====================================  ===========================================
all_gather      ring                                  (p-1) (alpha + n beta)
reduce_scatter  ring                                  (p-1) alpha + (p-1)/p n (beta + gamma)
all_to_all      pairwise: step s with r + s, r - s    (p-1) alpha + (p-1)/p n beta
scan, exscan    doubling: step k from r - 2^k         ceil(lg p) (alpha + n beta + 2 n gamma)
barrier         dissemination: step k to r + 2^k      ceil(lg p) alpha
==============  ====================================  ===========================================

W. D. Hillis, G. L. Steele: Data parallel algorithms (1986), for scan; D. Hensgen, R. Finkel, U. Manber: Two
algorithms for barrier synchronization (1988); the others as in `primitives.collectives.ring` and in Thakur,
Rabenseifner and Gropp (2005)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError
from primitives.blocks import cut
from primitives.buffers import Array, flat, message, pair, put, spread
from primitives.collectives import operations, ring
from primitives.collectives.persistent import TAG, PersistentCollective
from primitives.collectives.rooted import blocks_of, reduce, scatter_v


def barrier(comm: MPI.Intracomm) -> None:
    """Return when every rank has called this: in step k a rank sends to r + 2^k and receives from r - 2^k."""
    rank, size = comm.Get_rank(), comm.Get_size()
    nothing = np.empty(0, np.uint8)
    distance = 1
    while distance < size:
        _exchange(comm, nothing, (rank + distance) % size, nothing, (rank - distance) % size)
        distance *= 2


def all_gather(comm: MPI.Intracomm, send: Array, recv: Array) -> None:
    """Gather equal blocks on every rank, in the order of the ranks, round the ring.

    Parameters
    ----------
    comm : the communicator
    send : this rank's block, of the same size everywhere; may be its own place in `recv`
    recv : an array of p times that size
    """
    size = comm.Get_size()
    block, whole = flat(send, "the send buffer"), flat(recv, "the receive buffer", writable=True)
    if whole.size != size * block.size:
        raise UsageError(f"the receive buffer must hold {size} blocks of {block.size} elements, got {whole.size}")
    all_gather_v(comm, block, whole, [block.size] * size)


def all_gather_v(
    comm: MPI.Intracomm, send: Array, recv: Array, counts: Sequence[int],
    displacements: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Gather blocks of any sizes on every rank, round the ring.

    Parameters
    ----------
    comm, send : as for `all_gather`; sizes may differ
    recv : the output, the same size everywhere
    counts, displacements : elements of each rank's block and where it begins in `recv` (None: one after another), the
        same everywhere
    """
    block, whole = flat(send, "the send buffer"), flat(recv, "the receive buffer", writable=True)
    blocks = blocks_of(whole, counts, displacements, comm.Get_size())
    put(blocks[comm.Get_rank()], block)
    if any(part.size for part in blocks):
        segments = ring.segments_of(comm, max(part.nbytes for part in blocks), None)
        _once(ring.AllGather(comm, blocks, segments))


def all_to_all(comm: MPI.Intracomm, send: Array, recv: Array) -> None:
    """Send block i of `send` to rank i, and receive rank i's into block i of `recv`; equal blocks.

    Parameters
    ----------
    comm : the communicator
    send, recv : separate arrays of the same size, a multiple of p
    """
    size = comm.Get_size()
    given, taken = pair(send, recv)
    if given.size % size:
        raise UsageError(f"all_to_all needs a multiple of {size} elements, got {given.size}: use all_to_all_v")
    counts = [given.size // size] * size
    all_to_all_v(comm, given, counts, taken, counts)


def all_to_all_v(
    comm: MPI.Intracomm, send: Array, send_counts: Sequence[int], recv: Array, recv_counts: Sequence[int],
    send_displacements: Sequence[int] | None = None, recv_displacements: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """All-to-all of blocks of any sizes: in step s each rank sends to r + s and receives from r - s.

    Parameters
    ----------
    comm : the communicator
    send, recv : separate arrays
    send_counts, recv_counts : elements to and from each rank. What rank i sends to j is what j receives from i; between
        two ranks nothing is sent if that is nothing.
    send_displacements, recv_displacements : where each block begins (None: one after another)
    """
    rank, size = comm.Get_rank(), comm.Get_size()
    given = blocks_of(flat(send, "the send buffer"), send_counts, send_displacements, size)
    taken = blocks_of(flat(recv, "the receive buffer", writable=True), recv_counts, recv_displacements, size)
    put(taken[rank], given[rank])
    for step in range(1, size):
        target, source = (rank + step) % size, (rank - step) % size
        if given[target].size and taken[source].size:
            _exchange(comm, given[target], target, taken[source], source)
        elif given[target].size:
            comm.Send(message(given[target]), target, TAG)
        elif taken[source].size:
            comm.Recv(message(taken[source]), source, TAG)


def reduce_scatter(
    comm: MPI.Intracomm, send: Array, recv: Array, counts: Sequence[int] | None = None, op: object = "sum"
) -> None:
    """Reduce all ranks' `send` and leave block r of the result in rank r's `recv`.

    Round the ring; if the operation is not commutative, by a reduction to rank 0 and a scatter.

    Parameters
    ----------
    comm, op : as everywhere
    send : the input, left as it is
    recv : the output, ``counts[rank]`` elements
    counts : elements of each block, the same everywhere; None for p equal blocks
    """
    rank, size = comm.Get_rank(), comm.Get_size()
    given, taken = flat(send, "the send buffer"), flat(recv, "the receive buffer", writable=True)
    sizes = spread([taken.size] * size if counts is None else counts, size, "counts")
    if sum(sizes) != given.size or sizes[rank] != taken.size or given.dtype != taken.dtype:
        raise UsageError(
            f"reduce_scatter needs {sum(sizes)} elements to send and {sizes[rank]} to receive, of one dtype, got "
            f"{given.size} x {given.dtype} and {taken.size} x {taken.dtype}"
        )
    operation = operations.resolve(op)
    if given.size and operation.commutative:
        blocks = cut(given, sizes)
        segments = ring.segments_of(comm, max(block.nbytes for block in blocks), None)
        _once(ring.ReduceScatter(comm, blocks, taken, operation.apply, segments))
    elif given.size:
        total = np.empty_like(given) if rank == 0 else None
        reduce(comm, given, total, operation)
        scatter_v(comm, total, taken, sizes)


def scan(comm: MPI.Intracomm, send: Array, recv: Array, op: object = "sum") -> None:
    """Leave in rank r's `recv` the sum of the inputs of ranks 0 to r, in their order; `recv` may be `send`."""
    given, taken = pair(send, recv)
    _, total = _prefix(comm, given, operations.resolve(op))
    put(taken, total)


def exscan(comm: MPI.Intracomm, send: Array, recv: Array, op: object = "sum") -> None:
    """Leave in rank r's `recv` the sum of the inputs of ranks 0 to r - 1; that of rank 0 stays as it is."""
    given, taken = pair(send, recv)
    before, _ = _prefix(comm, given, operations.resolve(op))
    if before is not None:
        put(taken, before)


def _prefix(comm: MPI.Intracomm, given: Array, operation: operations.Operation) -> tuple[Array | None, Array]:
    """The sums of all ranks before this one (None on rank 0), and of those up to and including it.

    After step k, `total` is the sum of the last 2^(k+1) ranks up to this one: what rank r + 2^(k+1) needs next.
    """
    rank, size = comm.Get_rank(), comm.Get_size()
    before: Array | None = None
    total = given.copy()
    theirs = np.empty_like(given)
    distance = 1
    while distance < size and given.size:
        receive = comm.Irecv(message(theirs), rank - distance, TAG) if rank >= distance else None
        send = comm.Isend(message(total), rank + distance, TAG) if rank + distance < size else None
        if receive is not None:
            receive.Wait()
        if send is not None:
            send.Wait()
        if receive is not None:
            operation.apply(theirs, total, total)
            if before is None:
                before = theirs.copy()
            else:
                operation.apply(theirs, before, before)
        distance *= 2
    return before, total


def _exchange(comm: MPI.Intracomm, given: Array, target: int, taken: Array, source: int) -> None:
    comm.Sendrecv(message(given), target, TAG, message(taken), source, TAG)


def _once(collective: PersistentCollective) -> None:
    collective.run()
    collective.free()
