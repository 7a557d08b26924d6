"""Ranks of a job in which one dies: every wait for it must raise, and the living must go on. Each writes OK."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import mpi4py

mpi4py.rc.finalize = False

import numpy as np  # noqa: E402
from mpi4py import MPI  # noqa: E402

import emulator  # noqa: E402
from tests.emulator.small_networks import plain  # noqa: E402

SENT = f"{sys.argv[1]}.sent"  # beside the folder of what the ranks write


def raises(what: str, function: Callable[[], object]) -> int:
    """The class of the error that `function` must raise."""
    try:
        function()
    except MPI.Exception as error:
        return error.Get_error_class()
    raise AssertionError(f"{what} raised nothing")


def survive(comm: emulator.comm.EmulatedComm) -> None:  # type: ignore[name-defined]
    rank, dead = comm.rank, comm.size - 1
    box = np.zeros(100_000)
    pending = comm.Irecv(box, dead, 1)
    anyone = comm.Irecv(box[:1], tag=2)
    assert raises("Recv", lambda: comm.Recv(box, dead)) == MPI.ERR_PROC_FAILED
    assert raises("Wait", pending.Wait) == MPI.ERR_PROC_FAILED
    assert raises("Wait from anyone", anyone.Wait) == MPI.ERR_PROC_FAILED_PENDING
    assert raises("recv from anyone", lambda: comm.recv(tag=3)) in (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING)
    assert raises("Send", lambda: comm.Send(box, dead)) == MPI.ERR_PROC_FAILED
    assert raises("Ssend", lambda: comm.Ssend(box[:1], dead)) == MPI.ERR_PROC_FAILED
    assert raises("Probe", lambda: comm.Probe(dead)) == MPI.ERR_PROC_FAILED
    waitall = [comm.Irecv(box, dead), comm.isend(1, MPI.PROC_NULL)]
    raises("Waitall", lambda: MPI.Request.Waitall(waitall))
    comm.Ack_failed()
    assert comm.Get_failed().Get_size() == 1
    # The living go on, on the same communicator; after the acknowledgement from anyone as well.
    if rank == 0:
        assert sorted(comm.recv(tag=7) for _ in range(dead - 1)) == list(range(1, dead))
    else:
        comm.send(rank, 0, 7)
    # A revoked communicator wakes whoever waits on it.
    twin = comm.epochs[0]
    if rank == 1:
        twin.Revoke()
    assert raises("revoked", lambda: twin.Recv(box, 0 if rank else 1, 99)) == MPI.ERR_REVOKED
    assert raises("revoked", lambda: twin.Send(box, 0)) == MPI.ERR_REVOKED
    assert twin.Is_revoked()
    assert not comm.Is_revoked()
    leave_behind(comm, comm.epochs[1])
    small = comm.Shrink()
    assert (small.size, small.rank) == (dead, rank)
    assert small.allreduce(rank) == sum(range(dead))


def leave_behind(comm: emulator.comm.EmulatedComm, old: emulator.comm.EmulatedComm) -> None:  # type: ignore[name-defined]
    """A revoked communicator keeps no sender waiting, and what was under way on it reaches nobody's memory."""
    got = np.zeros(1)
    if comm.rank == 1:
        posted = old.Irecv(got, 0, 5)
        comm.send(None, 0, 9)
        while not os.path.exists(SENT):  # asleep: nothing is taken in meanwhile
            time.sleep(0.01)
        time.sleep(0.1)  # in which rank 0 comes to wait, if it is quick
        old.Revoke()
        comm.recv(source=0, tag=9)
        assert got[0] == 0.0
        assert raises("posted", posted.Wait) == MPI.ERR_REVOKED
    elif comm.rank == 0:
        comm.recv(source=1, tag=9)
        old.Send(np.ones(1), 1, 5)
        open(SENT, "x").close()
        assert raises("never taken", lambda: old.Send(np.ones(1 << 20), 1, 6)) == MPI.ERR_REVOKED
        comm.send(None, 1, 9)


def main() -> None:
    comm = emulator.emulate(MPI.COMM_WORLD, plain(), pace=float(sys.argv[2]) if sys.argv[2] != "none" else "none")
    comm.epochs = [comm.Dup(), comm.Dup()]
    comm.Barrier()
    if comm.rank == comm.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    survive(comm)
    with open(f"{sys.argv[1]}/{comm.rank}", "w") as file:
        file.write("OK")
    MPI.COMM_WORLD.Ack_failed()
    comm._real.Ack_failed()
    comm._real.Agree(1)
    os._exit(0)


if __name__ == "__main__":
    main()
