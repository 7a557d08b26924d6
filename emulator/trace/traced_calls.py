"""Methods of a traced communicator that are made alike: sends, probes, collectives, and makers of communicators.

Each calls MPI's own method of the same name and tells the instruments of the communicator
(`emulator.trace.traced_mpi.TracedComm`) when it began and ended.
"""

from __future__ import annotations

import functools
from typing import Any

from mpi4py import MPI

from emulator.comm.parameter_names import named_as_in_mpi4py
from emulator.core.instruments import NO_PEER, Wait
from emulator.core.wall_clock import perf_counter as _now
from emulator.trace.traced_requests import Sending, TracedPrequest, TracedRequest
from emulator.wire.wait_board import COLLECTIVE

_BLOCKING = "Send Ssend Rsend Bsend send ssend bsend"
_NONBLOCKING = "Isend Issend Irsend Ibsend isend issend ibsend"
_PERSISTENT = "Send_init Ssend_init Rsend_init Bsend_init"
_PROBES = "Probe probe Mprobe mprobe Improbe improbe"
_COLLECTIVE = (
    "Barrier Bcast Reduce Allreduce Gather Gatherv Scatter Scatterv Allgather Allgatherv Alltoall Alltoallv Alltoallw "
    "Reduce_scatter Reduce_scatter_block Scan Exscan barrier bcast reduce allreduce gather scatter allgather alltoall "
    "scan exscan Agree"
)
_MAKING = "Dup Clone Split Split_type Create Create_group Shrink"


def wrap(traced: type[MPI.Intracomm]) -> None:
    """Give a class methods that call this MPI's own methods of the same names and tell the instruments."""
    for names, make in (
        (_BLOCKING, functools.partial(_sending, blocking=True)),
        (_NONBLOCKING, functools.partial(_sending, blocking=False)),
        (_PERSISTENT, _starting),
        ("Recv recv", _taking),
        ("Irecv irecv", _posting),
        (_PROBES, _finding),
        (_COLLECTIVE, _meeting),
        (_MAKING, _making),
    ):
        for name in names.split():
            original = getattr(MPI.Intracomm, name, None)
            if original is not None:
                setattr(traced, name, functools.wraps(original)(make(original)))


def _sending(original: Any, blocking: bool) -> Any:
    def call(self: Any, buf: Any, dest: int, tag: int = 0) -> Any:
        since = _now()
        if blocking:
            self.begin_to_wait(since, self.number(dest), tag)
        answer = original(self, buf, dest, tag)
        peer = self.tell_send(buf, dest, tag, since)
        if not blocking:
            return TracedRequest(answer, self, Sending(peer))
        self.tell_wait(Wait.SEND, since, peer)
        return answer

    return named_as_in_mpi4py(original.__name__, call)


def _taking(original: Any) -> Any:
    def call(
        self: Any, buf: Any = None, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:  # fmt: skip
        since, status = _now(), status if status is not None else MPI.Status()
        token = self.expect(source, tag)
        self.begin_to_wait(since, self.number(source), tag)
        answer = original(self, buf, source, tag, status)
        self.tell_receive(status, token, since)
        return answer

    return call


def _posting(original: Any) -> Any:
    def call(self: Any, buf: Any = None, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> Any:
        return TracedRequest(original(self, buf, source, tag), self, self.receiving(source, tag))

    return call


def _finding(original: Any) -> Any:
    """Make a traced probe; a message that a matched probe has found counts as received."""
    takes, waits = "m" in original.__name__.lower(), not original.__name__.lower().startswith("i")

    def call(self: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None) -> Any:
        since, status = _now(), status if status is not None else MPI.Status()
        if waits:
            self.begin_to_wait(since, self.number(source), tag)
        found = original(self, source, tag, status)
        if takes and found is not None:
            self.tell_receive(status, None, since if waits else _now())
        elif not takes:
            sender = status.Get_source()
            self.tell_wait(Wait.PROBE, since, self.members[sender] if sender >= 0 else NO_PEER)
        return found

    return call


def _starting(original: Any) -> Any:
    def call(self: Any, buf: Any, dest: int, tag: int = 0) -> Any:
        return TracedPrequest(
            original(self, buf, dest, tag), self, lambda: Sending(self.tell_send(buf, dest, tag, _now()))
        )

    return call


def _meeting(original: Any) -> Any:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        since, token = _now(), self.meet()
        self.begin_to_wait(since, tag=COLLECTIVE)
        answer = original(self, *arguments, **named)
        self.tell_wait(Wait.COLLECTIVE, since, NO_PEER, token)
        return answer

    return call


def _making(original: Any) -> Any:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        plain = MPI.Intracomm(self)  # MPI makes an object of the class of this one
        return self.child(original(plain, *arguments, **named), original.__name__)

    return call
