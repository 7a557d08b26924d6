"""Messages between survivors: mpi4py's sends and receives with ranks and tags translated to the parent's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from emulator.comm.parameter_names import named_as_in_mpi4py
from emulator.errors import UsageError
from faults.agree.deaths import DEATHS, dead_ranks
from faults.record.status_board import NO_RANK
from faults.recover.survivors.requests import Note, NotedRequest, renamed
from faults.recover.survivors.tag_ranges import BITS

_ANY: int = MPI.ANY_SOURCE
_ANY_TAG: int = MPI.ANY_TAG


class SurvivorMessages:
    """Sends and receives of a communicator of survivors; `SurvivorComm` adds the rest.

    Attributes
    ----------
    parent : the communicator that carries the messages
    members : its rank of each rank
    note : called with a rank of the parent before waiting for it, with `NO_RANK` after
    """

    parent: MPI.Intracomm
    members: Any
    note: Note
    _ranks: dict[int, int]
    _size: int
    _part: int
    _first_tag: int
    _members: MPI.Group | None

    # -- ranks and tags of the parent
    def member(self, rank: int) -> int:
        """The parent's rank of one of these ranks; ANY_SOURCE and PROC_NULL stay as they are."""
        try:
            return self.members[rank] if rank >= 0 else rank
        except IndexError:
            raise MPI.Exception(MPI.ERR_RANK) from None

    def tag(self, tag: int) -> int:
        """The parent's tag of one of these tags."""
        if not self._part:
            return tag
        if 0 <= tag < 1 << BITS:
            return self._first_tag + tag
        raise UsageError(
            f"a communicator made from job.comm takes tags from 0 to {(1 << BITS) - 1}, got "
            f"{'ANY_TAG' if tag == _ANY_TAG else tag}: name the tag, or use job.comm itself"
        )

    def rename(self, status: MPI.Status | None) -> None:
        """Translate a status of the parent into this communicator's ranks and tags."""
        if status is not None and status.Get_source() in self._ranks:
            status.Set_source(self._ranks[status.Get_source()])
            status.Set_tag(status.Get_tag() - self._first_tag)

    def rank_of_member(self, member: int) -> int:
        """The rank here of one of the parent's ranks."""
        return self._ranks.get(member, member)

    # -- failures
    def Revoke(self) -> None:
        self.parent.Revoke()

    def Ack_failed(self, num_to_ack: int | None = None) -> int:
        return self.parent.Ack_failed(num_to_ack)

    def Get_failed(self) -> MPI.Group:
        return self.parent.Get_failed()

    def Is_revoked(self) -> bool:
        return self.parent.Is_revoked()

    def failed(self) -> list[int]:
        """Ranks known to be dead; receives from any source go on without them."""
        self.parent.Ack_failed()
        if self._members is None:
            self._members = self.parent.Get_group()
        return [self._ranks[member] for member in dead_ranks(self.parent, self._members) if member in self._ranks]

    def _receive(self, source: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a receiving call, again if one from any source failed by the death of a process outside these ranks.

        MPI refuses any source on a communicator with a death that has not been acknowledged there.
        """
        refusals = 0
        while True:
            try:
                return call(*arguments)
            except MPI.Exception as error:
                refusals += 1
                strange = source == _ANY and error.Get_error_class() in DEATHS and not self.failed()
                if not strange or refusals > self.parent.Get_size():
                    raise

    def _wait(self, peer: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a blocking call that waits for a rank of the parent, noted for the watchdog."""
        self.note(peer)
        answer = call(*arguments)
        self.note(NO_RANK)
        return answer

    # -- sends and receives; those that differ in nothing but the parent's method are made below
    def Recv(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> None:
        member = self.member(source)
        self._wait(member, self._receive, source, self.parent.Recv, buf, member, self.tag(tag), status)
        self.rename(status)

    def recv(self, buf: Any = None, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> Any:
        member = self.member(source)
        found = self._wait(member, self._receive, source, self.parent.recv, buf, member, self.tag(tag), status)
        self.rename(status)
        return found

    def Sendrecv(
        self, sendbuf: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG, status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        self._exchange(self.parent.Sendrecv, sendbuf, dest, sendtag, recvbuf, source, recvtag, status)

    def sendrecv(
        self, sendobj: Any, dest: int, sendtag: int = 0, recvbuf: Any = None, source: int = _ANY,
        recvtag: int = _ANY_TAG, status: MPI.Status | None = None,
    ) -> Any:  # fmt: skip
        return self._exchange(self.parent.sendrecv, sendobj, dest, sendtag, recvbuf, source, recvtag, status)

    def _exchange(
        self, call: Any, given: Any, dest: int, sendtag: int, into: Any, source: int, recvtag: int,
        status: MPI.Status | None,
    ) -> Any:  # fmt: skip
        to, member = self.member(dest), self.member(source)
        found = self._wait(member, call, given, to, self.tag(sendtag), into, member, self.tag(recvtag), status)
        self.rename(status)
        return found

    def Sendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY, recvtag: int = _ANY_TAG,
        status: MPI.Status | None = None,
    ) -> None:  # fmt: skip
        to, member = self.member(dest), self.member(source)
        self._wait(member, self.parent.Sendrecv_replace, buf, to, self.tag(sendtag), member, self.tag(recvtag), status)
        self.rename(status)

    def Probe(self, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> Any:
        member = self.member(source)
        answer = self._wait(member, self._receive, source, self.parent.Probe, member, self.tag(tag), status)
        self.rename(status)
        return answer

    def Iprobe(self, source: int = _ANY, tag: int = _ANY_TAG, status: MPI.Status | None = None) -> bool:
        found: bool = self._receive(source, self.parent.Iprobe, self.member(source), self.tag(tag), status)
        self.rename(status if found else None)
        return found

    probe, iprobe = Probe, Iprobe

    def Irecv(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Request:
        return self._receiving(self.parent.Irecv, buf, source, tag)

    def irecv(self, buf: Any = None, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Request:
        return self._receiving(self.parent.irecv, buf, source, tag)

    def Recv_init(self, buf: Any, source: int = _ANY, tag: int = _ANY_TAG) -> MPI.Prequest:
        return self._receiving(self.parent.Recv_init, buf, source, tag)

    def _receiving(self, call: Callable[..., Any], buf: Any, source: int, tag: int) -> Any:
        """Make a request whose status gives this communicator's ranks."""
        member = self.member(source)
        request = call(buf, member, self.tag(tag))
        same = not self._part and self.members[-1] == self._size - 1
        return self._noted(request, member) if same else renamed(request, self, member)

    def _noted(self, request: MPI.Request, member: int) -> MPI.Request:
        if type(request) is not MPI.Prequest or self.note is ignore:
            return request  # an emulated one has its own ways of waiting
        return NotedRequest(request, member, self.note)


def ignore(rank: int) -> None:
    """Do nothing: no watchdog reads whom this rank waits for."""


def _sending(name: str) -> Any:
    """Make the send of this name, which blocks until the parent's returns."""

    def method(self: SurvivorMessages, buf: Any, dest: int, tag: int = 0) -> None:
        member = self.member(dest)
        self._wait(member, getattr(self.parent, name), buf, member, self.tag(tag))

    return named_as_in_mpi4py(name, method)


def _starting(name: str) -> Any:
    """Make the send of this name that returns the parent's request."""

    def method(self: SurvivorMessages, buf: Any, dest: int, tag: int = 0) -> Any:
        member = self.member(dest)
        return self._noted(getattr(self.parent, name)(buf, member, self.tag(tag)), member)

    return named_as_in_mpi4py(name, method)


_SENDS = "Send Ssend Bsend Rsend send ssend bsend"
_STARTS = "Isend Issend Ibsend Irsend isend issend ibsend Send_init Ssend_init Bsend_init Rsend_init"
for _names, _make in ((_SENDS, _sending), (_STARTS, _starting)):
    for _name in _names.split():
        setattr(SurvivorMessages, _name, _make(_name))
