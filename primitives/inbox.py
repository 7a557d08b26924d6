"""Messages in no fixed order: an inbox receives the first to arrive, an outbox sends without waiting.

    inbox, outbox = Inbox(comm, TAG, sources=[0, 2]), Outbox(comm, TAG)
    outbox.send(2, data)                   # returns at once; `data` must not change any more
    mail = inbox.next(until=deadline)      # (source, bytes), or None
    outbox.drain()

MPI keeps the order of the messages of each pair of ranks. Sources are looked at by name in turn: MPI refuses to
receive from MPI.ANY_SOURCE once a process has died, and messages that a process sent before its death can still be
probed but not received, so that they would block all others. A dead source thus costs its own messages only.
Simulated ranks, who may be thousands, look at all sources at once as long as every rank lives.

On an emulated network that is not tied to the wall clock, messages are physically there in any order, and taking one
moves the clock to its arrival. There an inbox waits until every source that owes a message has sent one, and takes
the one that is first in emulated time (`emulator.carrier.Carrier.earliest`): the outcome is exact and repeatable.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator import carrier

Bytes = NDArray[np.uint8]
Mail = tuple[int, Bytes]
"""The source of a message, and what it holds."""
Lost = Callable[[int, MPI.Exception], None]
"""Called with a rank and MPI's error about it; if it returns, that rank is left out."""


class Inbox:
    """Receives messages of one tag in the order of their arrival.

    Parameters
    ----------
    comm : communicator, bare or emulated
    tag : of all messages
    sources : ranks to receive from; None: any, until one is forgotten
    lost : absent: errors of MPI are raised
    ordered : whether to take messages by their emulated arrival where time is not tied to the wall clock; without it,
        and elsewhere, in the order in which they are delivered
    silence_s : seconds on the wall after which an ordered inbox waits no longer for a source that owes a message: it
        may hang
    """

    def __init__(
        self, comm: MPI.Comm, tag: int, sources: Iterable[int] | None = None, *, lost: Lost | None = None,
        ordered: bool = True, silence_s: float = 2.0,
    ) -> None:  # fmt: skip
        self.comm, self.tag, self.carrier = comm, tag, carrier.of(comm)
        self.sources = [MPI.ANY_SOURCE] if sources is None else list(sources)
        self.ordered = ordered and self.carrier.ordered
        self._lost = lost
        self.silence = carrier.Silence(silence_s)
        self._status = MPI.Status()

    def forget(self, source: int) -> None:
        """Stop receiving from a rank that is dead or sends no more."""
        if self.sources == [MPI.ANY_SOURCE]:
            self.sources = [rank for rank in range(self.comm.Get_size()) if rank != self.comm.Get_rank()]
        if source in self.sources:
            self.sources.remove(source)

    def poll(self) -> Mail | None:
        """Take a message that has arrived by now."""
        if self.ordered:
            return self.next(self.carrier.now(), 0.0)
        for source in self._worth_a_look():
            mail = self._about(source, partial(self._arrived, source))
            if mail is not None:
                self.sources.append(self.sources.pop(self.sources.index(source)))  # its turn comes last again
                return mail
        return None

    def _worth_a_look(self) -> list[int]:
        """Sources that may have a message: all, or only the source of the first message if the carrier finds it."""
        if len(self.sources) > 1 and self.carrier.finds_first:
            try:
                if not self.comm.Iprobe(MPI.ANY_SOURCE, self.tag, self._status):
                    return []
            except MPI.Exception:  # which of the sources it is about, each of them will say
                return list(self.sources)
            if (first := self._status.Get_source()) in self.sources:
                return [first]
        return list(self.sources)

    def next(
        self, until: float = math.inf, patience_s: float = math.inf, owing: Iterable[int] | None = None
    ) -> Mail | None:
        """Wait asleep for the next message.

        Parameters
        ----------
        until : instant of `emulator.now` at which to give up
        patience_s : seconds on the wall after which to give up; 0 looks once
        owing : sources that are certain to send a message: an ordered inbox waits for them; absent: all sources

        Returns
        -------
        (int, array) or None
            None when the time is up or no source is left; an ordered clock has then advanced to `until`.
        """
        if not self.ordered:
            return self._delivered(until, patience_s)
        sources = list(self.sources if owing is None or MPI.ANY_SOURCE not in self.sources else owing)
        owed = sources if owing is None else set(owing).intersection(sources)
        source = self.carrier.earliest(
            sources, self.tag, until, patience_s, owed, self.silence, None if self._lost is None else self._leave_out
        )
        if source is None:
            return None
        data = self.take(source)
        return (source, data) if data is not None else self.next(until, patience_s, owing)

    def _delivered(self, until: float, patience_s: float) -> Mail | None:
        """The next message in the order of delivery; also None if a source was lost meanwhile.

        The message that the caller waits for may have been the lost source's.
        """
        found: list[Mail] = []
        before = len(self.sources)

        def over() -> bool:
            if (mail := self.poll()) is not None:
                found.append(mail)
            return bool(found) or not before or len(self.sources) < before

        self.carrier.wait_until(over, until, patience_s)
        return found[0] if found else None

    def take(self, source: int) -> Bytes | None:
        """Wait inside MPI for the next message from a source (MPI.ANY_SOURCE for any); None if it is lost."""

        def wait() -> Bytes:
            self.comm.Probe(source, self.tag, self._status)
            return self._receive()

        return self._about(source, wait)

    def _arrived(self, source: int) -> Mail | None:
        if not self.comm.Iprobe(source, self.tag, self._status):
            return None
        return self._status.Get_source() if source == MPI.ANY_SOURCE else source, self._receive()

    def _receive(self) -> Bytes:
        """Receive the message that the last probe has described."""
        data = np.empty(self._status.Get_count(MPI.BYTE), np.uint8)
        self.comm.Recv([data, MPI.BYTE], self._status.Get_source(), self.tag)
        return data

    def _about(self, source: int, call: Callable[[], Any]) -> Any:
        """Make an MPI call about a source; None if the source is dead and may be left out."""
        try:
            return call()
        except MPI.Exception as error:
            if self._lost is None:
                raise
            self._leave_out(source, error)
            return None

    def _leave_out(self, source: int, error: MPI.Exception) -> None:
        assert self._lost is not None
        self._lost(source, error)
        self.forget(source)


