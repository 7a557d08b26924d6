"""Ranks that wait for a message sleep until its sender wakes them; no message stays unnoticed."""

from __future__ import annotations

import mmap
import threading
import time
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator.wire.wakeups import LINE, Wakeups
from tests.emulator.clusters import story
from tests.emulator.small_networks import plain
from tests.ranks import on_ranks

_FOR_EVER_S = 3600.0


def _lines(size: int = 2, cores: int = 2) -> list[Wakeups]:
    memory = mmap.mmap(-1, LINE * (1 + size))
    return [Wakeups(memory, LINE, rank, size, cores) for rank in range(size)]


def _marked(one: Wakeups) -> bool:
    return bool(one.marks[one.place])


def test_a_message_wakes_the_rank_that_sleeps() -> None:
    sender, receiver = _lines()
    receiver.marks[receiver.place] = 1
    asleep = threading.Thread(target=receiver.sleep, args=(_FOR_EVER_S,), daemon=True)
    asleep.start()
    sender.shipped(1)
    asleep.join(60.0)
    assert not asleep.is_alive()
    assert not _marked(receiver)


def test_a_message_before_the_sleep_is_not_missed() -> None:
    """A rank that has marked itself, and loses its core before it sleeps, does not sleep."""
    sender, receiver = _lines()
    receiver.marks[receiver.place] = 1
    sender.shipped(1)
    begin = time.monotonic()
    receiver.sleep(_FOR_EVER_S)
    assert time.monotonic() - begin < _FOR_EVER_S


def test_a_sleep_ends_without_a_message() -> None:
    begin = time.monotonic()
    _lines()[0].sleep(0.01)
    assert time.monotonic() - begin >= 0.01


@pytest.mark.parametrize("pays", ["sleep", "pay", "wake_all"])
def test_where_all_cores_are_busy_a_sender_wakes_others_when_it_sleeps(pays: str) -> None:
    sender, _, receiver = _lines(3, cores=2)
    receiver.marks[receiver.place] = 1
    sender.shipped(2)
    assert _marked(receiver)
    getattr(sender, pays)(*[0.0] * (pays == "sleep"))
    assert not _marked(receiver)


def test_where_a_core_is_idle_a_sender_wakes_others_at_once() -> None:
    sender, *others = _lines(3, cores=2)
    for one in others:
        one.marks[one.place] = 1
    sender.shipped(2)
    assert [_marked(one) for one in others] == [True, False]
    sender.shipped(1)
    assert [_marked(one) for one in others] == [True, False]


def test_many_receivers_are_not_kept_waiting() -> None:
    sender, *others = _lines(18, cores=1)
    for rank, one in enumerate(others, 1):
        one.marks[one.place] = 1
        sender.shipped(rank)
    assert [_marked(one) for one in others] == [False] * 16 + [True]


def _talk(world: Any) -> list[Any]:
    """Wait in every way that there is; a wake-up that is lost hangs."""
    p, rank = world.size, world.rank
    right, left = (rank + 1) % p, (rank - 1) % p
    out, into = np.arange(2.0) + rank, np.zeros(2)
    for _ in range(50):
        world.Sendrecv(out, right, 0, into, left, 0)
    found: list[Any] = [into.tolist(), story(world)]
    world.Send(out, right, 1)
    status = MPI.Status()
    world.Probe(MPI.ANY_SOURCE, 1, status)
    world.Recv(into, status.source, 1)
    requests = [world.Irecv(into, left, 2), world.Issend(out, right, 2)]
    MPI.Request.Waitany(requests)
    MPI.Request.Waitall(requests)
    long, room = np.full(1 << 18, float(rank)), np.zeros(1 << 18)
    world.Sendrecv(long, right, 3, room, left, 3)
    found.append(room[[0, -1]].tolist())
    found.append(world.allreduce(rank))
    world.engine.wakeups.pay()
    return found


@on_ranks(4, crowded=[False, True], pace=["none", 2])
def test_no_message_stays_unnoticed(comm: MPI.Intracomm, crowded: bool, pace: Any) -> None:
    """Ranks that wait for a message alone never look for it by themselves here."""
    worlds = [emulator.emulate(MPI.COMM_WORLD, plain(), pace=pace) for _ in range(2)]
    engine = worlds[1].engine
    engine._long_nap, engine._crowded, engine.wakeups._spare = _FOR_EVER_S, crowded, 3 if crowded else 0
    first, second = (_talk(world) for world in worlds)
    comm.Barrier()
    assert first[0] == second[0] == [float((comm.rank - 1) % 4), float((comm.rank - 1) % 4) + 1]
    assert first[2:] == second[2:] == [[float((comm.rank - 1) % 4)] * 2, 6]


@on_ranks(4)
def test_mpi_yields_after_a_wait_as_before(comm: MPI.Intracomm) -> None:
    """mpirun makes four ranks on two cores yield; a wait switches that off for its last look."""
    world = emulator.emulate(MPI.COMM_WORLD, plain())
    told: list[bool] = []
    world.engine._mpi_yields, world.engine._crowded = told.append, True
    for _ in range(20):
        world.sendrecv(1, world.rank ^ 1, source=world.rank ^ 1)
    comm.Barrier()
    assert told == [False, True] * (len(told) // 2)
    assert comm.allreduce(len(told)) > 0
