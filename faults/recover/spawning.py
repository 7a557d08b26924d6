"""Spawning processes into a running job, and telling them who works where.

    rank 0 of the survivors    spawns alone          receives the new processes' port, sends it on    connects
    the other survivors        sleep for the port                                                     connect
    new processes              start, open a port, send it to rank 0                                  accept

A spawn by all survivors together would have them spin for as long as the new process starts, on the cores that it
starts on.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from faults.agree.survivor_group import quiet, sleepy
from faults.platform import LOCAL, Timer
from faults.record import outcome
from faults.record.status_board import IN_STEPS, REBUILDS

if TYPE_CHECKING:
    from faults.inject.drill_context import DrillContext

_ORPHAN_S = 8.0
_SPAWN_S = 15.0  # some twenty times what it takes 16 ranks on 2 cores
_PORT = MPI.MAX_PORT_NAME
_SPAWN = MPI.Intracomm.Spawn  # a program's own is refused in its loop
_TAG_PLACEMENT, _TAG_PORT, _TAG_HELLO = 30_001, 30_003, 30_006


def spawned() -> bool:
    """Whether this process was spawned to take the place of a dead one."""
    return MPI.Comm.Get_parent() != MPI.COMM_NULL


def arm() -> Timer | None:
    """Have this process end unless it is placed in time: if a survivor dies meanwhile, no other process knows of it."""
    return LOCAL.executioner.strike(signal.SIGKILL, LOCAL.clock.now() + _ORPHAN_S)


def all_processes(comm: MPI.Intracomm) -> MPI.Intracomm:
    """All processes of the job: `comm`, or for a spawned one the survivors and the spawned."""
    if not spawned():
        return comm
    port = ""
    if MPI.COMM_WORLD.Get_rank() == 0:
        port = MPI.Open_port()
        MPI.Comm.Get_parent().Send(np.frombuffer(port.ljust(_PORT).encode(), np.uint8), 0, _TAG_PORT)
    return _greeted(MPI.COMM_WORLD.Accept(port).Merge(high=True), MPI.COMM_WORLD.Get_size())


def spawn(survivors: MPI.Intracomm, count: int, drill: DrillContext) -> MPI.Intracomm:
    """Start `count` processes of this program; survivors come first in the communicator of all.

    Raises
    ------
    MPI.Exception
        A rank died meanwhile; ranks that wait for others are told so.
    """
    try:
        port = _port_of_spawned(survivors, count, drill)
        drill.enters(REBUILDS)
        return _greeted(survivors.Connect(port).Merge(high=False), count)
    except MPI.Exception:
        survivors.Revoke()
        raise


def _greeted(comm: MPI.Intracomm, count: int) -> MPI.Intracomm:
    """The same communicator, after an empty message between each of its last `count` ranks and all other ranks.

    Open MPI looks a spawned process up when it first sends something to it, and if that process is dead by then, the
    lookup never returns. That first message may be the notice of its death, or of a revocation, to be passed on: seen
    in ranks that had never sent a message to the new process.
    """
    quiet(comm)
    first = comm.Get_size() - count
    others = range(comm.Get_size()) if comm.Get_rank() >= first else range(first, comm.Get_size())
    requests = [comm.Irecv(bytearray(), other, _TAG_HELLO) for other in others]
    requests += [comm.Isend(b"", other, _TAG_HELLO) for other in others]
    for request in requests:
        sleepy(request)
    return comm


def _port_of_spawned(survivors: MPI.Intracomm, count: int, drill: DrillContext) -> str:
    port = np.zeros(_PORT, np.uint8)
    if survivors.Get_rank() == 0:
        # It may hang when a rank that was spawning died before: then this process ends too, and the next one spawns.
        stuck = LOCAL.executioner.strike(signal.SIGALRM, LOCAL.clock.now() + _SPAWN_S)
        words = [*shlex.split(os.environ.get(outcome.PARENT, "")), sys.executable, *sys.orig_argv[1:]]
        between = _SPAWN(MPI.COMM_SELF, words[0], words[1:], maxprocs=count)
        LOCAL.executioner.cancel(stuck)
        quiet(between)
        drill.enters(IN_STEPS)  # until the new processes have come to their loop, as long as the program takes for that
        between.Recv(port, 0, _TAG_PORT)
        for rank in range(1, survivors.Get_size()):
            survivors.Send(port, rank, _TAG_PORT)
    else:
        drill.enters(IN_STEPS)
        sleepy(survivors.Irecv(port, 0, _TAG_PORT))
    return port.tobytes().decode().rstrip()


def send_placement(comm: MPI.Intracomm, ranks: Iterable[int], message: dict[str, Any]) -> None:
    """Tell spawned processes who works where."""
    text = np.frombuffer(json.dumps(message).encode(), np.uint8)
    for rank in ranks:
        comm.Send(text, rank, _TAG_PLACEMENT)


def receive_placement(comm: MPI.Intracomm) -> dict[str, Any]:
    """The other end of `send_placement`."""
    status = MPI.Status()
    comm.Probe(0, _TAG_PLACEMENT, status)
    text = np.empty(status.Get_count(MPI.BYTE), np.uint8)
    comm.Recv(text, 0, _TAG_PLACEMENT)
    return json.loads(text.tobytes())
