"""Calling a plan that turns `send` into `recv`, and finding the one that was made for the same call before.

Persistent requests are bound to addresses. Two ways lead there:

- Short arrays are copied into the plan's own memory and out of it again, which costs less than anything else could.
  Such a plan is found by dtype and shape, whichever array is passed.
- Long arrays are used where they lie. Their plans are found by the addresses: a training loop that reduces the same
  array in each step makes one plan; new arrays in each call cost a new plan each, some microseconds per message.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

import numpy as np
from mpi4py import MPI

from primitives import ops
from primitives.buffers import Array, apart, borrowed, pair
from primitives.plans import Plan, Plans, Request, plans_of

STAGED_BYTES = 64 << 10
"""Longest array that is copied into a plan's own memory."""

Apply = Callable[[Array, Array, Array], object]

Maker = Callable[[MPI.Intracomm, Array, Array, Apply], Plan]
"""Makes a plan that reduces the flat array `send` into `recv`, which may be the same array."""


class Staged(Plan):
    """A plan on memory of its own, `work`, where the data are brought for each run."""

    def __init__(self, inner: Plan, work: Array) -> None:
        super().__init__(inner.comm, inner.tag)
        self.inner, self.work = inner, work

    def steps(self) -> Iterator[Request]:
        return self.inner.steps()

    def free(self) -> None:
        self.inner.free()


def reduce_into(
    comm: MPI.Intracomm, send: Array, recv: Array | MPI.InPlaceType | None, op: object, kind: Hashable, make: Maker
) -> Array:
    """Run the plan of this call, making it if this is the first such call on the communicator.

    Parameters
    ----------
    comm, send, recv, op
        As for `primitives.all_reduce.all_reduce`.
    kind
        What else distinguishes the plan: the algorithm and its parameters.
    make
        Makes the plan.

    Returns
    -------
    numpy.ndarray
        The output.
    """
    if recv is None:
        recv = np.empty_like(send)
    elif isinstance(recv, MPI.InPlaceType):
        recv = send
    if not isinstance(op, str):
        op = ops.resolve(op)
    plans = plans_of(comm)
    if isinstance(send, np.ndarray) and send.nbytes <= STAGED_BYTES:
        _staged(plans, comm, send, recv, op, kind, make)
    else:
        _bound(plans, comm, send, recv, op, kind, make)
    return recv


def _staged(
    plans: Plans, comm: MPI.Intracomm, send: Array, recv: Array, op: object, kind: Hashable, make: Maker
) -> None:
    if not (send.flags.c_contiguous and recv.flags.carray and recv.shape == send.shape and recv.dtype == send.dtype):
        pair(send, recv)
    key = (kind, op, send.dtype, send.shape)
    try:
        plan = plans.use(key)
    except KeyError:
        pair(send, recv)
        apply = ops.resolve(op).apply
        work = np.empty(send.shape, send.dtype)
        plan = plans.keep(key, Staged(make(comm, work.reshape(-1), work.reshape(-1), apply), work))
    work = plan.work
    work[...] = send
    try:
        plan.inner.run()
    except BaseException:
        plans.fail(key)
        raise
    recv[...] = work.reshape(recv.shape)


def _bound(
    plans: Plans, comm: MPI.Intracomm, send: Array, recv: Array, op: object, kind: Hashable, make: Maker
) -> None:
    given, taken = pair(send, recv)
    where, there = MPI.Get_address(given), MPI.Get_address(taken)
    key = (kind, op, given.dtype, given.size, where, there)
    try:
        plan = plans.use(key)
    except KeyError:
        apart(given, taken)
        apply = ops.resolve(op).apply
        taken = borrowed(taken)
        plan = plans.keep(key, make(comm, taken if where == there else borrowed(given), taken, apply))
    try:
        plan.run()
    except BaseException:
        plans.fail(key, send, recv)
        raise
