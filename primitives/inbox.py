"""Messages that come when they come: one tag, named sources, sends that nobody waits for.

Asynchronous algorithms cannot say from whom the next message will be. Instead of receiving from ANY_SOURCE, which
stops working for everybody as soon as one process has died, a mailbox looks at its sources in turn: a dead peer
costs its own messages and no others. MPI keeps the order of the messages of each peer.

    box = Mailbox(peers, sources=[0, 2])
    box.send(2, array)                     # returns at once; the array is copied
    for position, array in box.poll():     # what has arrived by now
        ...
    box.flush()
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import DTypeLike, NDArray

from emulator import carrier, now
from emulator.core.wall_clock import Backoff, wait_until
from primitives.peers import Peers

_LONGEST_NAP_S = 500e-6
_SILENCE_S = 2.0  # wall seconds after which one who owes a message is no longer waited for: it may hang


class Mailbox:
    """Asynchronous one-dimensional arrays, of any length, among the members of a table of peers.

    Parameters
    ----------
    peers
        The table; members that it loses are dropped from the mailbox.
    sources
        Positions to receive from.
    dtype
        Of every array.
    tag
        Of all messages; use one tag per mailbox.
    """

    def __init__(self, peers: Peers, sources: Iterable[int], dtype: DTypeLike = np.float64, tag: int = 641) -> None:
        self.peers, self.tag, self.dtype = peers, tag, np.dtype(dtype)
        self._open = list(sources)
        self._status = MPI.Status()
        self._flying: deque[tuple[int, MPI.Request, NDArray]] = deque()

    @property
    def sources(self) -> set[int]:
        """Positions that are still received from: neither lost nor stopped."""
        return {position for position in self._open if self.peers.alive(position)}

    def stop(self, position: int) -> None:
        """Receive no more from a peer that has said that it sends no more."""
        self._open = [other for other in self._open if other != position]

    def _guarded(self, position: int, call: Callable[[], Any], if_lost: Any) -> Any:
        """Call MPI about one peer; if it is dead, and the table's hook accepts that, give `if_lost`."""
        if not self.peers.alive(position):
            return if_lost
        try:
            return call()
        except MPI.Exception as error:
            self.peers.lose(position, error)
            return if_lost

    # Sending.

    def send(self, position: int, array: NDArray) -> bool:
        """Start sending a copy of `array`; False if the peer is known to be lost."""
        copy = np.array(array, self.dtype)
        rank = self.peers.members[position]
        request = self._guarded(position, lambda: self.peers.comm.Isend(copy, rank, self.tag), None)
        if request is None:
            return False
        self._flying.append((position, request, copy))
        for _ in range(len(self._flying)):
            entry = self._flying.popleft()
            if not self._guarded(entry[0], entry[1].Test, True):
                self._flying.append(entry)
        return True

    def flush(self) -> None:
        """Wait until every send is complete: until then a peer may still need this rank's buffers."""
        while self._flying:
            position, request, _ = self._flying.popleft()
            self._guarded(position, request.Wait, None)

    # Receiving.

    def _receive(self, position: int) -> NDArray:
        """Receive the message that the last probe has described."""
        array = np.empty(self._status.Get_count(MPI.BYTE) // self.dtype.itemsize, self.dtype)
        self.peers.comm.Recv(array, self.peers.members[position], self.tag)
        return array

    def poll(self) -> list[tuple[int, NDArray]]:
        """Take what has arrived: pairs (position, array), in order for each peer.

        A message whose sender has died can be probed and yet not be received; a long one has only begun to arrive.
        """
        mail = []
        for position in self._open:
            while (array := self._guarded(position, partial(self._arrived, position), None)) is not None:
                mail.append((position, array))
        return mail

    def _arrived(self, position: int) -> NDArray | None:
        """The next message of one peer, if it is there."""
        there = self.peers.comm.Iprobe(self.peers.members[position], self.tag, self._status)
        return self._receive(position) if there else None

    def take(self, position: int) -> NDArray | None:
        """Wait for the next message of one peer; None if the peer is lost.

        Unlike `poll`, this names whom it waits for: on an emulated network the result does not depend on which
        process happened to run first.
        """

        def wait() -> NDArray:
            self.peers.comm.Probe(self.peers.members[position], self.tag, self._status)
            return self._receive(position)

        return self._guarded(position, wait, None)

    def wait(self, timeout_s: float | None = None) -> list[tuple[int, NDArray]]:
        """Poll, asleep in between, until something has arrived, a source is lost, none is left, or the time is up.

        Parameters
        ----------
        timeout_s
            Wall seconds; None waits for ever.
        """
        mail: list[tuple[int, NDArray]] = []
        before = self.sources

        def something() -> bool:
            mail.extend(self.poll())
            # What the caller waits for may have been the lost one's to send, while others live and have no more to say.
            return bool(mail) or not before or self.sources != before

        wait_until(something, timeout_s)
        return mail

    def next_until(self, owing: Iterable[int], deadline: float) -> list[tuple[int, NDArray]]:
        """Wait for the next message of those who owe one, but not beyond a deadline; empty when it has passed.

        Without pacing, emulated time does not pass while one waits; there the message that is first in emulated
        time is taken, once everybody who owes one has sent it, so that the outcome is exact and repeatable.

        Parameters
        ----------
        deadline
            On `emulator.now`.
        """
        comm, pause = self.peers.comm, Backoff(_LONGEST_NAP_S)
        debtors = list(owing)
        if carrier.of(comm).ordered:
            return self._earliest(debtors, deadline)
        while not (mail := self.poll()) and now(comm) < deadline and any(map(self.peers.alive, debtors)):
            pause()
        return mail

    def _earliest(self, debtors: list[int], deadline: float) -> list[tuple[int, NDArray]]:
        comm = self.peers.comm
        debtors = [position for position in debtors if self.peers.alive(position)]
        due: dict[int, float] = {}

        def everybody() -> bool:
            for position in debtors:
                rank = self.peers.members[position]
                found = self._guarded(position, partial(carrier.of(comm).arrivals, [rank], self.tag), {})
                due.update(dict.fromkeys([position], found[rank]) if rank in found else {})
            return all(position in due or not self.peers.alive(position) for position in debtors)

        wait_until(everybody, _SILENCE_S)
        first = min(due, key=lambda position: (due[position], position), default=None)
        if first is None or due[first] > deadline:
            carrier.of(comm).advance(deadline)
            return []
        message = self.take(first)
        return self._earliest(debtors, deadline) if message is None else [(first, message)]
