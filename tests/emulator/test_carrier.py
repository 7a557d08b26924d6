"""Arrivals can be known before anything is received, and without time passing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from mpi4py import MPI

import emulator
from emulator import carrier, sim
from emulator.core.wall_clock import wait_until
from emulator.errors import UsageError
from tests.ranks import on_ranks

ALPHA, BETA = 20e-6, 8 / 9.41e9  # the preset 10gbe
SIZE = 10_000


@on_ranks(3, net="10gbe", emulation={"pace": "none"})
def test_arrivals_in_emulated_time(comm: Any) -> None:
    """Two messages queue at the receiver's card; neither look nor wait moves its clock, the receives do."""
    comm.align()
    start, rank = comm.now(), comm.Get_rank()
    assert carrier.of(comm).ordered
    if rank:
        emulator.compute(comm, 1e-3 if rank == 1 else 1e-3 + 2e-6)  # the second arrives while the first is taken in
        comm.Send(bytearray(SIZE), 0, tag=5)
        return
    assert wait_until(lambda: len(carrier.of(comm).arrivals([1, 2], 5)) == 2, timeout=30)
    there = carrier.of(comm).arrivals([1, 2], 5)
    assert comm.now() == start
    first = 1e-3 + ALPHA + SIZE * BETA
    assert there[1] - start == pytest.approx(first)
    assert there[2] - start == pytest.approx(first + SIZE * BETA)
    assert carrier.of(comm).arrivals([1, 2], 6) == {}
    for source in (1, 2):
        comm.Recv(bytearray(SIZE), source, tag=5)
        assert comm.now() == there[source]
    carrier.of(comm).advance(there[1])
    assert comm.now() == there[2]
    carrier.of(comm).advance(there[2] + 1.0)
    assert comm.now() == there[2] + 1.0


@on_ranks(2)
def test_a_bare_communicator_is_not_unpaced(comm: Any) -> None:
    assert not carrier.of(comm).ordered


@on_ranks(2, net="10gbe", emulation={"pace": 2.0})
def test_a_paced_one_is_not_either(comm: Any) -> None:
    assert not carrier.of(comm).ordered


@on_ranks(3, net="10gbe", emulation={"pace": "none"})
def test_the_earliest_is_the_first_in_emulated_time(comm: Any) -> None:
    """Rank 1's message is physically here first and arrives last; a deadline before both comes as soon as certain."""
    start = comm.align()
    mine = carrier.of(comm)
    if comm.Get_rank():
        if comm.Get_rank() == 2:
            comm.Recv(bytearray(1), 0, tag=6)
        emulator.compute(comm, 2e-3 if comm.Get_rank() == 1 else start + 1e-3 - comm.now())
        comm.Send(bytearray(8), 0, tag=5)
        return
    assert mine.wait_until(lambda: bool(mine.arrivals([1], 5)))
    assert mine.earliest([1, 2], 5, patience_s=0) is None  # rank 2 owes one: nobody can tell
    comm.Isend(bytearray(1), 2, tag=6)
    assert mine.earliest([1, 2], 5, until=start + 0.5e-3) is None
    assert comm.now() == start + 0.5e-3
    for source in (2, 1):
        assert mine.earliest([1, 2], 5, owing=[1, 2] if source == 2 else [1]) == source
        comm.Recv(bytearray(8), source, tag=5)


@on_ranks(3, net="10gbe", emulation={"pace": "none"})
def test_who_is_silent_is_not_waited_for_for_ever(comm: Any) -> None:
    if comm.Get_rank() == 1:
        comm.Send(bytearray(8), 0, tag=5)
    if comm.Get_rank() == 0:
        silence = carrier.Silence(0.02)
        assert carrier.of(comm).earliest([1, 2], 5, silence=silence) == 1
        assert silence.sources == {2}
        comm.Recv(bytearray(8), 1, tag=5)
        assert carrier.of(comm).earliest([1, 2], 5, until=comm.now() + 1, silence=silence) is None
        comm.Send(bytearray(8), 2, tag=6)
        assert carrier.of(comm).earliest([2], 5, silence=silence, owing=[2]) == 2
        assert silence.sources <= {1}
        comm.Recv(bytearray(8), 2, tag=5)
    if comm.Get_rank() == 2:
        comm.Recv(bytearray(8), 0, tag=6)
        comm.Send(bytearray(8), 0, tag=5)


@on_ranks(3)
def test_on_mpi_itself_the_earliest_is_what_is_delivered(comm: Any) -> None:
    mine = carrier.of(comm)
    if comm.Get_rank() == 2:
        comm.Send(bytearray(8), 0, tag=5)
    if comm.Get_rank() == 0:
        assert mine.earliest([1, 2], 5) == 2
        assert mine.earliest([MPI.ANY_SOURCE], 5) == 2
        comm.Recv(bytearray(8), 2, tag=5)
        assert mine.earliest([1, 2], 5, until=mine.now() + 1e-3) is None
        assert mine.earliest([1, 2], 5, patience_s=0) is None


class Counted:
    """What an algorithm keeps on a carrier."""

    freed = 0

    def free(self) -> None:
        self.freed += 1


