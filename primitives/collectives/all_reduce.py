"""All-reduce: every rank ends with the sum of all ranks' arrays, by the algorithm with the lowest cost.

=====================  ==================================================  ==========================================
algorithm              time (p = 2^k; see the modules for other p)         good for
=====================  ==================================================  ==========================================
`recursive_doubling`   lg p (alpha + n beta + n gamma)                     short messages
`rabenseifner`         2 lg p alpha + 2 (p-1)/p n beta + (p-1)/p n gamma   middle sizes; long ones if p = 2^k
`ring`                 2(p-1) alpha + 2 (p-1)/p n beta + (p-1)/p n gamma   long messages
`k_ary_tree`           2 d (alpha + 4 n beta) + 4 d n gamma, d levels      more ranks than cores
`tree`                 2 ceil(lg p) (alpha + n beta) + ceil(lg p) n gamma  comparison
=====================  ==================================================  ==========================================

``auto`` decides by these formulas and by how many ranks share a core (see `primitives.collectives.tuning`).
"""

from __future__ import annotations

from functools import partial

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError
from primitives.buffers import Array, apart, pair
from primitives.collectives import operations
from primitives.collectives.persistent import TAG, PersistentCollective, cache_of
from primitives.collectives.reduction import reduce_into
from primitives.collectives.tuning import ALGORITHMS, ORDERED, automatic


def all_reduce(
    comm: MPI.Intracomm,
    send: Array,
    recv: Array | MPI.InPlaceType | None = None,
    op: object = "sum",
    algorithm: str = "auto",
    segment: int | None = None,
) -> Array:
    """Reduce all ranks' `send` into every rank's `recv`, with identical bits on every rank.

    Collective: every rank calls it with the same shape, dtype, operation, algorithm and segment. Deterministic: the
    order of the reduction depends on p and n only.

    Parameters
    ----------
    comm : the communicator. Messages carry tags from 20000 to 28000.
    send : the input, an array of any shape and of any dtype without objects
    recv : the output, like `send`; `IN_PLACE` to overwrite `send`; None for a new array
    op : ``"sum"``, ``"prod"``, ``"min"``, ``"max"``, an ``MPI.Op``, a numpy ufunc, or a commutative function of two
        arrays (see `primitives.collectives.operations`)
    algorithm : ``"auto"`` or a name in `ALGORITHMS`
    segment : of ring and k_ary_tree: the longest message in bytes, 0 for whole blocks, None for what suits the
        communicator

    Returns
    -------
    numpy.ndarray
        The output.

    Raises
    ------
    UsageError
        Buffers that differ or overlap; an operation or algorithm that does not exist.
    """
    cache = cache_of(comm)
    a, b, c, d, e, collective = cache.last
    if send is a and recv is b and op is c and algorithm is d and segment is e:
        return collective.reduce(send, recv)
    if type(op) is not str:
        op = operations.resolve(op)
    if type(send) is not np.ndarray and not isinstance(send, np.ndarray):
        raise UsageError(f"the send buffer must be a numpy array, got {type(send).__name__}: use numpy.asarray")
    key = (algorithm, segment, op, send.dtype, send.shape)
    collective = cache.get(key)
    if collective is not None:
        cache.last = send, recv, op, algorithm, segment, collective
        return collective.reduce(send, recv)
    return reduce_into(comm, send, recv, op, key, partial(_make, algorithm, segment, comm))


def prepare(
    comm: MPI.Intracomm,
    send: Array,
    recv: Array | MPI.InPlaceType,
    op: object = "sum",
    algorithm: str = "auto",
    segment: int | None = None,
) -> PersistentCollective:
    """Make a persistent all-reduce of these arrays, which may run any number of times, at the same time as others.

    For a training loop that reduces the same buckets in each step::

        reductions = [prepare(comm, bucket, IN_PLACE) for bucket in buckets]
        ...
        reductions[i].start()       # returns at once
        ...                         # compute; call reductions[i].test() now and then, messages move inside of it
        wait_all(reductions)        # of primitives.collectives.persistent; or reductions[i].wait(), in the same order
                                    # on every rank

    Collective: every rank prepares the same ones in the same order. `PersistentCollective.free` when done.
    """
    given, taken = pair(send, send if isinstance(recv, MPI.InPlaceType) else recv)
    apart(given, taken)
    operation = operations.resolve(op)
    tag = cache_of(comm).next_tag()
    if MPI.Get_address(given) == MPI.Get_address(taken):
        given = taken
    return _make(algorithm, segment, comm, given, taken, operation, tag)


def start(
    comm: MPI.Intracomm,
    send: Array,
    recv: Array | MPI.InPlaceType,
    op: object = "sum",
    algorithm: str = "auto",
    segment: int | None = None,
) -> PersistentCollective:
    """Begin an all-reduce and return its handle: call ``test()`` until it is true, or ``wait()``. Collective.

    Neither array may be touched before that. Any number can be under way on a communicator, started in the same order
    on every rank. The handle frees itself when complete.
    """
    collective = prepare(comm, send, recv, op, algorithm, segment)
    collective.once = True
    return collective.start()


def _make(
    algorithm: str,
    segment: int | None,
    comm: MPI.Intracomm,
    send: Array,
    recv: Array,
    op: operations.Operation,
    tag: int = TAG,
) -> PersistentCollective:
    if algorithm == "auto":
        algorithm = automatic(comm, send.nbytes, op.commutative)
    if algorithm not in ALGORITHMS:
        raise UsageError(f"an all-reduce algorithm is auto or one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    made = ALGORITHMS[algorithm]
    if not op.commutative and not made.ordered:
        raise UsageError(
            f"{op.name} does not commute and {algorithm} does not keep the order of the ranks: use auto or one of "
            f"{', '.join(ORDERED)}"
        )
    if made.flat:
        flat = send.reshape(-1)
        send, recv = flat, flat if recv is send else recv.reshape(-1)
    pieces = {"segment": segment} if made.segmented else {}
    return made(comm, send, recv, op.apply, tag=tag, **pieces)
