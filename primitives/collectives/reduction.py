"""Call a reduction of `send` into `recv`, with the persistent collective that an earlier call like it has made.

Persistent requests are bound to addresses. Two ways lead there:

- Short arrays are copied into the collective's own memory and out of it again, which costs less than anything else.
  Such a collective is found by dtype and shape, whichever array is passed.
- Long arrays are used where they lie, if they are contiguous. Their collective is found by the addresses: a training
  loop that reduces the same array in each step makes one; new arrays make a new one each, microseconds per message.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError
from primitives.buffers import IN_PLACE, Array, apart, borrowed, flat
from primitives.collectives import operations
from primitives.collectives.persistent import CollectiveCache, PersistentCollective, cache_of
from primitives.collectives.recursive_doubling import RecursiveDoubling

STAGED_BYTES = 16 << 10
"""Longest array that is copied into a collective's own memory."""

Output = Array | MPI.InPlaceType | None

Maker = Callable[[Array, Array, operations.Operation], PersistentCollective]
"""Makes a collective that reduces the contiguous array `send` into `recv`, which may be the same array."""


class Staged(PersistentCollective):
    """A collective on memory of its own, `work`, into which data are copied for each run."""

    def __init__(self, cache: CollectiveCache, inner: PersistentCollective, work: Array) -> None:
        super().__init__(inner.comm, inner.tag)
        self.cache, self.inner, self.work = cache, inner, work
        self._seen: Array | None = None  # the last array for the result, found to be right
        self._run_into = inner.run_into if isinstance(inner, RecursiveDoubling) and inner.direct else self._copied

    def reduce(self, send: Array, recv: Output) -> Array:
        """Run on these arrays and return the output."""
        out = self._seen
        if out is None or recv is not out:
            out = self._seen = output(send, recv)
        self.work[...] = send
        try:
            self._run_into(out)
        except BaseException:
            self.cache.fail(self)
            raise
        return out

    def _copied(self, out: Array) -> None:
        self.inner.run()
        out[...] = self.work

    def free(self) -> None:
        self.cache.forget(self)
        self.inner.free()


def output(send: Array, recv: Output) -> Array:
    """The array for the result: a new one, the input itself or the caller's, which must be like the input."""
    if recv is None:
        return np.empty_like(send)
    out = send if recv is IN_PLACE else recv
    if isinstance(out, np.ndarray):
        if not out.flags.writeable:
            raise UsageError("the receive buffer must be writable, got a read-only array: pass a copy")
        if out.shape == send.shape and out.dtype == send.dtype:
            return out
    got = f"{recv.dtype} of shape {recv.shape}" if isinstance(recv, np.ndarray) else type(recv).__name__
    raise UsageError(
        f"the receive buffer must be like the send buffer, {send.dtype} of shape {send.shape}, got {got}: "
        "numpy.empty_like(send)"
    )


def reduce_into(comm: MPI.Intracomm, send: Array, recv: Output, op: object, key: Hashable, make: Maker) -> Array:
    """Run the collective of a call with long arrays, or of the first call of its kind on the communicator.

    Parameters
    ----------
    comm, send, recv, op : as for `primitives.collectives.all_reduce.all_reduce`
    key : what distinguishes the call, all but the memory
    make : makes the collective

    Returns
    -------
    numpy.ndarray
        The output.
    """
    given = flat(np.ascontiguousarray(send), "the send buffer")
    out = output(send, recv)
    operation = operations.resolve(op)
    cache = cache_of(comm)
    if given.nbytes <= STAGED_BYTES:
        work = np.empty(send.shape, send.dtype)
        collective = Staged(cache, make(work, work, operation), work)
        cache.keep(key, collective)
        return collective.reduce(send, out)
    taken = out.reshape(-1) if out.flags.c_contiguous else np.empty_like(given)
    _bound(cache, given, taken, key, make, operation)
    if not out.flags.c_contiguous:
        out[...] = taken.reshape(out.shape)
    return out


def _bound(
    cache: CollectiveCache, given: Array, taken: Array, key: Hashable, make: Maker, operation: operations.Operation
) -> None:
    """Run the collective of these very arrays, making it if there is none yet."""
    where, there = MPI.Get_address(given), MPI.Get_address(taken)
    key = (key, where, there)
    collective = cache.get(key)
    if collective is None:
        apart(given, taken)
        taken_ = borrowed(taken)
        collective = make(taken_ if where == there else borrowed(given), taken_, operation)
        cache.keep(key, collective)
    try:
        collective.run()
    except BaseException:
        cache.fail(collective, given, taken)
        raise
