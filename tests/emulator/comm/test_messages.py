"""What a message can be, and where it can go: buffers, datatypes, objects, nothing, to oneself, to nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from tests.emulator.same import Cases, envelope, same_as_mpi, same_when_paced
from tests.ranks import on_ranks

ANY = MPI.ANY_SOURCE
NULL = MPI.PROC_NULL
cases = Cases()


@cases
def proc_null(comm: Any) -> Any:
    """PROC_NULL swallows sends and gives empty receives, at once."""
    box = np.full(2, 8)
    status = MPI.Status()
    comm.Send(box, NULL, 3)
    comm.Recv(box, NULL, 3, status)
    seen = [envelope(status)]
    comm.Sendrecv(box, NULL, 0, box, NULL, 0, status)
    seen.append(envelope(status))
    request = comm.Irecv(box, NULL)
    request.Wait(status)
    seen.append(envelope(status))
    comm.Send(None, NULL)
    comm.Recv(None, NULL)
    comm.Sendrecv(None, NULL, 0, None, NULL)
    MPI.Request.Waitall([comm.Isend(None, NULL), comm.Irecv(None, NULL)])
    left, right = comm.rank - 1 if comm.rank else NULL, comm.rank + 1 if comm.rank + 1 < comm.size else NULL
    edge = np.full(1, -1)
    comm.Sendrecv(np.array([comm.rank]), right, 0, edge if left != NULL else None, left)
    seen.append(int(edge[0]))
    return seen, box.tolist(), comm.recv(source=NULL), comm.sendrecv(1, NULL, source=NULL)


@cases
def self_messages(comm: Any) -> Any:
    me = comm.rank
    out, box = np.arange(5.0) + me, np.zeros(5)
    comm.Sendrecv(out, me, 2, box, me, 2)
    request = comm.Irecv(box, me, 3)
    comm.Send(out * 2, me, 3)
    request.Wait()
    comm.isend("to myself", me)
    return box.tolist(), comm.recv(source=me), comm.sendrecv([me], me, source=me)


@cases
def zero_bytes(comm: Any) -> Any:
    peer = comm.rank ^ 1
    status = MPI.Status()
    comm.Sendrecv([None, "B"], peer, 1, [None, MPI.BYTE], peer, 1, status)
    seen = [envelope(status)]
    comm.Sendrecv([None, MPI.INT], peer, 1, [None, 0, MPI.INT], peer, 1, status)
    seen.append(envelope(status))
    comm.Sendrecv(np.empty((0, 3)), peer, 1, np.empty(4), peer, 1, status)
    return [*seen, envelope(status)]


@cases
def specifications(comm: Any) -> Any:
    """mpi4py's ways to say what a message is."""
    peer = comm.rank ^ 1
    data = np.arange(20, dtype="i4") + 100 * comm.rank
    seen = []
    for out, box in [
        ([data, MPI.INT], [np.zeros(20, "i4"), MPI.INT]),
        ([data, 7, MPI.INT], [np.zeros(20, "i4"), 9, MPI.INT]),
        ([data, (3, 5), MPI.INT], [np.zeros(20, "i4"), (4, 1), MPI.INT]),
        ([data, 2, 3, MPI.INT], [np.zeros(20, "i4"), "i"]),
        ([data, "i"], np.zeros(20, "i4")),
        ((data, 4), (np.zeros(20, "i4"), 6)),
        (bytearray(b"bytes"), np.zeros(9, "B")),
        (np.asfortranarray(data.reshape(4, 5)), np.zeros((5, 4), "i4")),
        (data.astype(complex), np.zeros(20, complex)),
        (data > 110, np.zeros(20, bool)),
    ]:
        status = MPI.Status()
        comm.Sendrecv(out, peer, 0, box, peer, 0, status)
        seen.append((envelope(status), np.asarray(box[0] if isinstance(box, (list, tuple)) else box).tolist()))
    return seen


