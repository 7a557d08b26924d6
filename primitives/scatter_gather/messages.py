"""The messages between coordinator and workers: pickled tuples over point-to-point, sent without blocking.

    down (tag ``DOWN``)   ("run", request, [task, ...], parcel of arguments)
                          ("cancel", request, task, or None for all)
                          ("stop", session)
    up (tag ``UP``)       ("done", request, packed outcomes, [dropped task, ...])
                          ("bye", session), a worker's last message

MPI keeps the order of messages between two ranks, so a cancel never overtakes the run that it cancels, and nothing
follows a bye. Requests and sessions have numbers of their own, so that what is late is told by its number.
"""

from __future__ import annotations

import math
import pickle
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from mpi4py import MPI

from emulator import carrier, now
from emulator.core.wall_clock import Backoff, sharpen_sleep

DOWN, UP = 7101, 7102


def pack(message: tuple[Any, ...]) -> bytes:
    """The bytes of a message."""
    return pickle.dumps(message, protocol=5)


def failed_ranks(comm: MPI.Comm) -> list[int]:
    """Ranks of ``comm`` that the MPI knows to be dead (ULFM); acknowledges them, so that receives go on."""
    comm.Ack_failed()
    dead, everybody = comm.Get_failed(), comm.Get_group()
    try:
        return list(MPI.Group.Translate_ranks(dead, list(range(dead.Get_size())), everybody))
    finally:
        dead.Free()
        everybody.Free()


class Outbox:
    """Sends that nobody waits for: the buffers live until MPI is done with them.

    A send to a rank that has died may fail long after it was started; of a rank that is forgotten this is no news.

    Parameters
    ----------
    comm
        Communicator, bare or emulated.
    tag
        Of all messages.
    """

    FLYING = 64  # sends that are left alone before the oldest is looked at: a test takes time too

    def __init__(self, comm: MPI.Comm, tag: int) -> None:
        self._comm, self._tag = comm, tag
        self._flying: deque[tuple[int, MPI.Request, bytes]] = deque()
        self._forgotten: set[int] = set()

    def forget(self, rank: int) -> None:
        """Do not mind from now on how sends to a dead rank end."""
        self._forgotten.add(rank)

    def send(self, rank: int, data: bytes) -> None:
        """Start sending ``data`` (see :func:`pack`) to ``rank``."""
        self._flying.append((rank, self._comm.Isend([data, MPI.BYTE], rank, self._tag), data))
        while len(self._flying) > self.FLYING and self._ended(wait=False):
            pass

    def drain(self) -> None:
        """Wait until every message is on its way; one that failed is left, the others are waited for all the same."""
        failure = None
        while self._flying:
            try:
                self._ended(wait=True)
            except MPI.Exception as error:
                failure = error
        if failure is not None:
            raise failure

    def _ended(self, wait: bool) -> bool:
        """Look at the oldest send, and let it go when it has ended, well or not."""
        rank, request, data = self._flying.popleft()
        try:
            ended = request.Wait() if wait else request.Test()
        except MPI.Exception:
            if rank not in self._forgotten:
                raise
            return True
        if not ended:
            self._flying.appendleft((rank, request, data))
        return ended


class Inbox:
    """Receives messages in the order in which they arrive, waiting asleep.

    Parameters
    ----------
    comm
        Communicator, bare or emulated.
    source, tag
        What to receive; ``source`` may be ``MPI.ANY_SOURCE``.
    """

    LONGEST_NAP_S = 500e-6

    def __init__(self, comm: MPI.Comm, source: int, tag: int) -> None:
        self._comm, self._source, self._tag = comm, source, tag
        self._sources = [source]
        self._status = MPI.Status()
        sharpen_sleep()

    def forget(self, rank: int) -> None:
        """Never look at a dead rank's messages again.

        What it sent before its death can still be probed, but not received: with ``MPI.ANY_SOURCE`` such a message
        would stand in front of all others. So from the first death on every source is looked at by name.
        """
        if self._sources == [MPI.ANY_SOURCE]:
            self._sources = [other for other in range(self._comm.Get_size()) if other != self._comm.Get_rank()]
        if rank in self._sources:
            self._sources.remove(rank)

    def poll(self) -> tuple[int, Any] | None:
        """A message that is there now, as (source, message), or None."""
        for source in self._sources:
            if self._comm.Iprobe(source, self._tag, self._status):
                found = self._receive(self._status.Get_source())
                self._sources.append(self._sources.pop(self._sources.index(source)))  # its turn comes last again
                return found
        return None

    def next(
        self, until: float = math.inf, patience_s: float = math.inf, owing: Iterable[int] = ()
    ) -> tuple[int, Any] | None:
        """The next message as (source, message), or None if there is none in time.

        Parameters
        ----------
        until
            Give up at this instant of ``emulator.now``.
        patience_s
            Give up after this many wall seconds.
        owing
            Sources that will send a message whatever happens; only `OrderedInbox` needs to know.
        """
        pause = Backoff(self.LONGEST_NAP_S)
        tired = time.monotonic() + patience_s
        while (found := self.poll()) is None:
            if now(self._comm) >= until or time.monotonic() >= tired:
                return None
            pause()
        return found

    def _receive(self, source: int) -> tuple[int, Any]:
        data = bytearray(self._status.Get_count(MPI.BYTE))
        self._comm.Recv([data, MPI.BYTE], source, self._tag)
        return source, pickle.loads(data)


class OrderedInbox(Inbox):
    """The same on an emulated network without pacing, where messages physically arrive in any order.

    It waits until everybody who owes a message has sent one, and takes the one that is first in emulated time. So
    the run is exact and repeatable (but a cancel takes effect only when it is physically here). Who has been
    silent for ``SILENCE_S`` wall seconds is not waited for any more: it may hang.
    """

    SILENCE_S = 2.0

    def __init__(self, comm: MPI.Comm, source: int, tag: int) -> None:
        super().__init__(comm, source, tag)
        self._silent: set[int] = set()

    def poll(self) -> tuple[int, Any] | None:
        """A message of the one source whose emulated time has come, as (source, message), or None."""
        there = carrier.of(self._comm).arrivals([self._source], self._tag)
        if there and there[self._source] <= now(self._comm):
            return self._take(self._source)
        return None

    def next(
        self, until: float = math.inf, patience_s: float = math.inf, owing: Iterable[int] = ()
    ) -> tuple[int, Any] | None:
        """As in `Inbox`; an instant ``until`` before the earliest message comes as soon as that is certain."""
        sources = set(owing) if self._source == MPI.ANY_SOURCE else {self._source}
        pause = Backoff(self.LONGEST_NAP_S)
        start = time.monotonic()
        while True:
            there = carrier.of(self._comm).arrivals(sources, self._tag)
            self._silent -= there.keys()
            waited = time.monotonic() - start
            if waited > self.SILENCE_S:
                self._silent |= sources - there.keys()
            if sources <= there.keys() | self._silent:
                first, source = min(((due, source) for source, due in there.items()), default=(math.inf, -1))
                if there and first <= until:
                    return self._take(source)
                if until < math.inf:
                    carrier.of(self._comm).advance(until)
                    return None
            if waited > patience_s:
                return None
            pause()

    def _take(self, source: int) -> tuple[int, Any]:
        self._comm.Probe(source, self._tag, self._status)
        return self._receive(source)


def open_inbox(comm: MPI.Comm, source: int, tag: int) -> Inbox:
    """The inbox that suits a communicator."""
    return (OrderedInbox if carrier.of(comm).ordered else Inbox)(comm, source, tag)
