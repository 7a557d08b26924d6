"""Messages of one fixed size that come when they come: one posted receive per peer, sends that nobody waits for.

Asynchronous algorithms cannot say from whom the next message will be. Instead of receiving from ANY_SOURCE, which
stops working for everybody as soon as one process has died, a mailbox keeps one receive posted per peer and tests
them in turn: a dead peer costs its own receive and no other. MPI keeps the order of the messages of each peer.

    box = Mailbox(peers, sources=[0, 2], count=5)
    box.send(2, array)                     # returns at once; the array is copied
    for position, array in box.poll():     # what has arrived by now
        ...
    box.close()
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import DTypeLike, NDArray

from emulator import clock
from primitives.peers import Peers


class Mailbox:
    """Asynchronous messages of `count` elements among the members of a table of peers.

    Parameters
    ----------
    peers
        The table; members that it loses are dropped from the mailbox.
    sources
        Positions to receive from.
    count, dtype
        Elements of every message.
    tag
        Of all messages; use one tag per mailbox.
    """

    def __init__(
        self, peers: Peers, sources: Iterable[int], count: int, dtype: DTypeLike = np.float64, tag: int = 641
    ) -> None:
        self.peers, self.tag = peers, tag
        self._comm = peers.comm
        self._shape = (count, np.dtype(dtype))
        self._flying: deque[tuple[int, MPI.Request, NDArray]] = deque()
        self._posted: dict[int, tuple[MPI.Request, NDArray]] = {}
        for position in sources:
            self._post(position)

    def _post(self, position: int) -> None:
        array = np.empty(*self._shape)
        try:
            self._posted[position] = (self._comm.Irecv(array, self.peers.members[position], self.tag), array)
        except MPI.Exception as error:
            self.peers.lose(position, error)

    @property
    def sources(self) -> set[int]:
        """Positions that are still received from: neither lost nor stopped."""
        return {position for position in self._posted if self.peers.alive(position)}

    def send(self, position: int, array: NDArray) -> bool:
        """Start sending a copy of `array`, of `count` elements or fewer; False if the peer is lost."""
        if not self.peers.alive(position):
            return False
        copy = np.array(array, self._shape[1])
        try:
            request = self._comm.Isend(copy, self.peers.members[position], self.tag)
        except MPI.Exception as error:
            self.peers.lose(position, error)
            return False
        self._flying.append((position, request, copy))
        self._reap()
        return True

    def _reap(self) -> None:
        """Let go of buffers whose sends are complete."""
        for _ in range(len(self._flying)):
            entry = self._flying.popleft()
            if not self._settled(entry[0], entry[1].Test):
                self._flying.append(entry)

    def _settled(self, position: int, test: Callable[[], Any]) -> bool:
        """Whether a request is over, be it by the death of its peer."""
        try:
            return test() is not False
        except MPI.Exception as error:
            if self.peers.alive(position):
                self.peers.lose(position, error)
            return True

    def poll(self) -> list[tuple[int, NDArray]]:
        """Take what has arrived: pairs (position, array), in order for each peer."""
        mail = []
        for position in list(self._posted):
            while position in self._posted:
                request, array = self._posted[position]
                if self.peers.alive(position) and not self._settled(position, request.Test):
                    break
                del self._posted[position]
                if self.peers.alive(position):
                    mail.append((position, array))
                    self._post(position)
        return mail

    def take(self, position: int) -> NDArray | None:
        """Wait for the next message of one peer; None if the peer is lost.

        Unlike `poll`, this names whom it waits for: on an emulated network the result does not depend on which
        process happened to run first.
        """
        if position not in self._posted:
            return None
        request, array = self._posted.pop(position)
        if self.peers.alive(position):
            self._settled(position, request.Wait)
        if not self.peers.alive(position):
            return None
        self._post(position)
        return array

    def wait(self, timeout_s: float | None = None) -> list[tuple[int, NDArray]]:
        """Poll, asleep in between, until something has arrived, no source is left, or the time is up.

        Parameters
        ----------
        timeout_s
            Wall seconds; None waits for ever.
        """
        mail: list[tuple[int, NDArray]] = []

        def something() -> bool:
            mail.extend(self.poll())
            return bool(mail) or not self._posted

        clock.wait_until(something, timeout_s)
        return mail

    def stop(self, position: int) -> None:
        """Receive no more from a peer that has said that it sends no more."""
        if position in self._posted:
            request, _ = self._posted.pop(position)
            self._withdraw(position, request)

    def _withdraw(self, position: int, request: MPI.Request) -> None:
        def cancel() -> None:
            request.Cancel()
            request.Wait()

        self._settled(position, cancel)

    def flush(self) -> None:
        """Wait until every send is complete: until then a peer may still need this rank's buffers."""
        while self._flying:
            position, request, _ = self._flying.popleft()
            self._settled(position, request.Wait)

    def close(self) -> None:
        """Complete the sends and withdraw the receives. The peers must still be receiving, or be dead."""
        self.flush()
        for position in list(self._posted):
            self.stop(position)
