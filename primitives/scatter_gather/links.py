"""The messages between coordinator and workers: pickled tuples over point-to-point, sent without blocking.

Downward (tag ``DOWN``): ``("run", request, [(task, argument), ...])``, ``("cancel", request, task or None)``,
``("stop",)``. Upward (tag ``UP``): ``("done", request, packed outcomes, [dropped task, ...])`` and, as a worker's
last message, ``("bye",)``. MPI keeps the order of messages between
two ranks, so a cancel never overtakes the run that it cancels, and nothing follows a bye.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from typing import Any

from mpi4py import MPI

from emulator import now
from emulator.clock import Backoff, sharpen_sleep

DOWN, UP = 7101, 7102


def pack(message: tuple[Any, ...]) -> bytes:
    """The bytes of a message."""
    return pickle.dumps(message, protocol=5)


def failed_ranks(comm: MPI.Comm) -> list[int]:
    """Ranks of ``comm`` that the MPI knows to be dead (ULFM); acknowledges them, so that receives go on."""
    comm.Ack_failed()
    dead = comm.Get_failed()
    return list(MPI.Group.Translate_ranks(dead, list(range(dead.Get_size())), comm.Get_group()))


class Outbox:
    """Sends that nobody waits for: the buffers live until MPI is done with them."""

    def __init__(self, comm: MPI.Comm, tag: int) -> None:
        self._comm, self._tag = comm, tag
        self._flying: deque[tuple[MPI.Request, bytes]] = deque()

    def send(self, rank: int, data: bytes) -> None:
        """Start sending ``data`` (see :func:`pack`) to ``rank``."""
        self._flying.append((self._comm.Isend([data, MPI.BYTE], rank, self._tag), data))
        while self._flying and self._flying[0][0].Test():
            self._flying.popleft()

    def drain(self) -> None:
        """Wait until every message is on its way."""
        while self._flying:
            self._flying.popleft()[0].Wait()


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
        self._status = MPI.Status()
        self._pause = Backoff(self.LONGEST_NAP_S)
        sharpen_sleep()

    def next(self, until: float | None = None, patience_s: float | None = None) -> tuple[int, Any] | None:
        """The next message as (source, message), or None if there is none in time.

        Parameters
        ----------
        until
            Give up at this instant of ``emulator.now``; an instant in the past still takes what is there.
        patience_s
            Give up after this many wall seconds.
        """
        self._pause.reset()
        tired = None if patience_s is None else time.monotonic() + patience_s
        while not self._comm.Iprobe(self._source, self._tag, self._status):
            if until is not None and now(self._comm) >= until:
                return None
            if tired is not None and time.monotonic() >= tired:
                return None
            self._pause()
        return self._receive(self._status.Get_source())

    def _receive(self, source: int) -> tuple[int, Any]:
        data = bytearray(self._status.Get_count(MPI.BYTE))
        self._comm.Recv([data, MPI.BYTE], source, self._tag)
        return source, pickle.loads(data)
