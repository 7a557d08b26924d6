"""Probes, matched probes, and the messages that matched probes return."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from emulator.comm.buffers import Incoming
from emulator.comm.persistent import NullRequest
from emulator.comm.point_to_point import PointToPoint
from emulator.comm.refused import NoHandle
from emulator.comm.requests import EmulatedRequest, describe, empty_status
from emulator.comm.send_receive import ObjectReceive, ReceiveRequest
from emulator.core.instruments import Wait
from emulator.core.message import ANY_SOURCE, Arrival
from emulator.core.operations import Operation

_ANY: int = MPI.ANY_SOURCE
_ANY_TAG: int = MPI.ANY_TAG


class Probes(PointToPoint):
    """Probe, Iprobe, Mprobe, Improbe: they find a message once its last byte has arrived in emulated time."""

    _expected: float | None = None

    def _find(self, origin: int, tag: int, take: bool) -> Arrival | None:
        """Find, or remove, a message that has arrived in emulated time; one that is still to come sets `_expected`."""
        engine = self.engine
        engine.progress()
        self._expected = None
        now = engine.reached()
        matcher = engine.matchers[self.context]
        found = matcher.find(origin, tag, now)
        if found is None:
            if error := self.failure(origin, blocking=True):
                self.raise_error(error)
            return None
        if now is not None and found.first > now:
            self._expected = found.first
            return None
        if now is not None and (expected := found.port.serve(found)) > max(now, engine.clock.t):
            self._expected = expected
            return None
        if take:
            matcher.take(origin, tag, now)
        due = found.port.serve(found)
        engine.wait_until(due, Wait.PROBE, found.source, found.token)
        return found

    def _probe(self, source: int, tag: int, status: MPI.Status | None, take: bool) -> Arrival | None:
        self._enter()
        origin, tag = self._accepted(source, tag)
        if origin is None:
            self._fill_status(None, status)
            return None
        search = _Search(self, origin, tag, take)
        self.engine.wait(search)
        self._fill_status(search.found, status)
        self._leave()
        return search.found

    def _test_probe(self, source: int, tag: int, status: MPI.Status | None, take: bool) -> tuple[bool, Arrival | None]:
        idling = self.engine.idling
        self._enter()
        origin, tag = self._accepted(source, tag)
        if origin is None:
            self._fill_status(None, status)
            return True, None
        found = self._find(origin, tag, take)
        if found is None:
            self.engine.idling = idling
            self.engine.idle((self.context, origin, tag))
        else:
            self._fill_status(found, status)
        self._leave()
        return found is not None, found

    def _fill_status(self, found: Arrival | None, status: MPI.Status | None) -> None:
        """Fill `status` for a message, or for a probe of PROC_NULL."""
        if status is None:
            return
        if found is None:
            empty_status(status)
            status.source = MPI.PROC_NULL
        else:
            describe(status, self.rank_of(found.source), found.tag, found.size)

    def Probe(self, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> bool:
        self._probe(source, tag, status, take=False)
        return True

    def Iprobe(self, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> bool:
        return self._test_probe(source, tag, status, take=False)[0]

    def Mprobe(self, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> MPI.Message:
        return EmulatedMessage(self, self._probe(source, tag, status, take=True))

    def Improbe(self, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> MPI.Message | None:
        there, found = self._test_probe(source, tag, status, take=True)
        return EmulatedMessage(self, found) if there else None

    probe, iprobe, mprobe, improbe = Probe, Iprobe, Mprobe, Improbe


class _Search(Operation):
    """A probe as an operation to wait for."""

    awaits_message = True

    def __init__(self, comm: Probes, origin: int, tag: int, take: bool) -> None:
        self._comm, self._what = comm, (origin, tag, take)
        self.found: Arrival | None = None
        self.hint: float | None = None
        self.soonest: float | None = None

    def poll(self) -> bool:
        self.found = self._comm._find(*self._what)
        self.soonest = self._comm._expected
        self.hint = self.soonest if self._what[0] != ANY_SOURCE else None
        return self.found is not None


class EmulatedMessage(NoHandle, MPI.Message):
    """A message that Mprobe or Improbe has removed, to be received once."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return MPI.Message.__new__(cls)

    def __init__(self, comm: Any, arrival: Arrival | None) -> None:
        self._comm, self._arrival = comm, arrival
        self._null = arrival is None
        self.engine = comm.engine

    def __bool__(self) -> bool:
        return self._null or self._arrival is not None

    def __eq__(self, other: object) -> bool:
        if type(other) is MPI.Message:
            if self._null:
                return other == MPI.MESSAGE_NO_PROC
            return self._arrival is None and other == MPI.MESSAGE_NULL
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def _start(self, into: Incoming | None) -> EmulatedRequest:
        if self._null:
            return NullRequest(self._comm, receive=True)
        arrival, self._arrival = self._arrival, None
        if arrival is None:
            raise MPI.Exception(MPI.ERR_REQUEST)
        kind = ReceiveRequest if into is not None else ObjectReceive
        request = kind().begin(self._comm, arrival.source, arrival.tag, into)
        self._comm.engine.match(request, arrival)
        return request

    def Recv(self, buf: Any, status: MPI.Status | None = None) -> None:
        self._comm._enter()
        self._comm._complete(self._start(Incoming(buf)), status)

    def Irecv(self, buf: Any) -> MPI.Request:
        return self._start(Incoming(buf))

    def recv(self, status: MPI.Status | None = None) -> Any:
        self._comm._enter()
        return self._comm._complete(self._start(None), status)

    def irecv(self) -> MPI.Request:
        return self._start(None)