class Outbox:
    """Starts sends without waiting for them, and keeps their buffers until MPI has completed them.

    A send to a rank that has died may fail long after it was started; for a forgotten rank that is ignored.

    Parameters
    ----------
    comm : communicator, bare or emulated
    tag : of all messages that are given no other
    lost : absent: errors of MPI are raised
    most, least : as soon as more than `most` (absent: `MOST`) sends are under way they are tested, the oldest first,
        until `least` (absent: `most`) are left: a test takes time too
    """

    MOST = 64

    def __init__(
        self, comm: MPI.Comm, tag: int, *, lost: Lost | None = None, most: int | None = None, least: int | None = None
    ) -> None:
        self.comm, self.tag = comm, tag
        self.most = self.MOST if most is None else most
        self.least = self.most if least is None else least
        self._lost = lost
        self._under_way: deque[tuple[int, MPI.Request, Any]] = deque()
        self._forgotten: set[int] = set()

    def forget(self, rank: int) -> None:
        """Ignore later errors of sends to a dead rank."""
        self._forgotten.add(rank)

    def send(self, rank: int, data: Any, tag: int | None = None) -> bool:
        """Start sending `data` (bytes or an array, which must not change any more); False if MPI refuses."""
        try:
            request = self.comm.Isend([data, MPI.BYTE], rank, self.tag if tag is None else tag)
        except MPI.Exception as error:
            if self._lost is None:
                raise
            self._lost(rank, error)
            return False
        self._under_way.append((rank, request, data))
        if len(self._under_way) > self.most:
            self._test(self.least)
        return True

    def done(self) -> bool:
        """Test every send; returns whether all are complete or have failed."""
        self._test(0)
        return not self._under_way

    def drain(self) -> None:
        """Wait until every send is complete or has failed; then raise the last error that `lost` was not told of."""
        failure = None
        while self._under_way:
            try:
                self._end(*self._under_way.popleft(), wait=True)
            except MPI.Exception as error:
                failure = error
        if failure is not None:
            raise failure

    def _test(self, least: int) -> None:
        for _ in range(len(self._under_way)):
            if len(self._under_way) <= least:
                return
            self._end(*self._under_way.popleft(), wait=False)

    def _end(self, rank: int, request: MPI.Request, data: Any, wait: bool) -> None:
        """Remove a send that has completed or failed."""
        try:
            ended = request.Wait() if wait else request.Test()
        except MPI.Exception as error:
            if rank in self._forgotten:
                return
            if self._lost is None:
                raise
            self._lost(rank, error)
            return
        if not ended:
            self._under_way.append((rank, request, data))
