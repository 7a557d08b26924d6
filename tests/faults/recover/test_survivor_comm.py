"""The survivors' communicator answers what its parent answers, in the survivors' ranks, before and after a death."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator import carrier, sim
from emulator.carrier import Carrier, Instrument
from emulator.comm.communicator import EmulatedComm
from emulator.core.wall_clock import wait_until
from emulator.launch import mpirun
from emulator.launch.job import start
from emulator.sim.communicator import SimulatedComm
from emulator.trace import traced_mpi
from faults.record.status_board import NO_RANK
from faults.recover.checked_messages import CheckedComm, MessageSums
from faults.recover.survivors.communicator import SurvivorComm
from primitives.inbox import Inbox
from tests.ranks import on_ranks

MEMBERS = [1, 2, 4]  # of a parent of five, of which this process is rank 2


class Recorder(Carrier):
    """Notes each call, and answers something that can be recognised."""

    timed, ordered = True, True

    def __init__(self, comm: MPI.Comm) -> None:
        super().__init__(comm)
        self.instruments.append(Heard())
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, arguments))

    def now(self) -> float:
        return 7.0

    def compute(self, seconds: float) -> None:
        self.note("compute", seconds)

    def align(self, ranks: Any = None) -> float:
        self.note("align", ranks)
        return 8.0

    def advance(self, t: float) -> None:
        self.note("advance", t)

    def note_waits_on(self, board: Any) -> None:
        self.note("note_waits_on", board)

    def wait_until(self, ready: Any, *patience: float) -> bool:
        self.note("wait_until", *patience)
        return bool(ready())

    def arrivals(self, sources: Any, tag: int) -> dict[int, float]:
        self.note("arrivals", list(sources), tag)
        return {4: 9.0, 1: 9.5}

    def all_sent(self, sources: Any, tag: int) -> list[Any]:
        self.note("all_sent", list(sources), tag)
        return []

    def all_matched(self, receives: Any) -> list[Any]:
        self.note("all_matched", *receives)
        return []

    def terms(self) -> tuple[float, float]:
        return 1e-3, 1e-9


class Heard(Instrument):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def phase(self, name: str, **info: object) -> None:
        self.heard.append(name)

    def fault(self, kind: str, **info: object) -> None:
        self.heard.append(kind)


class Parent(MPI.Intracomm):
    """Rank 2 of five."""

    carrier: Recorder

    def Get_rank(self) -> int:
        return 2

    def Get_size(self) -> int:
        return 5


@pytest.fixture
def survivors() -> SurvivorComm:
    parent = Parent(MPI.COMM_SELF)
    parent.carrier = Recorder(parent)
    return SurvivorComm(parent, MEMBERS, note=lambda rank: parent.carrier.note("waits for", rank))


def asked(survivors: SurvivorComm, *names: str) -> list[tuple[str, tuple[Any, ...]]]:
    return [call for call in survivors.parent.carrier.calls if call[0] in names]  # type: ignore[attr-defined]


INHERITED = {"phase", "fault", "free", "run", "comm", "instruments", "state", "wait_for_all", "earliest", "nap_s"}
"""What `Carrier` itself makes of the other members, for any communicator; `run`: no collective in lockstep."""


def test_every_member_of_a_carrier_is_answered_for_the_survivors(survivors: SurvivorComm) -> None:
    mine, members = carrier.of(survivors), {name for name, _ in inspect.getmembers(Carrier) if name[0] != "_"}
    members |= {name for name in vars(Carrier(MPI.COMM_SELF)) if name[0] != "_"}
    own = set(vars(type(mine))) | set(vars(mine))
    assert members - own == INHERITED - vars(mine).keys()
    assert mine is survivors.carrier
    assert mine.comm is survivors


@pytest.mark.parametrize("kind", [SurvivorComm, CheckedComm, traced_mpi.TracedComm, EmulatedComm, SimulatedComm])
def test_parameters_have_the_names_of_mpi4py(kind: type[MPI.Comm]) -> None:
    """Programs write ``comm.send(obj=..., dest=...)``."""
    for name in dir(MPI.Intracomm):
        original, own = getattr(MPI.Intracomm, name), getattr(kind, name)
        refused = inspect.isfunction(getattr(original, "__func__", original))  # for good, by an earlier test
        if name[0] == "_" or own is original or not callable(own) or refused:
            continue
        mine = inspect.signature(own, follow_wrapped=False).parameters
        if all(one.kind is not one.VAR_KEYWORD for one in mine.values()):
            assert inspect.signature(original).parameters.keys() <= mine.keys(), name


@pytest.mark.parametrize("p", [4, 32])
def test_an_inbox_looks_once_for_all_survivors(p: int) -> None:
    """As it does outside of a recovering job, where the carrier finds the first message of any source."""
    looks: list[int] = []

    class Counted(SurvivorComm):
        def Iprobe(self, *arguments: Any) -> bool:
            looks.append(1)
            return super().Iprobe(*arguments)

    def program(comm: Any) -> None:
        mine = Counted(comm, range(p))
        if comm.rank:
            mine.Send(np.array([float(comm.rank)]), 0, 5)
            return
        assert Inbox(mine, 5, range(1, p), ordered=False).poll() is None  # nothing is there yet
        assert len(looks) == 1
        for _ in range(1, p):
            mine.Recv(np.empty(1), MPI.ANY_SOURCE, 5)

    sim.run(program, p, "10gbe")


def test_time_terms_and_instruments_are_the_parents(survivors: SurvivorComm) -> None:
    mine, parents = carrier.of(survivors), carrier.of(survivors.parent)
    assert (mine.timed, mine.ordered, mine.now(), mine.terms()) == (True, True, 7.0, (1e-3, 1e-9))
    mine.compute(0.5)
    mine.advance(0.25)
    mine.all_matched(["a", "b"])
    board: Any = object()
    mine.note_waits_on(board)
    assert parents.calls == [  # type: ignore[attr-defined]
        ("compute", (0.5,)),
        ("advance", (0.25,)),
        ("all_matched", ("a", "b")),
        ("note_waits_on", (board,)),
    ]
    mine.phase("all_gather")
    mine.fault("kill")
    assert mine.instruments is parents.instruments
    assert parents.instruments[0].heard == ["all_gather", "kill"]  # type: ignore[attr-defined]
    assert mine.state is not parents.state


def test_sources_are_the_survivors_ranks(survivors: SurvivorComm) -> None:
    mine = carrier.of(survivors)
    assert mine.arrivals([2, 0, 1], 5) == {2: 9.0, 0: 9.5}
    mine.all_sent([0, 2], 5)
    mine.wait_for_all([0, 1], 6)
    assert asked(survivors, "arrivals", "all_sent") == [
        ("arrivals", ([4, 1, 2], 5)), ("all_sent", ([1, 4], 5)), ("all_sent", ([1, 2], 6))
    ]  # fmt: skip


def test_only_the_living_are_aligned(survivors: SurvivorComm) -> None:
    mine = carrier.of(survivors)
    assert (mine.align(), mine.align([0, 2])) == (8.0, 8.0)
    assert asked(survivors, "align") == [("align", ([1, 2, 4],)), ("align", ([1, 4],))]


def test_who_is_waited_for_is_noted(survivors: SurvivorComm) -> None:
    mine = carrier.of(survivors)
    assert not mine.wait_until(lambda: len(mine.arrivals([0, 1, 2], 5)) == 3, 1.0, 2.0, 3.0)
    assert asked(survivors, "waits for", "wait_until") == [
        ("waits for", (2,)), ("wait_until", (1.0, 2.0, 3.0)), ("waits for", (NO_RANK,))
    ]  # fmt: skip


PARENTS: dict[str, Any] = {
    "bare": lambda comm: comm,
    "traced": traced_mpi.traced,
    "checked": lambda comm: CheckedComm(comm, MessageSums(comm.Get_size())),
    "emulated": lambda comm: emulator.emulate(comm, "1gbe"),
}
COMPLETED: dict[str, Any] = {
    "Wait": lambda request, status: request.Wait(status),
    "Test": lambda request, status: wait_until(lambda: request.Test(status)),
    "Waitall": lambda request, status: MPI.Request.Waitall([request], [status]),
    "Waitany": lambda request, status: MPI.Request.Waitany([request], status),
    "Waitsome": lambda request, status: MPI.Request.Waitsome([request], [status]),
}


@on_ranks(3, kind=list(PARENTS), persistent=[False, True])
def test_a_status_gives_the_survivors_rank_however_a_receive_is_completed(
    comm: Any, kind: str, persistent: bool
) -> None:
    parent = PARENTS[kind](comm)
    if comm.Get_rank() == 1:
        return  # the one that is dead
    survivors = SurvivorComm(parent, [0, 2])
    for tag, complete in enumerate(COMPLETED.values()):
        if survivors.Get_rank() == 1:
            survivors.Send(np.full(1, tag), 0, tag)
            continue
        box, status = np.zeros(1, int), MPI.Status()
        if persistent:
            request = survivors.Recv_init(box, MPI.ANY_SOURCE, tag)
            request.Start()
        else:
            request = survivors.Irecv(box, MPI.ANY_SOURCE, tag)
        complete(request, status)
        assert (status.Get_source(), status.Get_tag(), box[0]) == (1, tag, tag)


REAL = """
import json, os, signal, sys
import mpi4py
mpi4py.rc.finalize = False
import emulator
from mpi4py import MPI
from emulator import carrier
from faults.agree.survivor_group import SurvivorGroup
from faults.recover.survivors.communicator import SurvivorComm
from primitives.collectives.tuning import terms_of

