"""Sums of the checksums of messages, and the flip of a bit, over every way to send and receive a buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from faults.recover.checked_messages import CheckedComm, MessageSums
from tests.ranks import on_ranks

RANKS = 4
WAYS = ["blocking", "requests", "persistent", "sendrecv", "replace", "wait any", "counts", "objects"]


def exchange(comm: Any, way: str) -> np.ndarray:
    """Send an array to the right neighbour in that way; what came from the left one."""
    rank, size = comm.Get_rank(), comm.Get_size()
    right, left = (rank + 1) % size, (rank - 1) % size
    mine, theirs = np.full(5, float(rank)), np.zeros(8)
    if way == "blocking":
        request = comm.Isend(mine, right)
        comm.Recv(theirs, left)
        request.Wait()
    elif way == "requests":
        MPI.Request.Waitall([comm.Irecv(theirs, left), comm.Isend(mine, right)])
    elif way == "wait any":
        requests = [comm.Irecv(theirs, left), comm.Isend(mine, right)]
        assert sorted(MPI.Request.Waitany(requests) for _ in requests) == [0, 1]
    elif way == "persistent":
        requests = [comm.Recv_init(theirs, left), comm.Send_init(mine, right)]
        for _ in range(3):
            MPI.Prequest.Startall(requests)
            MPI.Request.Waitall(requests)
    elif way == "sendrecv":
        comm.Sendrecv(mine, right, recvbuf=theirs, source=left)
    elif way == "replace":
        theirs[:5] = mine
        comm.Sendrecv_replace([theirs, 5, MPI.DOUBLE], right, source=left)
    elif way == "counts":
        request = comm.Isend([np.full(9, float(rank)), 5, MPI.DOUBLE], right)
        comm.Recv([theirs, 5, MPI.DOUBLE], left)
        request.Wait()
    else:
        request = comm.isend(mine, right)
        theirs[:5] = comm.recv(source=left)
        request.wait()
    return theirs[:5]


@on_ranks(RANKS, way=WAYS)
def test_what_arrives_as_it_was_sent_adds_up_to_the_same(comm: Any, way: str) -> None:
    checked = CheckedComm(comm, MessageSums(RANKS))
    found = exchange(checked, way)
    assert (found == (comm.Get_rank() - 1) % RANKS).all()
    assert not checked.sums.differ(checked, list(range(RANKS)))


@on_ranks(RANKS, way=WAYS)
def test_a_bit_that_flips_on_the_way_to_one_rank_is_found_by_that_rank(comm: Any, way: str) -> None:
    flips = [0] if comm.Get_rank() == 2 and way != "objects" else []

    def flip(message: memoryview) -> None:
        while flips:
            message[flips.pop()] ^= 1

    checked = CheckedComm(comm, MessageSums(RANKS, flip))
    exchange(checked, way)
    found = checked.sums.differ(checked, list(range(RANKS)))
    assert found == (comm.Get_rank() == 2 and way != "objects")
    assert not checked.sums.differ(checked, list(range(RANKS))), "it is found once"
