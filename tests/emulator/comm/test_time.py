"""Emulated time to the digit: whatever the machine is busy with, patterns take what the network says."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from tests.emulator.clusters import exactly, on_network, part, took
from tests.emulator.small_networks import ALPHA, BETA, plain
from tests.simulated import on_simulated_ranks

RANKS = [2, 3, 5, 8, 16]
SIZES = [0, 1, 777, 100_003, 300_001]
SAMPLE = {"ranks": 8, "p": [3, 8], "size": [777, 300_001]}
"""Emulated by real ranks."""


@on_simulated_ranks(16, net=plain(), on_mpi=SAMPLE, p=RANKS, size=SIZES)
def test_ring(comm: MPI.Intracomm, p: int, size: int) -> None:
    sub = part(on_network(comm), p)
    if sub is None:
        return
    out, box = np.full(size, sub.rank, "B"), np.zeros(size, "B")

    def ring() -> None:
        for _ in range(p - 1):
            sub.Sendrecv(out, (sub.rank + 1) % p, 0, box, (sub.rank - 1) % p, 0)

    assert took(sub, ring) == exactly((p - 1) * (ALPHA + size * BETA))
    assert (box == (sub.rank - 1) % p).all()


@on_simulated_ranks(16, net=plain(), on_mpi=SAMPLE, p=RANKS, size=SIZES)
def test_ring_of_persistent_requests_with_uneven_blocks(comm: MPI.Intracomm, p: int, size: int) -> None:
    """The largest block sets the pace, one step at a time."""
    sub = part(on_network(comm), p)
    if sub is None:
        return
    blocks = [size + 11 * rank for rank in range(p)]
    out, box = np.zeros(max(blocks), "B"), np.zeros(max(blocks), "B")
    right, left = (sub.rank + 1) % p, (sub.rank - 1) % p

    def ring() -> None:
        for step in range(p - 1):
            given = [out, blocks[(sub.rank - step) % p], MPI.BYTE]
            requests = [sub.Send_init(given, right), sub.Recv_init(box, left)]
            MPI.Prequest.Startall(requests)
            MPI.Request.Waitall(requests)

    # The chain that carries the largest block all the way round is the slowest from its first step on.
    assert took(sub, ring) == exactly((p - 1) * (ALPHA + max(blocks) * BETA))


@on_simulated_ranks(
    16, net=plain(), on_mpi={"ranks": 8, "p": [2, 8], "size": [777, 300_001]}, p=[2, 4, 8, 16], size=SIZES
)
def test_recursive_doubling(comm: MPI.Intracomm, p: int, size: int) -> None:
    sub = part(on_network(comm), p)
    if sub is None:
        return
    out, box = np.zeros(size, "B"), np.zeros(size, "B")

    def doubling() -> None:
        for bit in range(p.bit_length() - 1):
            peer = sub.rank ^ (1 << bit)
            receive = sub.Irecv(box, peer)
            send = sub.Isend(out, peer)
            MPI.Request.Waitall([send, receive])

    assert took(sub, doubling) == exactly((p.bit_length() - 1) * (ALPHA + size * BETA))


@on_simulated_ranks(16, net=plain(), on_mpi=SAMPLE, p=RANKS, size=SIZES)
def test_incast(comm: MPI.Intracomm, p: int, size: int) -> None:
    """Everybody sends to one: the latency is paid once, the receiver's card takes the bytes one after another."""
    sub = part(on_network(comm), p)
    if sub is None:
        return
    boxes = np.zeros((p, size), "B")

    def incast() -> None:
        if sub.rank:
            sub.Send(np.full(size, sub.rank, "B"), 0)
        else:
            MPI.Request.Waitall([sub.Irecv(boxes[rank], rank) for rank in range(1, p)])

    assert took(sub, incast) == exactly(ALPHA + (p - 1) * size * BETA)
    assert all((boxes[rank] == rank).all() for rank in range(1, p) if sub.rank == 0)


@on_simulated_ranks(16, net=plain(), on_mpi=SAMPLE, p=RANKS, size=SIZES)
def test_linear_scatter(comm: MPI.Intracomm, p: int, size: int) -> None:
    """One sends to everybody: its card sends the bytes one after another."""
    sub = part(on_network(comm), p)
    if sub is None:
        return

    def scatter() -> None:
        if sub.rank == 0:
            for rank in range(1, p):
                sub.Send(np.zeros(size, "B"), rank)
        else:
            sub.Recv(np.zeros(size, "B"), 0)

    assert took(sub, scatter) == exactly(ALPHA + (p - 1) * size * BETA)


@on_simulated_ranks(16, net=plain(gap=1e-3), on_mpi={"ranks": 8, "p": [5, 8]}, p=RANKS)
def test_gap(comm: MPI.Intracomm, p: int) -> None:
    """Small messages leave no faster than the card's gap allows."""
    sub = part(on_network(comm, "gap"), p)
    if sub is None:
        return

    def scatter() -> None:
        requests = [sub.isend(None, rank) for rank in range(1, p)] if sub.rank == 0 else []
        if sub.rank:
            sub.recv(source=0)
        MPI.Request.waitall(requests)

    nothing = len(MPI.pickle.dumps(None))
    assert took(sub, scatter) == exactly((p - 2) * 1e-3 + ALPHA + nothing * BETA)
