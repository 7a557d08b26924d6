"""The server's next message: whichever MPI delivers, or, without pacing, the one that is first in emulated time.

On an emulated network that is not tied to the wall clock, messages are physically there in any order, and taking one
moves the clock to its arrival. So the server looks before it takes: when every worker that owes it a message has
sent one, it takes the earliest (conservative simulation, see `emulator.carrier`). With one server that
makes any rule exact and repeatable. Two servers could wait for workers that wait for the other one; so with several
servers a wait ends after some wall time with the earliest message that is there, and the fidelity counts the
inversion if it was one. Under bsp this is a rare accident, and the patience long; under the other rules it happens
all the time, and a run with several servers is an approximation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Set

import numpy as np
from mpi4py import MPI

from emulator import carrier
from emulator.core.wall_clock import Backoff, sharpen_sleep
from primitives.parameter_server.layout import Layout
from primitives.parameter_server.messages import Bytes

PATIENCE_S = 20e-3
PATIENCE_BSP_S = 0.5
LONGEST_NAP_S = 200e-6

Owing = Callable[[], Set[int]]


class Inbox:
    """Messages in the order of their delivery."""

    def __init__(self, comm: MPI.Intracomm, tag: int) -> None:
        self._comm, self._tag = comm, tag
        self._status = MPI.Status()

    def take(self, owing: Owing) -> Bytes:
        """Wait for the next message."""
        return self._receive(MPI.ANY_SOURCE)

    def poll(self, owing: Owing) -> Bytes | None:
        """Take a message that is there."""
        if self._comm.Iprobe(MPI.ANY_SOURCE, self._tag, self._status):
            return self._receive(self._status.Get_source())
        return None

    def _receive(self, source: int) -> Bytes:
        self._comm.Probe(source, self._tag, self._status)
        message = np.empty(self._status.Get_count(MPI.BYTE), np.uint8)
        self._comm.Recv([message, MPI.BYTE], self._status.Get_source(), self._tag)
        return message


class OrderedInbox(Inbox):
    """Messages in the order of their emulated arrival.

    Parameters
    ----------
    layout
        Workers that may send, and those that are dead.
    together
        Whether the rule is bsp.
    """

    def __init__(self, comm: MPI.Intracomm, tag: int, layout: Layout, together: bool) -> None:
        super().__init__(comm, tag)
        self._layout = layout
        several = PATIENCE_BSP_S if together else PATIENCE_S
        self._patience_s = several if len(layout.shards) > 1 else math.inf
        self._since = math.inf  # when messages began to be held back
        sharpen_sleep()

    def take(self, owing: Owing) -> Bytes:
        pause = Backoff(LONGEST_NAP_S)
        while (message := self.poll(owing)) is None:
            pause()
        return message

    def poll(self, owing: Owing) -> Bytes | None:
        there = carrier.of(self._comm).arrivals(set(self._layout.workers) - self._layout.dead, self._tag)
        if not there:
            return None
        now = time.monotonic()
        self._since = min(self._since, now)
        if not owing() <= there.keys() and now - self._since < self._patience_s:
            return None
        self._since = math.inf
        return self._receive(min(there, key=lambda source: (there[source], source)))


def open_inbox(comm: MPI.Intracomm, tag: int, layout: Layout, together: bool) -> Inbox:
    """The inbox that suits a communicator.

    With replicas messages come through other servers, and who owes one cannot be told.
    """
    if not carrier.of(comm).ordered or layout.replicas > 1:
        return Inbox(comm, tag)
    return OrderedInbox(comm, tag, layout, together)
