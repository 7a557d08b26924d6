"""MPI's semantics: every case runs on the bare communicator and on an emulated one, and both must say the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from tests.emulator.small_networks import plain
from tests.ranks import on_ranks

ANY, ANY_TAG, NULL = MPI.ANY_SOURCE, MPI.ANY_TAG, MPI.PROC_NULL
CASES: list[Callable[[Any], Any]] = []


def case(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    CASES.append(function)
    return function


def envelope(status: MPI.Status) -> tuple[int, int, int]:
    return status.Get_source(), status.Get_tag(), status.Get_count(MPI.BYTE)


def error_of(function: Callable[[], Any]) -> int:
    """The class of the MPI error that a call raises; 0 if it raises none."""
    try:
        function()
    except MPI.Exception as error:
        return error.Get_error_class()
    return 0


@case
def order_per_source(comm: Any) -> Any:
    """Messages of one sender are received in the order of their sending, whatever their sizes."""
    sizes = [1, 200_000, 3, 0, 140_000, 8]
    if comm.rank == 1:
        for turn, size in enumerate(sizes):
            comm.Send(np.full(size, turn, "B"), 0, 7)
    if comm.rank == 0:
        seen = []
        status = MPI.Status()
        for _ in sizes:
            box = np.zeros(200_000, "B")
            comm.Recv(box, 1, 7, status)
            seen.append((envelope(status), int(box[0])))
        return seen
    return None


@case
def order_across_tags(comm: Any) -> Any:
    """A wildcard receive takes the oldest message of a sender; a receive of one tag leaves the others."""
    if comm.rank == 1:
        for tag in (5, 6, 5, 7):
            comm.Send(np.array([tag * 10]), 0, tag)
    if comm.rank == 0:
        box = np.zeros(1, int)
        seen = []
        for tag in (7, ANY_TAG, ANY_TAG, ANY_TAG):
            status = MPI.Status()
            comm.Recv(box, 1, tag, status)
            seen.append((int(box[0]), envelope(status)))
        return seen
    return None


@case
def posted_receives_match_in_order(comm: Any) -> Any:
    """Of several posted receives that fit, the first posted takes the message."""
    result = None
    if comm.rank == 0:
        boxes = [np.zeros(1, int) for _ in range(4)]
        wants = [(1, 3), (ANY, ANY_TAG), (1, ANY_TAG), (ANY, 3)]
        requests = [comm.Irecv(box, source, tag) for box, (source, tag) in zip(boxes, wants, strict=True)]
        comm.Barrier()
        MPI.Request.Waitall(requests)
        result = [int(box[0]) for box in boxes]
    else:
        comm.Barrier()
        if comm.rank == 1:
            for value in (1, 2, 3, 4):
                comm.Send(np.array([value]), 0, 3)
    return result


@case
def any_source_hears_everybody(comm: Any) -> Any:
    """A receiver from ANY_SOURCE gets each sender's messages in their order, and every sender's."""
    each = 20
    if comm.rank:
        for turn in range(each):
            comm.Send(np.array([comm.rank, turn]), 0, comm.rank)
        return None
    box = np.zeros(2, int)
    heard: dict[int, list[int]] = {}
    for _ in range(each * (comm.size - 1)):
        status = MPI.Status()
        comm.Recv(box, ANY, ANY_TAG, status)
        assert status.source == status.tag == box[0]
        heard.setdefault(int(box[0]), []).append(int(box[1]))
    return sorted(heard.items())


@case
def truncation(comm: Any) -> Any:
    """A message longer than its buffer is an error, and the next message is unharmed.

    Short ones only: Open MPI 5.0 writes beyond the buffer of a long one.
    """
    if comm.rank == 1:
        for size in (10, 2_000, 4):
            comm.Send(np.full(size, 9, "B"), 0)
    if comm.rank == 0:
        box = np.zeros(4, "B")
        codes = [error_of(lambda: comm.Recv(box, 1)) for _ in range(2)]
        comm.Recv(box, 1)
        return codes, box.tolist()
    return None


@case
def truncation_in_waitall(comm: Any) -> Any:
    result = None
    if comm.rank == 1:
        comm.Send(np.full(2, 1, "B"), 0, 1)
        comm.Send(np.full(9, 2, "B"), 0, 2)
    if comm.rank == 0:
        boxes = [np.zeros(4, "B"), np.zeros(4, "B")]
        requests = [comm.Irecv(boxes[0], 1, 1), comm.Irecv(boxes[1], 1, 2)]
        result = error_of(lambda: MPI.Request.Waitall(requests)) != 0, boxes[0].tolist()
    comm.Barrier()
    return result


@case
def cancel(comm: Any) -> Any:
    """A receive that nothing matched can be cancelled; one that is matched cannot."""
    peer = comm.rank ^ 1
    box = np.zeros(1, int)
    status = MPI.Status()
    never = comm.Irecv(box, peer, 99)
    never.Cancel()
    never.Wait(status)
    first = status.Is_cancelled()
    request = comm.Irecv(box, peer, 1)
    comm.Send(np.array([5]), peer, 1)
    request.Wait(status)
    return first, status.Is_cancelled(), int(box[0]), never == MPI.REQUEST_NULL, request == MPI.REQUEST_NULL


@case
def probes(comm: Any) -> Any:
    """Probe and Iprobe tell the envelope and take nothing."""
    if comm.rank == 1:
        comm.Send(np.zeros(12, "B"), 0, 4)
        comm.Send(np.zeros(0, "B"), 0, 5)
        comm.Barrier()
        return None
    comm.Barrier()
    if comm.rank:
        return None
    status = MPI.Status()
    seen: list[Any] = [comm.Probe(1, 5, status), envelope(status)]
    comm.Probe(ANY, ANY_TAG, status)
    seen.append(envelope(status))
    seen.append((comm.Iprobe(1, 4, status), envelope(status), comm.Iprobe(1, 77), comm.Iprobe(NULL)))
    box = np.zeros(status.Get_count(MPI.BYTE), "B")
    comm.Recv(box, 1, 4)
    comm.Recv(box, 1, 5, status)
    return [*seen, envelope(status), comm.Iprobe(1)]


@case
def matched_probes(comm: Any) -> Any:
    """A message that Mprobe took out is received through it, and by nobody else."""
    if comm.rank == 1:
        for value in (1, 2, 3):
            comm.Send(np.array([value]), 0, 4)
        comm.send({"four": 4}, 0, 4)
        comm.Send(np.full(300_000, 7, "B"), 0, 4)
    result = None
    if comm.rank == 0:
        box, other = np.zeros(1, int), np.zeros(1, int)
        status = MPI.Status()
        first = comm.Mprobe(1, 4, status)
        comm.Recv(other, 1, 4)
        first.Recv(box)
        second = comm.Mprobe(ANY, 4)
        value = np.zeros(1, int)
        second.Irecv(value).Wait()
        pickled = comm.mprobe(1).recv()
        long = np.zeros(300_000, "B")
        comm.Mprobe(1, 4, status).Recv(long)
        result = int(box[0]), int(other[0]), int(value[0]), pickled, int(long.sum()), envelope(status)
        assert comm.Improbe(1, 55) is None
        assert not first
        assert first == MPI.MESSAGE_NULL
        assert comm.Mprobe(NULL) == MPI.MESSAGE_NO_PROC
    comm.Barrier()
    return result


@case
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
    return seen, box.tolist(), comm.recv(source=NULL), comm.sendrecv(1, NULL, source=NULL)


@case
def self_messages(comm: Any) -> Any:
    me = comm.rank
    out, box = np.arange(5.0) + me, np.zeros(5)
    comm.Sendrecv(out, me, 2, box, me, 2)
    request = comm.Irecv(box, me, 3)
    comm.Send(out * 2, me, 3)
    request.Wait()
    comm.isend("to myself", me)
    return box.tolist(), comm.recv(source=me), comm.sendrecv([me], me, source=me)


@case
def zero_bytes(comm: Any) -> Any:
    peer = comm.rank ^ 1
    status = MPI.Status()
    comm.Sendrecv([None, "B"], peer, 1, [None, MPI.BYTE], peer, 1, status)
    seen = [envelope(status)]
    comm.Sendrecv([None, MPI.INT], peer, 1, [None, 0, MPI.INT], peer, 1, status)
    seen.append(envelope(status))
    comm.Sendrecv(np.empty((0, 3)), peer, 1, np.empty(4), peer, 1, status)
    return [*seen, envelope(status)]


@case
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


@case
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


@case
def many_outstanding_both_ways(comm: Any) -> Any:
    """Hundreds of messages of all sizes each way at once, waited for in another order: no deadlock, no mix-up."""
    peer = comm.rank ^ 1
    sizes = [(turn * 7919) % 5000 + (200_000 if turn % 50 == 0 else 0) for turn in range(300)]
    boxes = [np.zeros(size, "i2") for size in sizes]
    sends = [comm.Isend(np.full(size, turn, "i2"), peer, turn % 3) for turn, size in enumerate(sizes)]
    receives = [comm.Irecv(box, peer, turn % 3) for turn, box in enumerate(boxes)]
    MPI.Request.Waitall(receives[::-1] + sends)
    return all((box == turn).all() for turn, box in enumerate(boxes))


@case
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


@case
def synchronous_sends(comm: Any) -> Any:
    """Ssend and Issend complete when their receives exist."""
    peer = comm.rank ^ 1
    box = np.zeros(1, int)
    if comm.rank % 2 == 0:
        comm.Ssend(np.array([comm.rank]), peer)
        comm.Recv(box, peer)
    else:
        comm.Recv(box, peer)
        comm.Ssend(np.array([comm.rank]), peer)
    request = comm.Issend(np.array([7]), peer, 5)
    comm.Barrier()
    before = request.Test()
    comm.Barrier()
    comm.Recv(box, peer, 5)
    request.Wait()
    comm.issend({"a": 1}, comm.rank, 6)
    return before, int(box[0]), comm.recv(source=comm.rank, tag=6)


@case
def buffered_and_ready_sends(comm: Any) -> Any:
    peer = comm.rank ^ 1
    MPI.Attach_buffer(bytearray(1 << 16))
    comm.Bsend(np.array([1]), peer, 1)
    comm.bsend("b", peer, 2)
    box = np.zeros(1, int)
    comm.Recv(box, peer, 1)
    seen = [int(box[0]), comm.recv(source=peer, tag=2)]
    MPI.Detach_buffer()
    request = comm.Irecv(box, peer, 3)
    comm.Barrier()
    comm.Rsend(np.array([3]), peer, 3)
    request.Wait()
    return [*seen, int(box[0])]


@case
def persistent_requests(comm: Any) -> Any:
    peer = comm.rank ^ 1
    out, box = np.zeros(2, int), np.zeros(2, int)
    requests = [comm.Send_init(out, peer, 4), comm.Recv_init(box, peer, 4)]
    seen: list[Any] = []
    for turn in range(3):
        out[:] = turn, comm.rank
        MPI.Prequest.Startall(requests)
        MPI.Request.Waitall(requests)
        seen.append(box.tolist())
    seen.append(requests[1].Test())
    for request in requests:
        request.Start()
    requests[0].Wait()
    while not requests[1].Test():
        pass
    for request in requests:
        assert request != MPI.REQUEST_NULL
        request.Free()
        assert request == MPI.REQUEST_NULL
    return seen, box.tolist(), isinstance(requests[0], MPI.Prequest)


@case
def waits_and_tests(comm: Any) -> Any:
    """All, any and some, with null requests and statuses, upper and lower case."""
    peer = comm.rank ^ 1
    boxes = [np.zeros(1, int) for _ in range(4)]
    requests: list[Any] = [comm.Irecv(box, peer, tag) for tag, box in enumerate(boxes)]
    requests.insert(2, MPI.REQUEST_NULL)
    for tag in (1, 0, 2, 3):
        comm.Send(np.array([10 + tag]), peer, tag)
    done = []
    for _ in range(2):
        status = MPI.Status()
        index = MPI.Request.Waitany(requests, status)
        done.append((index, status.Get_tag()))
        assert requests[index] == MPI.REQUEST_NULL
    while any(request != MPI.REQUEST_NULL for request in requests):
        statuses: list[MPI.Status] = []
        indices = MPI.Request.Waitsome(requests, statuses)
        assert indices
        done += [(index, status.Get_tag()) for index, status in zip(indices, statuses, strict=False)]
    seen: list[Any] = [sorted(done), [int(box[0]) for box in boxes]]
    seen += [MPI.Request.Waitsome(requests), MPI.Request.Testany(requests), MPI.Request.Testall(requests)]
    objects = [comm.isend(comm.rank, peer, 8), comm.irecv(source=peer, tag=8)]
    seen.append(MPI.Request.waitall(objects))
    objects = [comm.irecv(source=peer, tag=8)]
    comm.send("any", peer, 8)
    status = MPI.Status()
    seen.append(MPI.Request.waitany(objects, status)[1])
    seen.append(status.Get_tag())
    flag, message = comm.isend(0, NULL).test()
    return [*seen, flag, message]


@case
def polling_in_a_loop(comm: Any) -> Any:
    """Polling makes progress on its own."""
    peer = comm.rank ^ 1
    box = np.zeros(200_000, "B")
    requests = [comm.Irecv(box, peer), comm.Isend(np.full(200_000, comm.rank, "B"), peer)]
    while not MPI.Request.Testall(requests):
        pass
    again = comm.irecv(source=peer)
    comm.isend(("tuple", comm.rank), peer)
    while True:
        flag, message = again.test()
        if flag:
            break
    return int(box[0]), message


@case
def mixed_requests(comm: Any) -> Any:
    """Requests of MPI's own and of this communicator in one list."""
    peer = comm.rank ^ 1
    box, real_box = np.zeros(1, int), np.zeros(1, int)
    world = MPI.COMM_WORLD
    requests = [comm.Irecv(box, peer), world.Irecv(real_box, peer, 111)]
    world.Send(np.array([3]), peer, 111)
    comm.Send(np.array([4]), peer)
    MPI.Request.Waitall(requests)
    return int(box[0]), int(real_box[0])


