"""Plans: what an operation works out once (views, buffers, persistent requests) and then runs as often as called.

Deciding who sends what to whom costs more than a short message. A `Plan` does it once; running it only starts requests
and waits for them. A plan is written as one generator, `steps`, which yields each request that must be complete before
it goes on. Thus the same text runs to its end (`run`) or bit by bit under a computation (`start`, `test`, `wait`).

`Plans` keeps the plans of a communicator. They are freed with it: MPI calls the delete function of its attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cache, partial
from typing import Any, Protocol

from mpi4py import MPI

from emulator import carrier
from emulator.errors import UsageError
from primitives.buffers import Array, message

TAG = 20_000
"""Tag of every operation that is complete when its call returns: messages do not overtake, so that one tag serves."""

TAGS_IN_FLIGHT = 8_000
"""Operations that are made to overlap take the tags behind `TAG` in turn, as many as this."""

KEPT = 32
"""Plans kept per communicator; the oldest goes first."""


class Request(Protocol):
    """What a plan needs of a request, MPI's own or an emulated one."""

    def Wait(self) -> Any: ...
    def Test(self) -> bool: ...


Sender = Callable[[], Request]


class Plan:
    """An operation that is laid out once and run any number of times, one run at a time.

    Parameters
    ----------
    comm
        A communicator, or what behaves as one.
    tag
        Tag of all messages of this plan, the same on every rank.
    """

    once = False
    """Free the plan when its run is complete."""

    def __init__(self, comm: MPI.Intracomm, tag: int = TAG) -> None:
        self.comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.tag = tag
        self.phase = carrier.of(comm).phase
        self._requests: list[MPI.Prequest] = []
        self._walk: Iterator[Request] | None = None
        self.waiting: Request | None = None

    def sender(self, view: Array, target: int) -> Sender:
        """A function that starts to send `view` and returns the request.

        Not a persistent request: Open MPI completes a short Isend at once, a short persistent send only when the
        receiver has run and handed the buffer back, which costs a change of process where ranks share a core.
        """
        return partial(self.comm.Isend, message(view), target, self.tag)

    def starter(self, view: Array, target: int) -> MPI.Prequest:
        """A persistent request that sends `view`: quicker to start, for sends that are waited for at the end only."""
        request = self.comm.Send_init(message(view), target, self.tag)
        self._requests.append(request)
        return request

    def receiver(self, view: Array, source: int) -> MPI.Prequest:
        """A persistent request that receives into `view`."""
        request = self.comm.Recv_init(message(view), source, self.tag)
        self._requests.append(request)
        return request

    def steps(self) -> Iterator[Request]:
        """The algorithm: yields each request that must be complete before it goes on."""
        raise NotImplementedError

    def run(self) -> None:
        """Run to the end."""
        for request in self.steps():
            request.Wait()

    def start(self) -> Plan:
        """Begin, go as far as is possible without waiting, and return the plan itself as the handle."""
        if self._walk is not None:
            raise UsageError("a plan runs once at a time, this one is under way: wait() for it, or make another plan")
        self._walk = self.steps()
        self.waiting = next(self._walk, None)
        self.test()
        return self

    def test(self) -> bool:
        """Go on as far as is possible without waiting; true when complete."""
        while self.waiting is not None:
            if not self.waiting.Test():
                return False
            self._next()
        self._end()
        return True

    def wait(self) -> None:
        """Run the rest of what `start` began."""
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
        """Free the persistent requests; the plan cannot run again. Freeing twice is harmless."""
        requests, self._requests = self._requests, []
        if not MPI.Is_finalized():
            for request in requests:
                request.Free()


def wait_all(plans: Iterable[Plan]) -> None:
    """Run all of these to their ends, in whatever order their messages come.

    Ranks that wait for several plans one by one must all do so in the same order: waiting for one moves no other.
    """
    pending = [plan for plan in plans if not plan.test()]
    while pending:
        MPI.Request.Waitany([plan.waiting for plan in pending])  # type: ignore[misc]
        pending = [plan for plan in pending if not plan.test()]


class Plans(dict[Hashable, Any]):
    """The plans of one communicator by what they do, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.terms: Any = None
        """What the choice of an algorithm on this communicator goes by, where it was measured."""
        self.handle = 0
        self._counter = 0
        self._failed: list[object] = []

    def keep(self, key: Hashable, plan: Plan) -> None:
        """Add a plan, and free the oldest one if there are too many."""
        self[key] = plan
        if len(self) > KEPT:
            self.pop(next(iter(self))).free()

    def fail(self, plan: Plan, *arrays: Array) -> None:
        """Never use a plan again whose run failed, but keep its memory and the arrays: messages may still arrive."""
        for key in [key for key, kept in self.items() if kept is plan]:
            del self[key]
        self._failed += [plan, arrays]

    def next_tag(self) -> int:
        """A tag for an operation that overlaps with others; collective: each rank must ask in the same order."""
        self._counter += 1
        return TAG + 1 + self._counter % TAGS_IN_FLIGHT

    def free(self) -> None:
        """Free every plan."""
        while self:
            self.popitem()[1].free()


_by_handle: dict[int, Plans] = {}
"""The same as MPI's attributes, for a quicker look; what MPI deletes there goes here as well."""


def _deleted(comm: MPI.Comm, keyval: int, plans: Plans) -> None:
    plans.free()
    _by_handle.pop(plans.handle, None)


@cache
def _keyval() -> int:
    """Made when first needed: the module is also imported where MPI is not initialised, by a mere launcher."""
    return MPI.Comm.Create_keyval(delete_fn=_deleted)


def plans_of(comm: MPI.Intracomm) -> Plans:
    """The plans of a communicator, which live as long as it does."""
    if type(comm) is MPI.Intracomm:
        plans = _by_handle.get(comm.handle)
        if plans is None:
            plans = _by_handle[comm.handle] = Plans()
            plans.handle = comm.handle
            comm.Set_attr(_keyval(), plans)
        return plans
    # An object of a class written in Python has room for them itself, and may share MPI's handle with another object.
    return comm.__dict__.setdefault("_plans", Plans())
