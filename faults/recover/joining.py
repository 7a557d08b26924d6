"""Letting a process in: spawning it, telling it who works where, handing it the state.

    rank 0 of the survivors    spawns alone          hears the newcomers' port, passes it on     connects
    the other survivors        sleep for the port                                                connect
    newcomers                  start, open a port, tell rank 0                                   accept

A spawn by all survivors together would have them spin for as long as the new process starts, on the cores that it
starts on.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from mpi4py import MPI

from faults.agree.survivor_group import quiet, sleepy
from faults.inject.kernel_timer import cancel, strike

_ORPHAN_S = 8.0
_SPAWN_S = 15.0  # some twenty times what it takes 16 ranks on 2 cores
_PORT = MPI.MAX_PORT_NAME
_TAG_WELCOME, _TAG_STATE, _TAG_PORT, _TAG_NUMBER, _TAG_STEP, _TAG_HELLO = range(30_001, 30_007)


def spawned() -> bool:
    """Whether this process was spawned to take somebody's place."""
    return MPI.Comm.Get_parent() != MPI.COMM_NULL


def arm() -> ctypes.c_void_p | None:
    """Have this process end unless it is welcomed in time: if a survivor dies while it is let in, nobody knows it."""
    return strike(signal.SIGKILL, time.monotonic() + _ORPHAN_S)


def everybody(comm: MPI.Intracomm) -> MPI.Intracomm:
    """All processes of the job: `comm`, or for a spawned one the survivors and the spawned."""
    if not spawned():
        return comm
    port = ""
    if MPI.COMM_WORLD.Get_rank() == 0:
        port = MPI.Open_port()
        MPI.Comm.Get_parent().Send(np.frombuffer(port.ljust(_PORT).encode(), np.uint8), 0, _TAG_PORT)
    return _acquainted(MPI.COMM_WORLD.Accept(port).Merge(high=True), MPI.COMM_WORLD.Get_size())


def spawn(survivors: MPI.Intracomm, count: int) -> MPI.Intracomm:
    """Start `count` processes of this program; survivors come first in the communicator of all.

    Raises
    ------
    MPI.Exception
        Somebody died meanwhile; whoever waits for the others is told so.
    """
    try:
        return _acquainted(survivors.Connect(_port_of_newcomers(survivors, count)).Merge(high=False), count)
    except MPI.Exception:
        survivors.Revoke()
        raise


def _acquainted(comm: MPI.Intracomm, count: int) -> MPI.Intracomm:
    """The same communicator, after an empty message between each of its last `count` ranks and everybody else.

    Open MPI looks a spawned process up when it first has something for it, and if that one is dead by then, the lookup
    never comes back. What it has may be the news of that very death, or of a revocation, to be passed on: seen in ranks
    that had never sent a message to the newcomer.
    """
    quiet(comm)
    first = comm.Get_size() - count
    others = range(comm.Get_size()) if comm.Get_rank() >= first else range(first, comm.Get_size())
    requests = [comm.Irecv(bytearray(), other, _TAG_HELLO) for other in others]
    requests += [comm.Isend(b"", other, _TAG_HELLO) for other in others]
    for request in requests:
        sleepy(request)
    return comm


def _port_of_newcomers(survivors: MPI.Intracomm, count: int) -> str:
    port = np.zeros(_PORT, np.uint8)
    if survivors.Get_rank() == 0:
        # It may hang when somebody who was at it died before: then this process ends too, and the next one spawns.
        stuck = strike(signal.SIGALRM, time.monotonic() + _SPAWN_S)
        between = MPI.COMM_SELF.Spawn(sys.executable, sys.orig_argv[1:], maxprocs=count)
        cancel(stuck)
        quiet(between)
        between.Recv(port, 0, _TAG_PORT)
        for rank in range(1, survivors.Get_size()):
            survivors.Send(port, rank, _TAG_PORT)
    else:
        sleepy(survivors.Irecv(port, 0, _TAG_PORT))
    return port.tobytes().decode().rstrip()


def welcome(comm: MPI.Intracomm, ranks: Iterable[int], passport: dict[str, Any]) -> None:
    """Tell newcomers who works where."""
    text = np.frombuffer(json.dumps(passport).encode(), np.uint8)
    for rank in ranks:
        comm.Send(text, rank, _TAG_WELCOME)


def be_welcomed(comm: MPI.Intracomm) -> dict[str, Any]:
    """The other end of `welcome`."""
    status = MPI.Status()
    comm.Probe(0, _TAG_WELCOME, status)
    text = np.empty(status.Get_count(MPI.BYTE), np.uint8)
    comm.Recv(text, 0, _TAG_WELCOME)
    return json.loads(text.tobytes())


def same_for_all(comm: MPI.Intracomm, giver: int, alive: Iterable[int], find: Callable[[], int] | None) -> int:
    """A number that one process finds, on every living one, waiting ones included; below 0 none was found."""
    number = np.zeros(1, np.int64)
    if find is None:
        comm.Recv(number, giver, _TAG_NUMBER)
        return int(number[0])
    number[0] = find()
    for rank in alive:
        if rank != giver:
            comm.Send(number, rank, _TAG_NUMBER)
    return int(number[0])


def give(comm: MPI.Intracomm, rank: int, step: int, state: dict[str, np.ndarray]) -> None:
    """Send a copy of the state after `step` steps."""
    comm.Send(np.array([step]), rank, _TAG_STEP)
    for name in sorted(state):
        comm.Send(state[name], rank, _TAG_STATE)


def take(comm: MPI.Intracomm, rank: int, state: dict[str, np.ndarray]) -> int:
    """Receive it into arrays of the same names and shapes; the number of steps."""
    step = np.zeros(1, np.int64)
    comm.Recv(step, rank, _TAG_STEP)
    for name in sorted(state):
        comm.Recv(state[name], rank, _TAG_STATE)
    return int(step[0])