DOOMED, TAG = 1, 5
comm = emulator.emulate(MPI.COMM_WORLD, "1gbe", pace="none", compute="none")
group = SurvivorGroup(comm)

def seen(comm, sources):
    '''What a receiver, rank 0, learns of messages that these ranks send 3 ms, 2 ms, ... later; who is last is first.'''
    mine = carrier.of(comm)
    if comm.rank in sources:
        mine.compute(1e-3 * (len(sources) - sources.index(comm.rank)))
        comm.Send(bytearray(1000 * (1 + sources.index(comm.rank))), 0, TAG)
    began, order = mine.now(), []
    if comm.rank == 0:
        mine.wait_for_all(sources, TAG)
        there = {source: due - began for source, due in mine.arrivals(sources, TAG).items()}
        while len(order) < len(sources):
            left = mine.arrivals([source for source in sources if source not in order], TAG)
            order.append(min(left, key=left.get))
            comm.Recv(bytearray(4000), order[-1], TAG)
        terms = terms_of(comm).alpha, terms_of(comm).beta
        return {"ordered": mine.ordered, "terms": terms, "arrivals": there, "order": order}

def compared(sources, members):
    '''The same on the emulated communicator and on that of the survivors, in the emulated one's ranks.'''
    survivors = SurvivorComm(group.work_comm, members)
    ranks = {member: rank for rank, member in enumerate(members)}
    found = []
    for one, names in ((group.work_comm, {m: m for m in members}), (survivors, ranks)):
        t = carrier.of(survivors).align()
        assert t == one.carrier.now()
        of = seen(one, [names[source] for source in sources])
        if of:
            back = {rank: member for member, rank in names.items()}
            of["arrivals"] = {back[source]: round(due, 12) for source, due in of["arrivals"].items()}
            of["order"] = [back[source] for source in of["order"]]
        found.append(of)
    return found

report = [compared([1, 2, 3], [0, 1, 2, 3])]
if comm.rank == DOOMED:
    os.kill(os.getpid(), signal.SIGKILL)
decision = group.agree(False)
while len(decision.alive) == 4:
    decision = group.agree(False)
group.advance(decision)
report.append(compared([2, 3], [0, 2, 3]))
if comm.rank == 0:
    with open(sys.argv[1], "w") as file:
        json.dump(report, file)
group.agree(True)
os._exit(0)
"""


@pytest.mark.skipif(not mpirun.find_mpi().ulfm, reason="kills within a job need an MPI with ULFM")
def test_ordered_receiving_and_terms_are_the_same_as_on_the_emulated_network_itself(tmp_path) -> None:
    report = tmp_path / "report.json"
    with start(mpirun.command(4, ["-c", REAL, str(report)], ft=True)) as job:
        job.wait(60)
    for (emulated, survivors), order in zip(json.loads(report.read_text()), ([3, 2, 1], [3, 2]), strict=True):
        assert survivors == emulated
        assert emulated["ordered"] is True
        assert emulated["order"] == order
    assert job.leftovers() == []
