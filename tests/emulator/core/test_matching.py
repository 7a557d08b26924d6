"""Which message a receive gets: order, wildcards, truncation, probes."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import carrier
from tests.emulator.same import Cases, envelope, error_of, same_as_mpi, same_when_paced
from tests.ranks import on_ranks

ANY = MPI.ANY_SOURCE
ANY_TAG = MPI.ANY_TAG
NULL = MPI.PROC_NULL
cases = Cases()


@cases
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


@cases
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


@cases
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


@cases
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


@cases
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


@cases
def truncation_in_waitall(comm: Any) -> Any:
    result = None
    if comm.rank == 1:
        comm.Send(np.full(2, 1, "B"), 0, 1)
        comm.Send(np.full(9, 2, "B"), 0, 2)
    if comm.rank == 0:
        boxes = [np.zeros(4, "B"), np.zeros(4, "B")]
        requests = [comm.Irecv(boxes[0], 1, 1), comm.Irecv(boxes[1], 1, 2)]
        result = error_of(lambda: MPI.Request.Waitall(requests)) != 0, boxes[0].tolist()
        if carrier.of(comm).timed:  # What is complete raises its error once; Open MPI itself repeats it now and then.
            assert error_of(lambda: MPI.Request.Waitall(requests)) == 0
            assert error_of(requests[1].Wait) == 0
    comm.Barrier()
    return result


@cases
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


@cases
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


@on_ranks(4, function=cases)
def test_the_same_as_mpi(comm: MPI.Intracomm, function: Any) -> None:
    same_as_mpi(comm, function)


@on_ranks(4, function=cases)
def test_the_same_when_paced(comm: MPI.Intracomm, function: Any) -> None:
    same_when_paced(comm, function)
