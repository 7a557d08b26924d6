"""Persistent collectives: views, buffers and persistent requests are made once and run any number of times.

Planning the messages costs more than a short message. A `PersistentCollective` (as of MPI-4's
``MPI_Allreduce_init``) does it once; running it only starts requests and waits for them. Its schedule is written as one
generator, `steps`, which yields each request that must be complete before it goes on. Thus the same text runs to its
end (`run`) or bit by bit under a computation (`start`, `test`, `wait`).

`CollectiveCache` keeps those of a communicator, in the state of its carrier, with which they are freed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from mpi4py import MPI

from emulator import carrier
from emulator.errors import UsageError
from primitives.buffers import Array, message
from primitives.collectives.operations import of_numpy

TAG = 20_000
"""Tag of every operation that is complete when its call returns: messages do not overtake, so that one tag serves."""

TAGS_IN_FLIGHT = 8_000
"""Number of tags after `TAG`, which operations that overlap take in turn."""

KEPT = 32
"""Most collectives that are kept per communicator; the oldest is freed first."""

_NO_CALL = (object(),) * 6


class Request(Protocol):
    """The interface of a request that a collective uses, MPI's own or an emulated one."""

    def Wait(self) -> Any: ...
    def Test(self) -> bool: ...


Sender = Callable[[], Request]
Apply = Callable[[Array, Array, Array], object]
"""``op(a, b, out)`` stores ``a op b`` in `out`, which may be `a` or `b` itself."""


class PersistentCollective:
    """An operation that is prepared once and run any number of times, one run at a time.

    Parameters
    ----------
    comm : a communicator, or what behaves as one
    tag : tag of all messages of this collective, the same on every rank
    """

    once = False
    """Free the collective when its run is complete."""
    keeps = True
    """The persistent requests live until the collective is freed."""
    uniform: Hashable = None
    """Ranks whose collectives of a class and tag agree in this take the same steps; None: they may not."""
    foreign: Any = None
    """The operation that it applies, if that may do more than compute; None: it is numpy's."""
    schedule: Any = None
    """What a simulation has recorded of it."""

    def __init__(self, comm: MPI.Intracomm, tag: int = TAG) -> None:
        self.comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.tag = tag
        self._carrier = carrier.of(comm)
        self.phase = self._carrier.phase
        self._requests: list[MPI.Prequest] = []
        self._walk: Iterator[Request] | None = None
        self.waiting: Request | None = None

    def sender(self, view: Array, target: int) -> Sender:
        """Make a function that starts to send `view` and returns the request.

        Not a persistent request: Open MPI completes a short Isend at once, a short persistent send only when the
        receiver has run and handed the buffer back, which costs a change of process where ranks share a core.
        """
        return partial(self.comm.Isend, message(view), target, self.tag)

    def starter(self, view: Array, target: int) -> MPI.Prequest:
        """Make a persistent request that sends `view`: faster to start, for sends waited for only at the end."""
        request = self.comm.Send_init(message(view), target, self.tag)
        if self.keeps:
            self._requests.append(request)
        return request

    def receiver(self, view: Array, source: int) -> MPI.Prequest:
        """Make a persistent request that receives into `view`."""
        request = self.comm.Recv_init(message(view), source, self.tag)
        if self.keeps:
            self._requests.append(request)
        return request

    def steps(self) -> Iterator[Request]:
        """The algorithm as a generator: yields each request that must be complete before it continues."""
        raise NotImplementedError

    def run(self) -> None:
        """Run the operation to its end."""
        self._carrier.run(self)

    def start(self) -> PersistentCollective:
        """Begin a run, continue as far as possible without waiting, and return the object itself as the handle."""
        if self._walk is not None:
            raise UsageError(
                "a persistent collective runs once at a time, this one is under way: wait() for it, or prepare another"
            )
        self._walk = self.steps()
        self.waiting = next(self._walk, None)
        self.test()
        return self

    def test(self) -> bool:
        """Continue as far as possible without waiting; true when complete."""
        while self.waiting is not None:
            if not self.waiting.Test():
                return False
            self._next()
        self._end()
        return True

    def wait(self) -> None:
        """Complete the run that `start` began."""
        while self.waiting is not None:
            self.waiting.Wait()
            self._next()
        self._end()

    def _next(self) -> None:
        assert self._walk is not None
        self.waiting = next(self._walk, None)

    def _end(self) -> None:
        self._walk = None
        if self.once:
            self.free()

    def free(self) -> None:
        """Free the persistent requests; the collective cannot run again. Freeing twice is harmless."""
        requests, self._requests = self._requests, []
        if not MPI.Is_finalized():
            for request in requests:
                request.Free()


