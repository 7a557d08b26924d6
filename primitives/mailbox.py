"""Asynchronous messages of arrays among the members of a table of peers, any of which may die::

box = Mailbox(peers, sources=[0, 2])
box.send(2, array)                     # returns at once; the array is copied
for position, array in box.poll():     # what has arrived by now
    ...
box.flush()
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from mpi4py import MPI
from numpy.typing import DTypeLike, NDArray

from primitives.inbox import Bytes, Inbox, Outbox
from primitives.peers import Peers


class Mailbox:
    """Sends and receives one-dimensional arrays of any length asynchronously among a table of peers.

    Parameters
    ----------
    peers : the table; members that it loses are dropped from the mailbox
    sources : positions to receive from
    dtype : of every array
    tag : of all messages; use one tag per mailbox
    ordered : see `Inbox`; without it the result depends on the order of delivery
    most : see `Outbox`: a test may wait until a message has left the card
    """

    def __init__(
        self, peers: Peers, sources: Iterable[int], dtype: DTypeLike = np.float64, tag: int = 641,
        ordered: bool = False, most: int = 0,
    ) -> None:  # fmt: skip
        self.peers, self.dtype = peers, np.dtype(dtype)
        ranks = [peers.members[position] for position in sources]
        self._inbox = Inbox(peers.comm, tag, ranks, lost=self._lost, ordered=ordered)
        self._outbox = Outbox(peers.comm, tag, lost=self._lost, most=most, least=0)

    def _lost(self, rank: int, error: MPI.Exception) -> None:
        self.peers.lose(self.peers.members.index(rank), error)

    @property
    def sources(self) -> set[int]:
        """Positions from which messages are still received: neither lost nor stopped."""
        self._skip_lost()
        return {self.peers.members.index(rank) for rank in self._inbox.sources}

    def _skip_lost(self) -> None:
        for position in self.peers.lost:  # in another mailbox, perhaps
            self.stop(position)

    def stop(self, position: int) -> None:
        """Stop receiving from a peer that sends no more."""
        self._inbox.forget(self.peers.members[position])

    def send(self, position: int, array: NDArray) -> bool:
        """Start sending a copy of `array`; False if the peer is known to be lost."""
        return self.peers.alive(position) and self._outbox.send(
            self.peers.members[position], np.array(array, self.dtype)
        )

    def flush(self) -> None:
        """Wait until every send is complete, because until then a peer may still need this rank's buffers."""
        self._outbox.drain()

    def tidy(self) -> None:
        """Test every send, and free the buffers of those that are complete."""
        self._outbox.done()

    def poll(self) -> list[tuple[int, NDArray]]:
        """Receive what has arrived: pairs (position, array), in order for each peer."""
        self._skip_lost()
        mail = []
        while (found := self._inbox.poll()) is not None:
            mail.append(self._opened(*found))
        return mail

    def wait(self, until: float = math.inf, owing: Iterable[int] | None = None) -> list[tuple[int, NDArray]]:
        """Wait as `Inbox.next` does; also empty if a source was lost meanwhile."""
        self._skip_lost()
        owed = None if owing is None else [self.peers.members[position] for position in owing]
        found = self._inbox.next(until, owing=owed)
        return [] if found is None else [self._opened(*found)]

    def take(self, position: int) -> NDArray | None:
        """Wait for the next message of one peer; None if the peer is lost.

        It names its source: on an emulated network the result does not depend on the order of delivery.
        """
        data = self._inbox.take(self.peers.members[position]) if self.peers.alive(position) else None
        return None if data is None else data.view(self.dtype)

    def _opened(self, rank: int, data: Bytes) -> tuple[int, NDArray]:
        return self.peers.members.index(rank), data.view(self.dtype)