@cases
def derived_datatypes(comm: Any) -> Any:
    """Columns go out and diagonals come in; a struct crosses a contiguous buffer."""
    peer = comm.rank ^ 1
    matrix = np.arange(36.0).reshape(6, 6) + comm.rank
    into = np.zeros((6, 6))
    column = MPI.DOUBLE.Create_vector(6, 1, 6).Commit()
    diagonal = MPI.DOUBLE.Create_vector(6, 1, 7).Commit()
    status = MPI.Status()
    comm.Sendrecv([matrix.reshape(-1)[2:], 1, column], peer, 0, [into, 1, diagonal], peer, 0, status)
    seen = [into.tolist(), status.Get_count(diagonal), status.Get_elements(MPI.DOUBLE)]
    part = MPI.DOUBLE.Create_subarray([6, 6], [2, 3], [1, 1]).Commit()
    flat = np.zeros(6)
    comm.Sendrecv([matrix, 1, part], peer, 0, flat, peer, 0)
    pairs = MPI.DOUBLE.Create_contiguous(2).Commit()
    two = np.zeros(4)
    comm.Sendrecv([matrix, 2, pairs], peer, 0, [two, 2, pairs], peer, 0, status)
    seen += [flat.tolist(), two.tolist(), status.Get_count(pairs)]
    for datatype in (column, diagonal, part, pairs):
        datatype.Free()
    return seen


@cases
def many_outstanding_both_ways(comm: Any) -> Any:
    """Hundreds of messages of all sizes each way at once, waited for in another order: no deadlock, no mix-up."""
    peer = comm.rank ^ 1
    sizes = [(turn * 7919) % 5000 + (200_000 if turn % 50 == 0 else 0) for turn in range(300)]
    boxes = [np.zeros(size, "i2") for size in sizes]
    sends = [comm.Isend(np.full(size, turn, "i2"), peer, turn % 3) for turn, size in enumerate(sizes)]
    receives = [comm.Irecv(box, peer, turn % 3) for turn, box in enumerate(boxes)]
    MPI.Request.Waitall(receives[::-1] + sends)
    return all((box == turn).all() for turn, box in enumerate(boxes))


@cases
def long_messages(comm: Any) -> Any:
    """64 MiB between two ranks, both ways at once."""
    if comm.rank > 1:
        return None
    peer = comm.rank ^ 1
    out = np.arange(1 << 24, dtype="i4") + comm.rank
    box = np.zeros(1 << 24, "i4")
    request = comm.Isend(out, peer)
    comm.Recv(box, peer)
    request.Wait()
    return bool((box - out == peer - comm.rank).all())


@cases
def objects(comm: Any) -> Any:
    peer = comm.rank ^ 1
    status = MPI.Status()
    thing = {"rank": comm.rank, "data": list(range(50_000))}
    if comm.rank % 2:
        comm.send(thing, peer, 9)
        got = comm.recv(source=peer, tag=9, status=status)
    else:
        got = comm.recv(source=ANY, tag=9, status=status)
        comm.send(thing, peer, 9)
    array = comm.sendrecv(np.arange(3) + comm.rank, peer, source=peer)
    return got["rank"], len(got["data"]), status.Get_source(), array.tolist()


@cases
def ranks_and_tags_of_other_types(comm: Any) -> Any:
    """A rank, tag, root or colour is whatever mpi4py takes for an integer, and the same errors otherwise."""
    peer, box, seen = comm.rank ^ 1, np.zeros(2), []
    for kind in (float, np.float64, np.int32, np.array, lambda number: number + 0.7):
        rank, tag = kind(peer), kind(5)
        comm.Isend(np.full(2, comm.rank), rank, tag).Wait()
        comm.Recv(box, rank, tag)
        comm.send("object", rank, tag)
        seen.append((box.tolist(), comm.recv(None, rank, tag)))
        comm.Sendrecv(np.full(2, comm.rank), rank, tag, box, rank, tag)
        seen.append((comm.bcast(comm.rank, kind(1)), comm.Split(kind(comm.rank % 2), kind(0)).size))
    for rank in ("0", None, 2**40, object(), [0], 99.5):
        for call in (lambda rank: comm.Isend(box, rank), lambda rank: comm.Irecv(box, rank), comm.Iprobe, comm.bcast):
            try:
                call(rank) if call is not comm.bcast else comm.bcast(1, rank)
            except (TypeError, OverflowError, MPI.Exception) as error:
                seen.append(type(error).__name__)
    return seen


@on_ranks(4, function=cases)
def test_the_same_as_mpi(comm: MPI.Intracomm, function: Any) -> None:
    same_as_mpi(comm, function)


@on_ranks(4, function=[function for function in cases if function is not long_messages])
def test_the_same_when_paced(comm: MPI.Intracomm, function: Any) -> None:
    same_when_paced(comm, function)
