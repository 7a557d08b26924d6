"""Collectives on buffers, vectors and objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from primitives import collectives
from tests.emulator.same import Cases, same_as_mpi, same_when_paced
from tests.emulator.small_networks import plain
from tests.ranks import on_ranks

ANY = MPI.ANY_SOURCE
ANY_TAG = MPI.ANY_TAG
cases = Cases()


@cases
def collectives_on_buffers(comm: Any) -> Any:
    """Every blocking collective on buffers, in place and not, from every root."""
    rank, size = comm.rank, comm.size
    seen: list[Any] = []
    for root in range(size):
        data = np.arange(6.0) if rank == root else np.zeros(6)
        comm.Bcast(data, root)
        everything = np.zeros((size, 2), "i4") if rank == root else None
        comm.Gather(np.array([rank, root], "i4"), everything, root)
        mine = np.zeros(2, "i4")
        comm.Scatter(everything, mine, root)
        total = np.zeros(3) if rank == root else None
        comm.Reduce(np.arange(3.0) + rank, total, MPI.SUM, root)
        seen.append([data.tolist(), mine.tolist(), None if total is None else total.tolist()])
    whole = np.zeros(2 * size)
    comm.Allgather(np.array([rank, -rank], float), whole)
    dealt = np.zeros(size, int)
    comm.Alltoall(np.arange(size) + 10 * rank, dealt)
    seen += [whole.tolist(), dealt.tolist()]
    for op in (MPI.SUM, MPI.MAX, MPI.PROD, MPI.BOR):
        out = np.zeros(5, int)
        comm.Allreduce(np.arange(5) + rank, out, op)
        seen.append(out.tolist())
    place = np.arange(4.0) * rank
    comm.Allreduce(MPI.IN_PLACE, place, MPI.SUM)
    share = np.zeros(2)
    comm.Reduce_scatter_block(np.arange(2.0 * size), share)
    uneven = np.zeros(rank + 1)
    comm.Reduce_scatter(np.arange(size * (size + 1) / 2), uneven, [r + 1 for r in range(size)])
    running, before = np.zeros(2), np.zeros(2)
    comm.Scan(np.array([1.0, rank]), running)
    comm.Exscan(np.array([1.0, rank]), before)
    comm.Barrier()
    return [*seen, place.tolist(), share.tolist(), uneven.tolist(), running.tolist(), before.tolist() if rank else 0]


@cases
def collectives_of_vectors(comm: Any) -> Any:
    rank, size = comm.rank, comm.size
    counts = [r + 1 for r in range(size)]
    places = [sum(counts[:r]) + r for r in range(size)]
    mine = np.full(rank + 1, rank, "f4")
    whole = np.full(sum(counts) + size, -1, "f4")
    comm.Allgatherv(mine, [whole, counts, places, MPI.FLOAT])
    packed = np.zeros(sum(counts), "f4")
    comm.Gatherv([mine, MPI.FLOAT], [packed, counts] if rank == 1 else None, 1)
    back = np.zeros(rank + 1, "f4")
    comm.Scatterv([packed, (counts, None), MPI.FLOAT] if rank == 1 else None, back, 1)
    out = np.repeat(np.arange(size), rank + 1) + 10 * rank
    into = np.zeros(sum(counts), int)
    comm.Alltoallv([out, [rank + 1] * size], [into, counts])
    evenly = np.zeros(7)
    comm.Allgatherv(np.full(7 // size + (rank < 7 % size), rank, float), evenly)
    return whole.tolist(), packed.tolist(), back.tolist(), into.tolist(), evenly.tolist()


@cases
def collectives_of_objects(comm: Any) -> Any:
    rank, size = comm.rank, comm.size
    seen: list[Any] = [
        comm.bcast({"root": 2} if rank == 2 else None, 2),
        comm.gather(("g", rank), 1),
        comm.scatter([f"to {r}" for r in range(size)] if rank == 1 else None, 1),
        comm.allgather([rank] * rank),
        comm.alltoall([(rank, r) for r in range(size)]),
        comm.reduce(rank + 1, MPI.PROD, 3),
        comm.allreduce([rank]),
        comm.allreduce(rank, MPI.MAX),
        comm.scan(f"{rank}", lambda a, b: a + b),
        comm.exscan(rank),
    ]
    comm.barrier()
    return seen


@cases
def collectives_are_invisible(comm: Any) -> Any:
    """A receive of anything, posted before a collective, gets the program's message and none of the collective's."""
    box = np.zeros(1, int)
    request = comm.Irecv(box, ANY, ANY_TAG)
    comm.Barrier()
    total = comm.allreduce(1)
    comm.Send(np.array([42]), (comm.rank + 1) % comm.size, 13)
    request.Wait()
    return total, int(box[0])


@on_ranks(4, function=cases)
def test_the_same_as_mpi(comm: MPI.Intracomm, function: Any) -> None:
    same_as_mpi(comm, function)


@on_ranks(4, function=cases)
def test_the_same_when_paced(comm: MPI.Intracomm, function: Any) -> None:
    same_when_paced(comm, function)


@on_ranks(4)
def test_communicators_inherit_the_algorithms(comm: MPI.Intracomm) -> None:
    """One that brings its own collectives brings them to its children as well."""
    world = emulator.emulate(MPI.COMM_WORLD, plain(), collectives=collectives)
    for child in (world.Dup(), world.Split(world.rank % 2), world.Split_type(MPI.COMM_TYPE_SHARED)):
        assert child._algorithms is collectives
