"""Making communicators, and what they hold: attributes, error handlers, legal arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from tests.emulator.same import Cases, error_of, same_as_mpi, same_when_paced
from tests.ranks import on_ranks

cases = Cases()


@cases
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


@cases
def attributes(comm: Any) -> Any:
    keyval = MPI.Comm.Create_keyval()
    comm.Set_attr(keyval, {"some": "thing"})
    first = comm.Get_attr(keyval)
    comm.Delete_attr(keyval)
    return first, comm.Get_attr(keyval), comm.Get_attr(MPI.TAG_UB) is not None


@cases
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


@cases
def a_refused_exchange_posts_no_receive(comm: Any) -> Any:
    """The message that the receive of a wrong Sendrecv could have had is there for the next one."""
    box, other = np.zeros(1, int), np.zeros(1, int)
    code = error_of(lambda: comm.Sendrecv(box, comm.size, 0, other, comm.rank, 3))
    request = comm.Isend(np.array([7]), comm.rank, 3)
    comm.Recv(box, comm.rank, 3)
    request.Wait()
    return code, int(box[0]), int(other[0])


@cases
def error_handlers(comm: Any) -> Any:
    before = comm.Get_errhandler() == MPI.ERRORS_RETURN
    comm.Set_errhandler(MPI.ERRORS_RETURN)
    return before, comm.Get_errhandler() == MPI.ERRORS_RETURN


@on_ranks(4, function=cases)
def test_the_same_as_mpi(comm: MPI.Intracomm, function: Any) -> None:
    same_as_mpi(comm, function)


@on_ranks(4, function=cases)
def test_the_same_when_paced(comm: MPI.Intracomm, function: Any) -> None:
    same_when_paced(comm, function)
