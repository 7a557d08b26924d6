"""A communicator of those at work, without building one: ranks are looked up in a table.

    program's rank   0   1   2   3   4   5   6         (7 survivors)
    lane's rank      0   1   2   4   5   6   7         (3 is dead)

`View` is a `MPI.Intracomm` over the lane in use: `Send(buffer, 3)` goes to base rank 4. Every blocking call notes on
the board whom it waits for, so that a watchdog can say who waited for whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mpi4py import MPI

from emulator import carrier
from emulator.carrier import Carrier
from faults.agree.consensus import dead_ranks
from faults.record.status_board import NOBODY

Note = Callable[[int], None]
_DEATHS = [getattr(MPI, name) for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING") if hasattr(MPI, name)]


class View(MPI.Intracomm):
    """The processes `table[0], table[1], ...` of `lane`, as ranks 0, 1, ...

    It carries point-to-point messages, from which the algorithms of `primitives` are made. Messages of
    any source report the sender's rank in the view.

    Parameters
    ----------
    lane
        A communicator over all processes, bare or emulated.
    table
        Lane rank of each of the view's ranks.
    note
        Called with a lane rank before waiting for it, with `NOBODY` after.
    """

    def __new__(cls, lane: MPI.Intracomm, table: Sequence[int], note: Note | None = None) -> View:
        return super().__new__(cls, lane)

    def __init__(self, lane: MPI.Intracomm, table: Sequence[int], note: Note | None = None) -> None:
        self.lane, self.table = lane, list(table)
        self._index = {base: place for place, base in enumerate(self.table)}
        self._rank = self._index.get(lane.Get_rank(), MPI.UNDEFINED)
        self._note = note or _ignore
        self._everybody: MPI.Group | None = None
        self.carrier = _ViewCarrier(self)

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return len(self.table)

    rank = property(Get_rank)
    size = property(Get_size)

    def _base(self, rank: int) -> int:
        return self.table[rank] if rank >= 0 else rank  # ANY_SOURCE and PROC_NULL stay what they are

    def _name_source(self, status: MPI.Status | None) -> None:
        if status is not None and status.Get_source() in self._index:
            status.Set_source(self._index[status.Get_source()])

    def failed(self) -> list[int]:
        """Ranks of the view that are known to be dead; receives from any source go on without them."""
        self.lane.Ack_failed()
        if self._everybody is None:
            self._everybody = self.lane.Get_group()
        return [self._index[base] for base in dead_ranks(self.lane, self._everybody) if base in self._index]

    def _from(self, source: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call it; a message from anybody is not denied because somebody is dead who is not of this view.

        MPI refuses any source on a lane with a death that has not been acknowledged there.
        """
        refusals = 0
        while True:
            try:
                return call(*arguments)
            except MPI.Exception as error:
                refusals += 1
                strange = source == MPI.ANY_SOURCE and error.Get_error_class() in _DEATHS and not self.failed()
                if not strange or refusals > self.lane.Get_size():
                    raise

    # -- blocking ----------------------------------------------------------------------------------
    def Send(self, buf: Any, dest: int, tag: int = 0) -> None:
        base = self._base(dest)
        self._note(base)
        self.lane.Send(buf, base, tag)
        self._note(NOBODY)

    def Ssend(self, buf: Any, dest: int, tag: int = 0) -> None:
        base = self._base(dest)
        self._note(base)
        self.lane.Ssend(buf, base, tag)
        self._note(NOBODY)

    def Recv(
        self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None
    ) -> None:
        base = self._base(source)
        self._note(base)
        self._from(source, self.lane.Recv, buf, base, tag, status)
        self._note(NOBODY)
        self._name_source(status)

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
        base = self._base(source)
        self._note(base)
        self.lane.Sendrecv(sendbuf, self._base(dest), sendtag, recvbuf, base, recvtag, status)
        self._note(NOBODY)
        self._name_source(status)

    def Probe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None) -> Any:
        base = self._base(source)
        self._note(base)
        answer = self._from(source, self.lane.Probe, base, tag, status)
        self._note(NOBODY)
        self._name_source(status)
        return answer

    # -- not blocking ------------------------------------------------------------------------------
    def Isend(self, buf: Any, dest: int, tag: int = 0) -> MPI.Request:
        return self.lane.Isend(buf, self._base(dest), tag)

    def Irecv(self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> MPI.Request:
        return self.lane.Irecv(buf, self._base(source), tag)

    def Iprobe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: MPI.Status | None = None) -> bool:
        found: bool = self._from(source, self.lane.Iprobe, self._base(source), tag, status)
        self._name_source(status if found else None)
        return found

    def Send_init(self, buf: Any, dest: int, tag: int = 0) -> MPI.Prequest:
        return self._noted(self.lane.Send_init(buf, self._base(dest), tag), dest)

    def Recv_init(self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> MPI.Prequest:
        return self._noted(self.lane.Recv_init(buf, self._base(source), tag), source)

    def _noted(self, request: MPI.Prequest, rank: int) -> MPI.Prequest:
        if type(request) is not MPI.Prequest or self._note is _ignore:
            return request  # an emulated one has its own ways of waiting
        return _Noted(request, self._base(rank), self._note)


class _Noted(MPI.Prequest):
    """A persistent request that says whom it waits for."""

    def __new__(cls, request: MPI.Prequest, base: int, note: Note) -> _Noted:
        return super().__new__(cls, request)

    def __init__(self, request: MPI.Prequest, base: int, note: Note) -> None:
        self._peer, self._note = base, note

    def Wait(self, status: MPI.Status | None = None) -> Any:
        self._note(self._peer)
        super().Wait(status)
        self._note(NOBODY)
        return True


def _ignore(rank: int) -> None:
    """Nobody watches."""


class _ViewCarrier(Carrier):
    """The lane's carrier, with the view's ranks."""

    def __init__(self, view: View) -> None:
        self._lane = carrier.of(view.lane)
        super().__init__(view, self._lane.instruments)
        self.timed = self._lane.timed

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        return self._lane.ordered

    def now(self) -> float:
        return self._lane.now()

    def compute(self, seconds: float) -> None:
        self._lane.compute(seconds)

    def advance(self, t: float) -> None:
        self._lane.advance(t)

    def arrivals(self, sources: Iterable[int], tag: int) -> dict[int, float]:
        table = self.comm.table
        by_rank = {table[source]: source for source in sources}
        return {by_rank[base]: due for base, due in self._lane.arrivals(by_rank, tag).items()}

    def all_sent(self, sources: Sequence[int], tag: int) -> list[Any]:
        return self._lane.all_sent([self.comm.table[source] for source in sources], tag)

    def all_matched(self, receives: Sequence[Any]) -> list[Any]:
        return self._lane.all_matched(receives)

    def terms(self) -> tuple[float, float] | None:
        return self._lane.terms()
