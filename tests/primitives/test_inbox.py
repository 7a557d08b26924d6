"""A mailbox whose peers die: what they sent before is lost with them or taken, and nobody else's messages are."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator.carrier import Carrier
from primitives.mailbox import Mailbox
from primitives.peers import Peers
from tests.simulated import on_simulated_ranks


class Comm:
    """Just enough of a communicator of five to receive: what has arrived of each rank, and who is dead.

    As in Open MPI a message of a dead rank can still be probed, and to receive it fails.
    """

    def __init__(self, arrived: dict[int, list[float]], dead: set[int]) -> None:
        self.arrived = {rank: deque(values) for rank, values in arrived.items()}
        self.dead = dead
        self.carrier = Carrier(self)  # type: ignore[arg-type]

    def Get_size(self) -> int:
        return 5

    def Get_rank(self) -> int:
        return 0

    def Iprobe(self, rank: int, tag: int, status: Any) -> bool:
        if not self.arrived[rank] and rank in self.dead:
            raise MPI.Exception(MPI.ERR_PROC_FAILED)
        status.Set_elements(MPI.BYTE, 8)
        status.Set_source(rank)
        return bool(self.arrived[rank])

    def Recv(self, buffer: Any, rank: int, tag: int) -> None:
        value = self.arrived[rank].popleft()
        if rank in self.dead:
            raise MPI.Exception(MPI.ERR_PROC_FAILED)
        buffer[0].view(float)[:] = value


def test_who_dies_between_its_message_being_seen_and_received_loses_it_and_costs_no_other() -> None:
    comm = Comm({1: [1.0, 1.5], 2: [2.0], 3: [], 4: [4.0]}, dead={2, 3})
    lost: list[int] = []
    peers = Peers(comm, on_failure=lambda rank, error: lost.append(rank))  # type: ignore[arg-type]
    box = Mailbox(peers, [1, 2, 3, 4])
    assert box.poll() == [(1, np.array([1.0])), (4, np.array([4.0])), (1, np.array([1.5]))]  # in turn
    assert lost == [2, 3]
    assert box.poll() == []
    assert box.sources == {1, 4}


@pytest.mark.parametrize("gone", [{2}, {2, 3}])
def test_waiting_ends_when_a_source_is_lost_though_others_live(gone: set[int]) -> None:
    """Who lives may have nothing more to say."""
    comm = Comm({1: [], 2: [], 3: []}, dead=set())
    box = Mailbox(Peers(comm, on_failure=lambda rank, error: None), [1, 2, 3])  # type: ignore[arg-type]
    assert box.wait(until=time.perf_counter() + 0.01) == []
    comm.dead = gone
    began = time.monotonic()
    assert box.wait(until=time.perf_counter() + 20.0) == []
    assert time.monotonic() - began < 10.0
    assert box.sources == {1, 2, 3} - gone


def test_without_a_hook_the_error_is_raised() -> None:
    box = Mailbox(Peers(Comm({1: [], 2: [2.0]}, dead={2})), [1, 2])  # type: ignore[arg-type]
    with pytest.raises(MPI.Exception):
        box.poll()


@on_simulated_ranks(6)
def test_simulated_ranks_take_the_first_message_of_their_sources(comm: Any) -> None:
    """Rank 5 is no source: its message, the first, stays and holds back no other."""
    box = Mailbox(Peers(comm), [1, 2, 3, 4] if comm.Get_rank() == 0 else [])
    if comm.Get_rank() > 0:
        emulator.compute(comm, {1: 4e-3, 2: 3e-3, 3: 2e-3, 4: 1e-3, 5: 0.0}[comm.Get_rank()])
        box.send(0, np.array([comm.Get_rank()]))
        box.flush()
        return
    assert box.poll() == []
    emulator.compute(comm, 2.5e-3)
    assert {source for source, _ in box.poll()} == {3, 4}
    assert [source for source, _ in box.wait()] == [2]
    box.stop(4)
    assert [source for source, _ in box.wait()] == [1]
    assert box.poll() == []
