"""Checksums of MPI messages, summed at both ends, so that a bit that flips on the way is detected; and the flip itself.

    sender      adds the CRC-32 of each message to its sum for the receiver      ──┐
    receiver    adds the CRC-32 of what has arrived to its sum for the sender    ◄─┴─ compared before each agreement

A difference means that a message arrived other than it was sent; all ranks then do the steps since the last comparison
again. The messages themselves are as before, so any call and any algorithm that is made of messages is covered.

Cost: a CRC-32 of each message at both ends, and an all-to-all of 8 bytes per agreement.
Limits: buffers in one piece, which objects (`send`, `bcast`) are not; messages of MPI, not of an emulated network; and
each is received in the step in which it was sent.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator.trace.traced_mpi import size_of
from emulator.trace.traced_requests import Operation, TracedPrequest, TracedRequest, install

Flip = Callable[[memoryview], None]


class MessageSums:
    """Sums of the checksums of the messages to and from each process.

    Parameters
    ----------
    size : processes, the dead included
    flip : called with every message that has arrived, which it may change
    """

    def __init__(self, size: int, flip: Flip | None = None) -> None:
        self._flip = flip
        self.sent, self.received = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def sends(self, buffer: Any, process: int) -> None:
        """Add a message to a process."""
        if process >= 0 and (content := _content(buffer)) is not None:
            self.sent[process] += zlib.crc32(content) + 1

    def has_arrived(self, buffer: Any, status: MPI.Status) -> None:
        """Add a message that has arrived in the buffer."""
        process = status.Get_source()
        if process < 0 or (content := _content(buffer)) is None:
            return
        content = content[: status.Get_count(MPI.BYTE)]
        if self._flip is not None and len(content):
            self._flip(content)
        self.received[process] += zlib.crc32(content) + 1

    def differ(self, comm: MPI.Intracomm, members: list[int]) -> bool:
        """Whether a message to this rank since the last call was altered on the way; collective.

        Parameters
        ----------
        comm, members : the communicator of the ranks at work, and the process of each
        """
        mine, theirs = self.sent[members], np.empty(len(members), np.int64)
        arrived = self.received[members]
        self.sent[:] = self.received[:] = 0
        comm.Alltoall(mine, theirs)
        return bool((arrived != theirs).any())


def _content(buffer: Any) -> memoryview | None:
    """The bytes of a contiguous message; None for any other."""
    size = size_of(buffer)
    if isinstance(buffer, list | tuple):
        buffer = buffer[0] if buffer else None
    try:
        view = memoryview(buffer)
        return view.cast("B")[:size] if view.contiguous else None
    except (TypeError, ValueError):
        return None


class _Arriving(Operation):
    """A posted receive into a buffer."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    def done(self, comm: Any, status: MPI.Status, since: float) -> None:
        comm.sums.has_arrived(self._buffer, status)


class CheckedComm(MPI.Intracomm):
    """A communicator of MPI itself that sums the checksums of its messages."""

    def __new__(cls, comm: MPI.Intracomm, *_: Any) -> CheckedComm:
        return super().__new__(cls, comm)

    def __init__(self, comm: MPI.Intracomm, sums: MessageSums) -> None:
        install()
        self.sums = sums

    def Recv(
        self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None
    ) -> None:
        status = status if status is not None else MPI.Status()
        super().Recv(buf, source, tag, status)
        self.sums.has_arrived(buf, status)

    def Sendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG, status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        status = status if status is not None else MPI.Status()
        self.sums.sends(sendbuf, dest)
        super().Sendrecv(sendbuf, dest, sendtag, recvbuf, source, recvtag, status)
        self.sums.has_arrived(recvbuf, status)

    def Sendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = MPI.ANY_SOURCE, recvtag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        status = status if status is not None else MPI.Status()
        self.sums.sends(buf, dest)
        super().Sendrecv_replace(buf, dest, sendtag, source, recvtag, status)
        self.sums.has_arrived(buf, status)

    def Irecv(self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> MPI.Request:
        return TracedRequest(super().Irecv(buf, source, tag), self, _Arriving(buf))

    def Recv_init(self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> MPI.Prequest:
        return TracedPrequest(super().Recv_init(buf, source, tag), self, lambda: _Arriving(buf))


def _sending(name: str) -> Any:
    original = getattr(MPI.Intracomm, name)

    def call(self: CheckedComm, buf: Any, dest: int, tag: int = 0) -> Any:
        self.sums.sends(buf, dest)
        return original(self, buf, dest, tag)

    return call


def _starting(name: str) -> Any:
    original = getattr(MPI.Intracomm, name)

    def call(self: CheckedComm, buf: Any, dest: int, tag: int = 0) -> Any:
        def begin() -> Operation:  # the send is counted when it begins
            self.sums.sends(buf, dest)
            return Operation()

        return TracedPrequest(original(self, buf, dest, tag), self, begin)

    return call


for _name in ["Send", "Ssend", "Rsend", "Bsend", "Isend", "Issend", "Irsend", "Ibsend"]:
    setattr(CheckedComm, _name, _sending(_name))
for _name in ["Send_init", "Ssend_init", "Rsend_init", "Bsend_init"]:
    setattr(CheckedComm, _name, _starting(_name))