class Reduction(PersistentCollective):
    """An all-reduce of `send` into `recv`.

    Parameters
    ----------
    send, recv : flat arrays of the same size and dtype, separate or the same
    op : an associative operation; commutative too, where the algorithm does not keep the order of the ranks

    Attributes
    ----------
    ordered : the order of the ranks is kept, for operations that do not commute
    segmented : takes the longest message in bytes as ``segment``, and cuts what is longer
    flat : takes arrays of one dimension only
    """

    ordered = False
    segmented = False
    flat = True

    def __init__(self, comm: MPI.Intracomm, send: Array, recv: Array, op: Apply, tag: int = TAG) -> None:
        super().__init__(comm, tag)
        self.send, self.recv, self.op = send, recv, op
        self.foreign = None if of_numpy(op) else op


def wait_all(collectives: Iterable[PersistentCollective]) -> None:
    """Run all of these to their ends, in the order in which their messages arrive.

    Ranks that wait for several collectives one by one must all do so in the same order: waiting for one moves no other.
    """
    pending = [collective for collective in collectives if not collective.test()]
    while pending:
        MPI.Request.Waitany([collective.waiting for collective in pending])  # type: ignore[misc]
        pending = [collective for collective in pending if not collective.test()]


class CollectiveCache(dict[Hashable, Any]):
    """The persistent collectives of one communicator by their calls, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.terms: Any = None
        """Terms by which ``auto`` chooses an algorithm on this communicator."""
        self.last: tuple[Any, ...] = _NO_CALL
        """The last call that short arrays made: send, recv, op, algorithm, segment and its collective. A loop that
        reduces the same short arrays finds the collective by that in less time than by their dtype and shape."""
        self._counter = 0
        self._failed: list[object] = []

    def keep(self, key: Hashable, collective: PersistentCollective) -> None:
        """Add a collective, and free the oldest one if there are too many."""
        self[key] = collective
        if len(self) > KEPT:
            self.pop(next(iter(self))).free()

    def fail(self, collective: PersistentCollective, *arrays: Array) -> None:
        """Forget a collective whose run failed, but keep its memory and arrays, as messages may still arrive."""
        self.forget(collective)
        for key in [key for key, kept in self.items() if kept is collective]:
            del self[key]
        self._failed += [collective, arrays]

    def forget(self, collective: PersistentCollective) -> None:
        """Stop serving calls with this collective as the last one used."""
        if self.last[-1] is collective:
            self.last = _NO_CALL

    def next_tag(self) -> int:
        """A tag for an operation that overlaps with others; collective: all ranks must call it in the same order."""
        self._counter += 1
        return TAG + 1 + self._counter % TAGS_IN_FLIGHT

    def free(self) -> None:
        """Free every collective."""
        while self:
            self.popitem()[1].free()


def cache_of(comm: MPI.Intracomm) -> CollectiveCache:
    """The persistent collectives of a communicator, which live as long as it does."""
    state = carrier.of(comm).state
    found = state.get(CollectiveCache)
    if found is None:
        found = state[CollectiveCache] = CollectiveCache()
    return found
