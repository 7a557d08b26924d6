"""What mpi4py offers on a communicator works on that of the survivors, in their ranks, or is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from emulator.errors import UsageError
from faults.recover.survivors.communicator import SurvivorComm
from faults.recover.survivors.tag_ranges import PAIRS, TagRanges
from tests.simulated import on_simulated_ranks


def survivors(comm: Any, members: list[int]) -> SurvivorComm:
    return SurvivorComm(comm, members, beside=TagRanges(comm.Dup()))


def seen(comm: Any) -> list[Any]:
    """What one rank gets from the collectives, from object messages and on communicators made from `comm`."""
    rank, size = comm.Get_rank(), comm.Get_size()
    left, right = (rank - 1) % size, (rank + 1) % size
    total, everything, dealt = np.empty(2), np.empty(size, int), np.empty(size, int)
    comm.Allreduce(np.array([rank, 1.0]), total)
    comm.Allgather(np.array([rank]), everything)
    comm.Alltoall(np.arange(size) + 10 * rank, dealt)
    comm.Barrier()
    part = comm.Split(rank % 2, -rank)
    none = comm.Split(MPI.UNDEFINED if rank else 0)
    twin = part.Dup()
    result = [
        total.tolist(), everything.tolist(), dealt.tolist(), comm.allreduce({rank}, lambda a, b: a | b),
        comm.bcast(["from", rank], size - 1), comm.gather(rank, 0), comm.scan(rank),
        comm.reduce(rank, MPI.MAX, size - 1), part.allgather((rank, part.Get_rank())), none == MPI.COMM_NULL,
        twin.allreduce(rank), part.bcast(rank), comm.Create(comm.Get_group().Excl([0])) == MPI.COMM_NULL,
    ]  # fmt: skip
    status = MPI.Status()
    receive = comm.irecv(source=MPI.ANY_SOURCE, tag=5)
    comm.isend({"rank": rank}, right, 5).wait()
    result += [receive.wait(status), status.Get_source(), status.Get_tag()]
    sending = part.isend(rank, (part.Get_rank() + 1) % part.Get_size(), 3)
    result += [part.recv(source=MPI.ANY_SOURCE, tag=3, status=status), status.Get_source(), status.Get_tag()]
    sending.wait()
    result.append(comm.sendrecv([rank], right, 1, source=left, recvtag=1, status=status))
    for one in (twin, part):
        one.Free()
    return [*result, status.Get_source()]


@on_simulated_ranks(5, on_mpi={}, members=[[0, 1, 2, 3, 4], [1, 2, 4]])
def test_calls_of_mpi4py_give_what_they_give_on_a_communicator_of_these_ranks(comm: Any, members: list[int]) -> None:
    mine = survivors(comm, members)
    wanted = comm.Split(0 if comm.Get_rank() in members else MPI.UNDEFINED)
    if comm.Get_rank() in members:
        assert seen(mine) == seen(wanted)


@on_simulated_ranks(4)
def test_messages_of_many_communicators_stay_apart(comm: Any) -> None:
    mine = survivors(comm, [0, 1, 2])
    if comm.Get_rank() == 3:
        return
    parts = [mine.Dup() for _ in range(5)]
    right = (mine.rank + 1) % 3
    sends = [part.isend(number, right, 7) for number, part in enumerate(parts)]
    sends.append(mine.isend("own", right, 7))
    assert mine.allreduce(1) == 3, "a collective takes none of the messages"
    assert [part.recv(source=MPI.ANY_SOURCE, tag=7) for part in reversed(parts)] == [4, 3, 2, 1, 0]
    assert mine.recv() == "own", "any tag and any source are those of the communicator itself"
    for send in sends:
        send.wait()


def alone() -> SurvivorComm:
    return SurvivorComm(MPI.COMM_SELF, [0], beside=TagRanges(MPI.COMM_SELF))


def test_a_split_in_each_of_many_steps_uses_the_same_tags_again() -> None:
    comm = alone()
    for _ in range(PAIRS + 10):
        assert comm.Split().Get_size() == 1
    kept = [comm.Split() for _ in range(PAIRS - 1)]
    with pytest.raises(UsageError, match="at most 1023 communicators are made from job"):
        comm.Split()
    kept[0].Free()
    assert comm.Split().allreduce(1) == 1


CARRIED = {
    "Get_rank", "Get_size", "rank", "size", "Send", "Recv", "send", "recv", "isend", "irecv", "Allreduce", "Barrier",
    "Bcast", "allreduce", "Split", "Dup", "Create", "Sendrecv", "Recv_init", "Probe", "Free", "Get_group",
}  # fmt: skip


def test_each_method_of_mpi4py_is_carried_or_refused_with_what_to_use_instead() -> None:
    comm, own = (
        alone(),
        {name for base in SurvivorComm.__mro__ if base.__module__ != "mpi4py.MPI" for name in vars(base)},
    )
    names = [name for name in dir(MPI.Intracomm) if name[0] != "_"]
    missing = [name for name in names if name not in own]
    # What is left takes no communicator: constructors from handles, key values, error handlers.
    assert all(
        isinstance(vars(MPI.Intracomm).get(n, vars(MPI.Comm).get(n)), classmethod | staticmethod) for n in missing
    )
    refused = [name for name in names if _refuses(comm, name)]
    assert not CARRIED & set(refused)
    assert {"Iallreduce", "Create_cart", "Spawn", "Mprobe", "Allreduce_init", "Set_attr", "name"} <= set(refused)


def _refuses(comm: SurvivorComm, name: str) -> bool:
    method = vars(SurvivorComm).get(name)
    if "Refused: " not in (getattr(method, "__doc__", "") or ""):
        return False
    with pytest.raises(UsageError, match=rf"^job.comm has no {name}: [a-z]") as found:
        getattr(comm, name)()
    return "\n" not in str(found.value)


def test_a_communicator_from_before_a_recovery_is_refused_and_so_is_what_was_made_from_it() -> None:
    comm = alone()
    part, twin = comm.Split(), comm.Dup().Dup()
    comm.expire()
    for use in (lambda: comm.send(1, 0), lambda: part.recv(source=0, tag=1), twin.Barrier, comm.Split):
        with pytest.raises(UsageError, match="anew in each step"):
            use()


def test_ranks_and_tags_that_there_are_not_are_errors_of_mpi_or_say_the_limits() -> None:
    comm = alone()
    with pytest.raises(MPI.Exception) as found:
        comm.Send(b"", 1)
    assert found.value.Get_error_class() == MPI.ERR_RANK
    with pytest.raises(MPI.Exception) as found:
        comm.bcast(1, root=1)
    assert found.value.Get_error_class() == MPI.ERR_ROOT
    with pytest.raises(UsageError, match="tags from 0 to 1048575, got ANY_TAG: name the tag"):
        comm.Dup().recv(source=0)
