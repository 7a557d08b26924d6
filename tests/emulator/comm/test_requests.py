"""How operations complete: modes of sending, persistent requests, waits and tests, cancelling."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from tests.emulator.same import Cases, envelope, same_as_mpi, same_when_paced
from tests.emulator.small_networks import plain
from tests.ranks import on_ranks

NULL = MPI.PROC_NULL
cases = Cases()


@cases
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


@cases
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


@cases
def buffered_and_ready_sends(comm: Any) -> Any:
    peer = comm.rank ^ 1
    MPI.Attach_buffer(bytearray(1 << 22))
    comm.Bsend(np.array([1]), peer, 1)
    comm.bsend("b", peer, 2)
    box = np.zeros(1, int)
    comm.Recv(box, peer, 1)
    seen = [int(box[0]), comm.recv(source=peer, tag=2)]
    for turn in range(3):  # the copies are nobody's but the communicator's
        comm.Bsend(np.full(1 << 17, 10 * comm.rank + turn), peer, 4)
    gc.collect()
    comm.Barrier()
    long = np.zeros(1 << 17, int)
    for _ in range(3):
        comm.Recv(long, peer, 4)
        seen.append((int(long.min()), int(long.max())))
    MPI.Detach_buffer()
    request = comm.Irecv(box, peer, 3)
    comm.Barrier()
    comm.Rsend(np.array([3]), peer, 3)
    request.Wait()
    return [*seen, int(box[0])]


@cases
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


@cases
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
        done += [(index, status.Get_tag()) for index, status in zip(indices, statuses, strict=True)]
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


@cases
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


@cases
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


@cases
def exchanges(comm: Any) -> Any:
    """A send and a receive as one request, blocking and not, in place and not."""
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    seen = []
    for size in (3, 50_000):
        out, box = np.full(size, comm.rank), np.zeros(size, int)
        status = MPI.Status()
        comm.Sendrecv(out, right, 5, box, left, 5, status)
        seen.append((int(box[-1]), envelope(status)))
        comm.Sendrecv_replace(box, right, 6, left, 6)
        seen.append(int(box[-1]))
        request = comm.Isendrecv(out, right, 5, box, left, 5)
        request.Wait(status)
        seen.append((int(box[-1]), envelope(status), request == MPI.REQUEST_NULL))
        requests = [comm.Isendrecv_replace(box, right, 6, left, 6), comm.Isendrecv(out, NULL, 0, None, NULL)]
        MPI.Request.Waitall(requests)
        seen.append(int(box[-1]))
    return seen


@cases
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


@on_ranks(2)
def test_the_status_of_several_requests_is_seen_without_completing_them(comm: MPI.Intracomm) -> None:
    """Not compared with MPI, which has these calls since version 4.1 of its standard."""
    emulated = emulator.emulate(comm, plain())
    peer, boxes = 1 - comm.rank, [np.zeros(n, "B") for n in (1, 3)]
    requests = [emulated.Irecv(box, peer, tag) for tag, box in enumerate(boxes)]
    assert MPI.Request.Get_status_any(requests) == (MPI.UNDEFINED, False)
    assert MPI.Request.Get_status_some(requests) == []
    comm.Barrier()
    emulated.Send(np.ones(3, "B"), peer, 1)
    status, statuses = MPI.Status(), [MPI.Status()]
    while not MPI.Request.Get_status_any([MPI.REQUEST_NULL, *requests], status)[1]:
        pass
    assert MPI.Request.Get_status_some([MPI.REQUEST_NULL, *requests], statuses) == [2]
    assert envelope(status) == envelope(statuses[0])
    assert (status.tag, status.Get_count(MPI.BYTE)) == (1, 3)
    assert not MPI.Request.Get_status_all(requests)
    requests[1].Wait()
    requests[0].Cancel()
    requests[0].Wait()
    assert MPI.Request.Get_status_any(requests) == (MPI.UNDEFINED, True)
    assert MPI.Request.Get_status_some(requests) is None


@on_ranks(4, function=cases)
def test_the_same_as_mpi(comm: MPI.Intracomm, function: Any) -> None:
    same_as_mpi(comm, function)


@on_ranks(4, function=cases)
def test_the_same_when_paced(comm: MPI.Intracomm, function: Any) -> None:
    same_when_paced(comm, function)