@case
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


@case
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


@case
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


@case
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


@case
def collectives_are_invisible(comm: Any) -> Any:
    """A receive of anything, posted before a collective, gets the program's message and none of the collective's."""
    box = np.zeros(1, int)
    request = comm.Irecv(box, ANY, ANY_TAG)
    comm.Barrier()
    total = comm.allreduce(1)
    comm.Send(np.array([42]), (comm.rank + 1) % comm.size, 13)
    request.Wait()
    return total, int(box[0])


@case
def communicators(comm: Any) -> Any:
    """Dup, Split, Create, Create_group, Compare: their ranks, their separate contexts, their names."""
    rank, size = comm.rank, comm.size
    twin = comm.Dup()
    half = comm.Split(rank % 2, -rank)
    nobody = comm.Split(MPI.UNDEFINED if rank else 0)
    group = comm.Get_group().Incl([size - 1, 0])
    pair = comm.Create_group(group, 3) if rank in (0, size - 1) else MPI.COMM_NULL
    created = comm.Create(group)
    peer = rank ^ 1
    a, b = np.zeros(1, int), np.zeros(1, int)
    requests = [twin.Irecv(a, peer, 1), comm.Irecv(b, peer, 1)]
    comm.Send(np.array([1]), peer, 1)
    twin.Send(np.array([2]), peer, 1)
    MPI.Request.Waitall(requests)
    seen: list[Any] = [int(a[0]), int(b[0]), half.rank, half.size, half.allgather(rank), nobody == MPI.COMM_NULL]
    seen += [comm.Compare(other) for other in (comm, twin, half)]
    seen.append(twin == comm)
    if pair != MPI.COMM_NULL:
        seen.append((pair.rank, pair.allgather(rank), created.allgather(rank)))
        pair.Free()
        created.Free()
    else:
        seen.append(created == MPI.COMM_NULL)
    twin.Set_name("a twin")
    seen += [twin.Get_name(), twin.name, comm.group.Get_size(), comm.Is_intra(), comm.is_inter, bool(twin)]
    twin.Free()
    half.Free()
    return [*seen, twin == MPI.COMM_NULL, bool(twin)]


