"""A communicator of the ranks at work, made without building one in MPI: its ranks are looked up in a list.

    program's rank   0   1   2   3   4   5   6         (7 survivors)
    parent's rank    0   1   2   4   5   6   7         (3 is dead)

`SurvivorComm` is an `MPI.Intracomm` over the communicator in use (its `parent`, bare or emulated): `Send(buffer, 3)`
goes to the parent's rank 4. Every blocking call notes on the status board which rank it waits for, so that a watchdog
can say who waited for whom. `SurvivorCarrier` answers `emulator.carrier.of` for it: the parent's clock, ordered
receive, terms and instruments, in the survivors' ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mpi4py import MPI

from emulator import carrier
from emulator.carrier import LONGEST_NAP_S, Carrier
from faults.agree.survivor_group import dead_ranks
from faults.record.status_board import NO_RANK

Note = Callable[[int], None]
_DEATHS = [getattr(MPI, name) for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING") if hasattr(MPI, name)]


class SurvivorComm(MPI.Intracomm):
    """The processes `members[0], members[1], ...` of `parent`, as ranks 0, 1, ...

    It carries point-to-point messages, from which the algorithms of `primitives` are made. Messages received from any
    source report the sender's rank among the survivors.

    Parameters
    ----------
    parent
        A communicator over all processes, bare or emulated.
    members
        The parent's rank of each rank.
    note
        Called with a rank of the parent before waiting for it, with `NO_RANK` after.
    """

    def __new__(cls, parent: MPI.Intracomm, members: Sequence[int], note: Note | None = None) -> SurvivorComm:
        # An emulated communicator has no handle of MPI's own that could be shared, and refuses to be copied.
        return super().__new__(cls) if carrier.of(parent).timed else super().__new__(cls, parent)

    def __init__(self, parent: MPI.Intracomm, members: Sequence[int], note: Note | None = None) -> None:
        self.parent, self.members = parent, list(members)
        self._ranks = {member: rank for rank, member in enumerate(self.members)}
        self._rank = self._ranks.get(parent.Get_rank(), MPI.UNDEFINED)
        self.note = note or _ignore
        self._members: MPI.Group | None = None
        self.carrier = SurvivorCarrier(self)

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return len(self.members)

    rank = property(Get_rank)
    size = property(Get_size)

    def member(self, rank: int) -> int:
        """The parent's rank of a rank; ANY_SOURCE and PROC_NULL stay what they are."""
        return self.members[rank] if rank >= 0 else rank

    def _rename_source(self, status: MPI.Status | None) -> None:
        if status is not None and status.Get_source() in self._ranks:
            status.Set_source(self._ranks[status.Get_source()])

    def failed(self) -> list[int]:
        """Ranks that are known to be dead; receives from any source go on without them."""
        self.parent.Ack_failed()
        if self._members is None:
            self._members = self.parent.Get_group()
        return [self._ranks[member] for member in dead_ranks(self.parent, self._members) if member in self._ranks]

    def _receive(self, source: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a receiving call; one from any source goes on when a process died that is none of these ranks.

        MPI refuses any source on a communicator with a death that has not been acknowledged there.
        """
        refusals = 0
        while True:
            try:
                return call(*arguments)
            except MPI.Exception as error:
                refusals += 1
                strange = source == MPI.ANY_SOURCE and error.Get_error_class() in _DEATHS and not self.failed()
                if not strange or refusals > self.parent.Get_size():
                    raise

    def _wait(self, peer: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a blocking call that waits for a rank of the parent."""
        self.note(peer)
        answer = call(*arguments)
        self.note(NO_RANK)
        return answer

    # -- blocking ----------------------------------------------------------------------------------
    def Send(self, buf: Any, dest: int, tag: int = 0) -> None:
        member = self.member(dest)
        self._wait(member, self.parent.Send, buf, member, tag)

    def Ssend(self, buf: Any, dest: int, tag: int = 0) -> None:
        member = self.member(dest)
        self._wait(member, self.parent.Ssend, buf, member, tag)

    def Recv(
        self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None
    ) -> None:
        member = self.member(source)
        self._wait(member, self._receive, source, self.parent.Recv, buf, member, tag, status)
        self._rename_source(status)

    def Sendrecv(
        self,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> None:
        to, member = self.member(dest), self.member(source)
        self._wait(member, self.parent.Sendrecv, sendbuf, to, sendtag, recvbuf, member, recvtag, status)
        self._rename_source(status)

    def Probe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None) -> Any:
        member = self.member(source)
        answer = self._wait(member, self._receive, source, self.parent.Probe, member, tag, status)
        self._rename_source(status)
        return answer

    # -- not blocking ------------------------------------------------------------------------------
    def Isend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        return self.parent.Isend(buf, self.member(dest), tag)

    def Irecv(self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> MPI.Request:
        return self.parent.Irecv(buf, self.member(source), tag)

    def Iprobe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None) -> bool:
        found: bool = self._receive(source, self.parent.Iprobe, self.member(source), tag, status)
        self._rename_source(status if found else None)
        return found

    def Send_init(self, buf: Any, dest: int, tag: int = 0) -> MPI.Prequest:
        return self._noted(self.parent.Send_init(buf, self.member(dest), tag), dest)

    def Recv_init(self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> MPI.Prequest:
        return self._noted(self.parent.Recv_init(buf, self.member(source), tag), source)

    def _noted(self, request: MPI.Prequest, rank: int) -> MPI.Prequest:
        if type(request) is not MPI.Prequest or self.note is _ignore:
            return request  # an emulated one has its own ways of waiting
        return _NotedRequest(request, self.member(rank), self.note)


class _NotedRequest(MPI.Prequest):
    """A persistent request that notes which rank it waits for."""

    def __new__(cls, request: MPI.Prequest, peer: int, note: Note) -> _NotedRequest:
        return super().__new__(cls, request)

    def __init__(self, request: MPI.Prequest, peer: int, note: Note) -> None:
        self._peer, self._note = peer, note

    def Wait(self, status: MPI.Status | None = None) -> Any:
        self._note(self._peer)
        super().Wait(status)
        self._note(NO_RANK)
        return True


def _ignore(rank: int) -> None:
    """No watchdog reads it."""


class SurvivorCarrier(Carrier):
    """The parent's carrier, in the survivors' ranks; what algorithms keep per communicator is the survivors' own."""

    def __init__(self, comm: SurvivorComm) -> None:
        self._parents = carrier.of(comm.parent)
        super().__init__(comm, self._parents.instruments)
        self.timed = self._parents.timed
        self._missing = NO_RANK  # the first source of which `arrivals` last found nothing

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        return self._parents.ordered

    def now(self) -> float:
        return self._parents.now()

    def compute(self, seconds: float) -> None:
        self._parents.compute(seconds)

    def align(self, ranks: Sequence[int] | None = None) -> float:
        chosen = range(self.comm.Get_size()) if ranks is None else ranks
        return self._parents.align([self.comm.members[rank] for rank in chosen])

    def advance(self, t: float) -> None:
        self._parents.advance(t)

    def wait_until(
        self,
        ready: Callable[[], bool],
        deadline: float = math.inf,
        patience_s: float = math.inf,
        longest_s: float = LONGEST_NAP_S,
    ) -> bool:
        self._missing = NO_RANK
        if ready():
            return True
        self.comm.note(self._missing)
        came = self._parents.wait_until(ready, deadline, patience_s, longest_s)
        self.comm.note(NO_RANK)
        return came

    def idle(self) -> None:
        self._parents.idle()

    def fidelity(self) -> dict[str, Any] | None:
        """None: the figure is of all ranks together, and the dead cannot give theirs."""
        return None

    def arrivals(self, sources: Iterable[int], tag: int) -> dict[int, float]:
        ranks = {self.comm.members[source]: source for source in sources}
        found = {ranks[member]: due for member, due in self._parents.arrivals(ranks, tag).items()}
        self._missing = next((member for member, rank in ranks.items() if rank not in found), NO_RANK)
        return found

    def all_sent(self, sources: Sequence[int], tag: int) -> list[Any]:
        return self._parents.all_sent([self.comm.members[source] for source in sources], tag)

    def all_matched(self, receives: Sequence[Any]) -> list[Any]:
        return self._parents.all_matched(receives)

    def terms(self) -> tuple[float, float] | None:
        return self._parents.terms()
