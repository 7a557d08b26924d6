"""What would wait for a dead rank or for a spare is refused in a program's loop; what waits for none is carried out."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from emulator.errors import UsageError
from faults.recover.survivors import revoked_comms
from faults.recover.user_loop import program_failure, refused_calls
from tests.ranks import on_ranks

RANKS = 4


@contextlib.contextmanager
def in_loop() -> Iterator[None]:
    """As if this process were in a program's loop."""
    program_failure._Loop.entered = True
    try:
        yield
    finally:
        program_failure._Loop.entered = False


def refused(said: str, call: Any, *arguments: Any, **named: Any) -> None:
    with in_loop(), pytest.raises(UsageError, match=said):
        call(*arguments, **named)


@on_ranks(RANKS)
def test_windows_of_several_ranks_are_refused_and_their_memory_is_not(comm: MPI.Intracomm) -> None:
    refused_calls.refuse_what_hangs()
    shared = MPI.Win.Allocate_shared(8, 8, comm=comm)
    refused(r"Win.Fence of 4 ranks in the loop would wait for a dead one for ever: use messages", shared.Fence)
    for name in ("Lock", "Unlock_all", "Flush", "Put", "Rget_accumulate", "Free"):
        refused(rf"Win.{name} of 4 ranks in the loop", getattr(shared, name))
    refused("Win.Allocate of 4 ranks", MPI.Win.Allocate, 8, comm=comm)
    refused("Win.Create of 4 ranks", MPI.Win.Create, np.zeros(1), 1, MPI.INFO_NULL, comm)
    with in_loop():
        shared.tomemory()[:1] = b"a"
        shared.Sync()
        alone = MPI.Win.Allocate(8, comm=MPI.COMM_SELF)
        alone.Fence()
        alone.Free()


@on_ranks(RANKS)
def test_what_ranks_do_to_a_file_together_is_refused_and_what_one_does_is_not(comm: MPI.Intracomm) -> None:
    refused_calls.refuse_what_hangs()
    folder = Path(comm.bcast(tempfile.mkdtemp() if comm.rank == 0 else None))
    file = MPI.File.Open(comm, str(folder / "together"), MPI.MODE_CREATE | MPI.MODE_RDWR)
    data = np.array([float(comm.rank)])
    for name in ("Write_at_all", "Iread_all", "Write_ordered_begin", "Read_shared", "Set_size", "Sync", "Close"):
        refused(rf"File.{name} of 4 ranks in the loop .*: open it on MPI.COMM_SELF", getattr(file, name))
    refused("File.Open of 4 ranks", MPI.File.Open, comm, str(folder / "other"), MPI.MODE_CREATE | MPI.MODE_RDWR)
    with in_loop():
        file.Write_at(8 * comm.rank, data)
        alone = MPI.File.Open(MPI.COMM_SELF, str(folder / f"{comm.rank}"), MPI.MODE_CREATE | MPI.MODE_RDWR)
        alone.Write_all(data)
        alone.Close()
    comm.Barrier()
    assert np.fromfile(folder / "together").tolist() == list(range(RANKS))
    assert np.fromfile(folder / f"{comm.rank}").tolist() == [comm.rank]


@on_ranks(RANKS)
def test_a_program_spawns_no_processes_in_its_loop(comm: MPI.Intracomm) -> None:
    refused_calls.refuse_what_hangs()
    refused("Spawn in the loop starts processes that no recovery reaches: use subprocess", comm.Spawn, "sleep", ["1"])
    refused("Spawn_multiple in the loop", MPI.COMM_SELF.Spawn_multiple, ["sleep"])


@on_ranks(RANKS)
def test_collectives_with_a_spare_are_refused_on_whatever_communicator(comm: MPI.Intracomm) -> None:
    refused_calls.refuse_collectives_with_spares(comm, 1)
    twin, ring = comm.Dup(), comm.Create_cart([RANKS], [True])
    work: Any = comm.Split(comm.rank == RANKS - 1)
    between = work.Create_intercomm(0, comm, 0 if comm.rank == RANKS - 1 else RANKS - 1)
    refused(
        "allreduce on MPI.COMM_WORLD in the loop would wait for the spares, .*: use job.comm",
        MPI.COMM_WORLD.allreduce,
        1,
    )
    refused("Ibarrier on a communicator of MPI.COMM_WORLD's ranks in the loop", twin.Ibarrier)
    refused("neighbor_allgather on a communicator", ring.neighbor_allgather, 1)
    refused("Barrier on a communicator", between.Barrier)
    refused("Split on MPI.COMM_WORLD", MPI.COMM_WORLD.Split, 0)
    revoked_comms.claim([twin])
    with in_loop():
        assert twin.allreduce(1) == RANKS
        if comm.rank < RANKS - 1:
            assert work.allreduce(1) == RANKS - 1
    assert ring.neighbor_allgather(comm.rank) == [(comm.rank - 1) % RANKS, (comm.rank + 1) % RANKS]
    for one in (between, work, ring, twin):
        one.Free()


@on_ranks(RANKS, net="1gbe")
def test_collectives_with_a_spare_are_refused_on_an_emulated_communicator(comm: Any) -> None:
    refused_calls.refuse_collectives_with_spares(comm, 1)
    refused("allreduce on a communicator of MPI.COMM_WORLD's ranks in the loop", comm.allreduce, 1)
    assert comm.allreduce(1) == RANKS
