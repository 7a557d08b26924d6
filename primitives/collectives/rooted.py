"""Collectives with a root: broadcast, reduce, gather and scatter, along a line or a binomial tree.

*linear*: the root exchanges a message with every rank. *binomial*: ranks are counted from the root, and rank r (so
counted) stands for r, r + 1, ... up to the next multiple of its lowest bit (see `primitives.collectives.tree`)::

    root  <-- 4 5 6 7 --  4  <-- 6 7 --  6  <-- 7 --  7         gather of p = 8; scatter turns the arrows round
          <-- 2 3 ------  2  <-- 3 ----  3
          <-- 1 --------  1

=========  ============================================  =========================================
pattern    binomial                                      linear, on a port that sends one by one
=========  ============================================  =========================================
broadcast  ceil(lg p) (alpha + n beta)                   alpha + (p-1) n beta, if latencies overlap
reduce     ceil(lg p) (alpha + n beta + n gamma)         -
gather     lg p alpha + (p-1)/p n beta                   alpha + (p-1)/p n beta, if latencies overlap
scatter    lg p alpha + (p-1)/p n beta                   alpha + (p-1)/p n beta, if latencies overlap
=========  ============================================  =========================================

(n the bytes at the root; a network of the plain alpha-beta model, where they do not overlap, has (p-1) alpha.) The
vector forms are linear: only the root knows the counts. Blocks without elements send no message.

R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective communication operations in MPICH (2005).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from emulator import carrier
from emulator.errors import UsageError
from primitives.blocks import offsets
from primitives.buffers import Array, flat, message, pair, put, spread
from primitives.collectives import operations
from primitives.collectives.persistent import TAG
from primitives.collectives.tree import family, span


def broadcast(comm: MPI.Intracomm, buffer: Array, root: int = 0, algorithm: str = "binomial") -> Array:
    """Copy the root's `buffer` into every rank's, and return it.

    Parameters
    ----------
    comm, root : communicator, and the rank that has the data
    buffer : a contiguous array, of the same dtype and size on every rank
    algorithm : ``"binomial"`` or ``"linear"``
    """
    _check(comm, root, algorithm)
    rank, size = comm.Get_rank(), comm.Get_size()
    data = flat(buffer, "the buffer", writable=rank != root)
    if data.size == 0:
        return buffer
    if algorithm == "binomial":
        parent, children = family((rank - root) % size, size)
    else:
        parent, children = (None, list(range(size - 1, 0, -1))) if rank == root else (0, [])
    if parent is not None:
        comm.Recv(message(data), (parent + root) % size, TAG)
    sends = [comm.Isend(message(data), (child + root) % size, TAG) for child in reversed(children)]
    for send in sends:
        send.Wait()
    return buffer


def reduce(comm: MPI.Intracomm, send: Array, recv: Array | None = None, op: object = "sum", root: int = 0) -> None:
    """Reduce every rank's `send` into the root's `recv`, up a binomial tree in a fixed order.

    Parameters
    ----------
    comm, op, root : as everywhere. If the operation is not commutative, the tree stands on rank 0, in the order of the
        ranks, and its result is sent on to the root.
    send : the input, left as it is
    recv : the output on the root, which may be `send` itself; ignored elsewhere
    """
    _check(comm, root)
    operation = operations.resolve(op)
    rank, size = comm.Get_rank(), comm.Get_size()
    base = root if operation.commutative else 0
    given = flat(send, "the send buffer")
    whole = _at_root(comm, recv, root, "receive")
    taken = None if whole is None else pair(send, whole)[1]
    if given.size == 0:
        return
    parent, children = family((rank - base) % size, size)
    total = given.copy() if children else given
    theirs = np.empty_like(given) if children else given
    carrier.of(comm).wait_for_all([(child + base) % size for child in children], TAG)
    for child in children:
        comm.Recv(message(theirs), (child + base) % size, TAG)
        operation.apply(total, theirs, total)
    if parent is not None:
        comm.Send(message(total), (parent + base) % size, TAG)
    elif rank != root:
        comm.Send(message(total), root, TAG)
    if taken is not None and rank != base:
        comm.Recv(message(taken), base, TAG)
    elif taken is not None:
        put(taken, total)


def gather(
    comm: MPI.Intracomm, send: Array, recv: Array | None = None, root: int = 0, algorithm: str = "binomial"
) -> None:
    """Gather equal blocks on the root, in the order of the ranks.

    Parameters
    ----------
    comm, root, algorithm : as for `broadcast`
    send : this rank's block, of the same size everywhere. On the root it may be its own place in `recv`.
    recv : on the root an array of p times that size; ignored elsewhere
    """
    _check(comm, root, algorithm)
    block, whole = flat(send, "the send buffer"), _at_root(comm, recv, root, "receive")
    _check_blocks(comm, whole, block, "receive")
    if algorithm == "linear":
        _linear(comm, block, whole, [block.size] * comm.Get_size(), None, root, gathers=True)
    elif block.size:
        _gather_binomial(comm, block, whole, root)


def scatter(comm: MPI.Intracomm, send: Array | None, recv: Array, root: int = 0, algorithm: str = "binomial") -> None:
    """Scatter the root's equal blocks, in the order of the ranks.

    Parameters
    ----------
    comm, root, algorithm : as for `broadcast`
    send : on the root an array of p times the size of `recv`; ignored elsewhere
    recv : this rank's block, of the same size everywhere. On the root it may be its own place in `send`.
    """
    _check(comm, root, algorithm)
    block, whole = flat(recv, "the receive buffer", writable=True), _at_root(comm, send, root, "send")
    _check_blocks(comm, whole, block, "send")
    if algorithm == "linear":
        _linear(comm, block, whole, [block.size] * comm.Get_size(), None, root, gathers=False)
    elif block.size:
        _scatter_binomial(comm, whole, block, root)


def gather_v(
    comm: MPI.Intracomm,
    send: Array,
    recv: Array | None = None,
    counts: Sequence[int] | None = None,
    displacements: Sequence[int] | None = None,
    root: int = 0,
) -> None:
    """Gather blocks of any sizes on the root.

    Parameters
    ----------
    comm, send, root : as for `gather`; sizes may differ
    recv, counts, displacements : on the root: the output, elements of each rank's block, and where each begins (None:
        one after another). Ignored elsewhere.
    """
    _check(comm, root)
    block, whole = flat(send, "the send buffer"), _at_root(comm, recv, root, "receive")
    _linear(comm, block, whole, counts, displacements, root, gathers=True)


def scatter_v(
    comm: MPI.Intracomm,
    send: Array | None,
    recv: Array,
    counts: Sequence[int] | None = None,
    displacements: Sequence[int] | None = None,
    root: int = 0,
) -> None:
    """Scatter blocks of any sizes from the root; `counts` and `displacements` as for `gather_v`, of `send`."""
    _check(comm, root)
    block, whole = flat(recv, "the receive buffer", writable=True), _at_root(comm, send, root, "send")
    _linear(comm, block, whole, counts, displacements, root, gathers=False)


def blocks_of(
    whole: Array, counts: Sequence[int] | None, displacements: Sequence[int] | None, size: int
) -> list[Array]:
    """Views of each rank's block in a flat array, after a check that they lie inside of it."""
    sizes = spread(counts, size, "counts")
    begins = offsets(sizes)[:-1] if displacements is None else spread(displacements, size, "displacements")
    end = max(begin + count for begin, count in zip(begins, sizes, strict=True))
    if end > whole.size:
        raise UsageError(
            f"blocks must lie inside the buffer, got a block that ends at {end} in a buffer of {whole.size} elements"
        )
    return [whole[begin : begin + count] for begin, count in zip(begins, sizes, strict=True)]