def check_bare(comm: MPI.Intracomm) -> None:
    """One object per communicator; duplicates inherit the instruments and nothing else; all goes with Free."""
    mine = carrier.of(comm)
    assert carrier.of(comm) is mine
    assert carrier.of(MPI.Intracomm(comm)) is mine  # another object for the same communicator
    copy = comm.Dup()
    copied = carrier.of(copy)
    assert copied is not mine
    assert copied.instruments is mine.instruments
    assert copied.state is not mine.state
    part = comm.Split(0)
    assert carrier.of(part).instruments is not mine.instruments
    kept = copied.state["kept"] = Counted()
    copy.Free()
    assert kept.freed == 1
    again = comm.Dup()  # which may get the handle of the one that was freed
    assert carrier.of(again).state == {}
    for freed in (again, part):
        freed.Free()
        with pytest.raises(UsageError, match="COMM_NULL"):
            carrier.of(freed)
    cart = comm.Create_cart([comm.size])
    assert carrier.of(cart) is carrier.of(cart)
    cart.Free()
    before = mine.now()
    mine.compute(1e-3)
    assert mine.now() - before >= 1e-3
    assert mine.align() <= mine.now()
    assert not mine.timed
    assert mine.terms() is None
    assert mine.wait_until(lambda: True)
    assert not mine.wait_until(lambda: False, deadline=mine.now())
    assert not mine.wait_until(lambda: False, patience_s=0.0)


@on_ranks(1)
def test_bare_alone(comm: Any) -> None:
    check_bare(comm)


@on_ranks(3)
def test_bare_together(comm: Any) -> None:
    check_bare(comm)


class Own(MPI.Intracomm):
    """A communicator of a class written in Python, such as other libraries bring."""


@on_ranks(1)
def test_a_subclass_in_python(comm: Any) -> None:
    """Its calls go through the object, not past it; the instruments are those of the communicator behind it."""
    one, other = Own(comm), Own(comm)
    assert carrier.of(one) is carrier.of(one)
    assert carrier.of(one) is not carrier.of(other)
    assert carrier.of(one).comm is one
    assert carrier.of(one).instruments is carrier.of(comm).instruments
    copy = one.Dup()
    assert carrier.of(copy).instruments is carrier.of(comm).instruments
    copy.Free()


@on_ranks(1)
def test_what_is_no_communicator_is_refused_in_one_line(comm: Any) -> None:
    for wrong in (None, 3, "world", MPI.COMM_NULL, Own(MPI.COMM_NULL), MPI.REQUEST_NULL):
        with pytest.raises(UsageError) as caught:
            carrier.of(wrong)
        assert "a communicator is needed" in str(caught.value)
        assert "\n" not in str(caught.value)


class Listener(carrier.Instrument):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def phase(self, name: str, **info: object) -> None:
        self.heard.append(("phase", name))

    def sent(self, *event: Any) -> None:
        self.heard.append(("sent", *event[:4]))

    def arrived(self, *event: Any) -> None:
        self.heard.append(("arrived", *event[:4]))

    def completed(self, *event: Any) -> None:
        self.heard.append(("completed", *event[:4]))


@on_ranks(3, net="10gbe", emulation={"pace": "none"})
def test_instruments_of_an_emulated_communicator(comm: Any) -> None:
    """Two listen at once, to every communicator of the cluster; a message is told once, by the ranks of the world."""
    mine = carrier.of(comm)
    assert mine is carrier.of(comm)
    backwards = comm.Split(0, -comm.rank)
    assert carrier.of(backwards) is not mine
    assert carrier.of(backwards).instruments is mine.instruments
    listeners = [Listener(), Listener()]
    mine.instruments += listeners
    box = bytearray(200_000 if comm.rank else 5)
    if comm.rank == 0:
        backwards.Send(box, 0, tag=4)  # to the last rank of the world
    elif comm.rank == 2:
        request = backwards.Irecv(box, 2, tag=4)
        request.Wait()
    carrier.of(backwards).phase("together")
    del mine.instruments[:]
    expected = {0: [("sent", 0, 2, 4, 5)], 2: [("arrived", 0, 2, 4, 5), ("completed", 0, 2, 4, 5)]}
    for listener in listeners:
        assert listener.heard == [*expected.get(comm.rank, []), ("phase", "together")]
    backwards.Free()


@on_ranks(3, net="10gbe", emulation={"pace": "none"})
def test_an_emulated_carrier_goes_with_its_communicator(comm: Any) -> None:
    copy = comm.Dup()
    kept = carrier.of(copy).state["kept"] = Counted()
    assert copy.members is comm.members
    copy.Free()
    assert kept.freed == 1
    assert carrier.of(comm).terms() == (20e-6, pytest.approx(BETA))


@on_ranks(2, net="10gbe", emulation={"pace": 2.0})
def test_time_passes_for_whoever_waits_on_a_paced_network(comm: Any) -> None:
    """Even if what it waits for asks the communicator nothing."""
    mine = carrier.of(comm)
    deadline = comm.align() + 1e-3
    assert not mine.wait_until(lambda: False, deadline)
    assert mine.now() >= deadline


@pytest.mark.parametrize("seconds", [-1e-9, math.nan])
def test_a_time_of_computing_is_a_number_and_not_negative(seconds: float) -> None:
    def program(comm: Any) -> None:
        with pytest.raises(UsageError, match="compute takes seconds >= 0"):
            comm.compute(seconds)

    sim.run(program, 1, "10gbe")
    with pytest.raises(UsageError, match="compute takes seconds >= 0"):
        carrier.of(MPI.COMM_SELF).compute(seconds)