@case
def attributes(comm: Any) -> Any:
    keyval = MPI.Comm.Create_keyval()
    comm.Set_attr(keyval, {"some": "thing"})
    first = comm.Get_attr(keyval)
    comm.Delete_attr(keyval)
    return first, comm.Get_attr(keyval), comm.Get_attr(MPI.TAG_UB) is not None


@case
def wrong_arguments(comm: Any) -> Any:
    """Ranks, tags and roots that don't exist."""
    box = np.zeros(1, int)
    return [
        error_of(lambda: comm.Send(box, comm.size)),
        error_of(lambda: comm.Recv(box, comm.size + 3)),
        error_of(lambda: comm.Send(box, 0, -5)),
        error_of(lambda: comm.Bcast(box, comm.size)),
        error_of(lambda: comm.Irecv(box, -77)),
    ]


@case
def error_handlers(comm: Any) -> Any:
    before = comm.Get_errhandler() == MPI.ERRORS_RETURN
    comm.Set_errhandler(MPI.ERRORS_RETURN)
    return before, comm.Get_errhandler() == MPI.ERRORS_RETURN


@case
def get_status(comm: Any) -> Any:
    """Get_status looks without completing."""
    peer = comm.rank ^ 1
    box = np.zeros(3, "B")
    request = comm.Irecv(box, peer, 6)
    comm.Send(np.ones(3, "B"), peer, 6)
    status = MPI.Status()
    while not request.Get_status(status):
        pass
    again = request.Get_status()
    not_null = request != MPI.REQUEST_NULL
    request.Wait()
    return envelope(status), again, not_null


_twins: dict[int, Any] = {}


def _twin(comm: Any, **options: Any) -> Any:
    key = hash((comm.Get_size(), *options.items()))
    if key not in _twins:
        _twins[key] = emulator.emulate(MPI.COMM_WORLD, plain(), **options)
    return _twins[key]


@on_ranks(4, name=[function.__name__ for function in CASES])
def test_the_same_as_mpi(comm: MPI.Intracomm, name: str) -> None:
    function = next(one for one in CASES if one.__name__ == name)
    emulated = _twin(comm)
    expected = function(comm)
    comm.Barrier()
    assert function(emulated) == expected, inspect.getdoc(function)


@on_ranks(4, name=[function.__name__ for function in CASES if function is not long_messages])
def test_the_same_when_paced(comm: MPI.Intracomm, name: str) -> None:
    function = next(one for one in CASES if one.__name__ == name)
    emulated = _twin(comm, pace=20.0, compute="measured")
    expected = function(comm)
    comm.Barrier()
    emulated.align()
    assert function(emulated) == expected, inspect.getdoc(function)