def _linear(
    comm: MPI.Intracomm, block: Array, whole: Array | None, counts: Sequence[int] | None,
    displacements: Sequence[int] | None, root: int, gathers: bool,
) -> None:  # fmt: skip
    """Exchange a message between the root and every other rank that has a block; `whole` is None elsewhere."""
    if whole is None:
        if block.size:
            (comm.Send if gathers else comm.Recv)(message(block), root, TAG)
        return
    blocks = blocks_of(whole, counts, displacements, comm.Get_size())
    start = comm.Irecv if gathers else comm.Isend
    requests = [start(message(part), rank, TAG) for rank, part in enumerate(blocks) if part.size and rank != root]
    put(*((blocks[root], block) if gathers else (block, blocks[root])))
    for request in requests:
        request.Wait()


def _binomial(
    comm: MPI.Intracomm, block: Array, whole: Array | None, root: int
) -> tuple[int | None, list[int], list[Array], Array]:
    """Parent and children of this rank, the children's parts of its buffer, and that buffer: its subtree's blocks."""
    size = comm.Get_size()
    place = (comm.Get_rank() - root) % size
    parent, children = family(place, size)
    if whole is not None and root == 0:
        held = whole
    else:
        held = np.empty(span(place, size) * block.size, block.dtype) if children else block
    parts = [held[(child - place) * block.size :][: span(child, size) * block.size] for child in children]
    ranks = [(child + root) % size for child in children]
    return None if parent is None else (parent + root) % size, ranks, parts, held


