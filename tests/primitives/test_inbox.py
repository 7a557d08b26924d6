"""A mailbox whose peers die: what they sent before is lost with them or taken, and nobody else's messages are."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from emulator.carrier import Carrier
from primitives.mailbox import Mailbox
from primitives.peers import Peers


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