def _gather_binomial(comm: MPI.Intracomm, block: Array, whole: Array | None, root: int) -> None:
    parent, children, parts, held = _binomial(comm, block, whole, root)
    put(held[: block.size], block)
    carrier.of(comm).wait_for_all(children, TAG)
    for child, part in zip(children, parts, strict=True):
        comm.Recv(message(part), child, TAG)
    if parent is not None:
        comm.Send(message(held), parent, TAG)
    elif whole is not None and held is not whole:
        _turn(held, whole, root * block.size)


def _scatter_binomial(comm: MPI.Intracomm, whole: Array | None, block: Array, root: int) -> None:
    parent, children, parts, held = _binomial(comm, block, whole, root)
    if parent is not None:
        comm.Recv(message(held), parent, TAG)
    elif whole is not None and held is not whole:
        _turn(whole, held, (comm.Get_size() - root) * block.size)
    sends = [comm.Isend(message(part), child, TAG) for child, part in zip(children[::-1], parts[::-1], strict=True)]
    put(block, held[: block.size])
    for send in sends:
        send.Wait()


def _turn(source: Array, target: Array, shift: int) -> None:
    """Copy `source` into `target`, rotated by `shift` elements."""
    shift %= max(1, source.size)
    target[shift:] = source[: source.size - shift]
    target[:shift] = source[source.size - shift :]


def _check(comm: MPI.Intracomm, root: int, algorithm: str = "linear") -> None:
    if not 0 <= root < comm.Get_size():
        raise UsageError(f"root must be a rank from 0 to {comm.Get_size() - 1}, got {root}")
    if algorithm not in ("binomial", "linear"):
        raise UsageError(f"an algorithm with a root is binomial or linear, got {algorithm!r}")


def _at_root(comm: MPI.Intracomm, buffer: Array | None, root: int, what: str) -> Array | None:
    """The root's buffer for all blocks as a flat array; None on other ranks."""
    if comm.Get_rank() != root:
        return None
    if buffer is None:
        raise UsageError(f"the root, rank {root}, needs a buffer for all blocks, got None")
    return flat(buffer, f"the {what} buffer", writable=what == "receive")


def _check_blocks(comm: MPI.Intracomm, whole: Array | None, block: Array, what: str) -> None:
    size = comm.Get_size()
    if whole is not None and (whole.size != size * block.size or whole.dtype != block.dtype):
        raise UsageError(
            f"the root's {what} buffer must hold {size} blocks of {block.size} x {block.dtype}, "
            f"got {whole.size} x {whole.dtype}"
        )
