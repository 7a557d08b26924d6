"""Admitting new processes into a running job, and telling them who works where.

    one rank                starts them (`starting`)    tells the others that they are ready    accepts
    the other survivors     sleep until they are ready                                          accept
    new processes           start, and wait until they are called                               connect

Under a policy that lets them in later, they have been started, and are ready, before all come here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from mpi4py import MPI

from faults.agree.survivor_group import quiet, sleepy
from faults.platform import Clock, Timer
from faults.record import outcome
from faults.record.status_board import IN_STEPS, REBUILDS
from faults.recover.replacements.new_process import CONNECTION

if TYPE_CHECKING:
    from faults.inject.drill_context import DrillContext

_MINE = os.environ.pop(CONNECTION, "")  # not for the processes that this one starts
_ORPHAN_S = 8.0
_LOOK_S = 1e-3
_TAG_PLACEMENT, _TAG_READY, _TAG_HELLO = 30_001, 30_003, 30_006


if _MINE:
    os.set_inheritable(int(_MINE), False)


def spawned() -> bool:
    """Whether this process was started into a running job."""
    return bool(_MINE)


class Started(Protocol):
    """New processes, from their start until they are admitted; held by the rank that starts them.

    Attributes
    ----------
    launched : whether they run
    """

    launched: bool

    def ready(self) -> bool:
        """Whether all of them wait to be admitted; raises MPI.Exception if they will not come."""

    def call(self) -> str:
        """Tell all of them to connect to a port, and return it."""

    def close(self) -> None:
        """Stop waiting for them: those that were not told to connect end themselves."""


class Starter:
    """Starts processes of this program into the running job: by mpirun, unless the platform has another way.

    Attributes
    ----------
    onto_network : the processes have their place on an emulated network
    """

    onto_network = False

    @property
    def spawned(self) -> bool:
        """Whether the calling process was started by it."""
        return spawned()

    def start(self, places: Sequence[int]) -> Started:
        """Start a process for each of these empty places, to be admitted later."""
        from faults.recover.replacements.starting import (
            Newcomers,  # every rank pays for an import, and one starts others
        )

        command = [*shlex.split(os.environ.get(outcome.PARENT, "")), sys.executable, *sys.orig_argv[1:]]
        return Newcomers(command, len(places))

    def called(self) -> str:
        """Tell the rank that started this process that it is ready, and wait asleep for the port to connect to.

        Empty if that rank has died, or needs it no more.
        """
        connection, said = int(_MINE), b""
        with contextlib.suppress(OSError):
            os.write(connection, b"r")
            while not said.endswith(b"\n") and (more := os.read(connection, MPI.MAX_PORT_NAME)):
                said += more
        os.close(connection)
        return said.decode().rstrip() if said.endswith(b"\n") else ""


_BY_MPIRUN = Starter()


def starter_of(drill: DrillContext) -> Starter:
    """The starter of processes on a job's platform."""
    return drill.platform.starter or _BY_MPIRUN


@contextlib.contextmanager
def joining(drill: DrillContext) -> Iterator[None]:
    """End this spawned process if a rank dies before it has its place: the survivors start others."""
    try:
        yield
    except MPI.Exception:
        if starter_of(drill).spawned:
            drill.platform.executioner.strike(signal.SIGKILL)
        raise


def all_processes(comm: MPI.Intracomm, drill: DrillContext) -> tuple[MPI.Intracomm, Timer | None]:
    """The communicator of all processes: `comm`, or on a spawned process of the survivors and the spawned.

    Returns
    -------
    communicator, timer
        The timer ends a spawned process unless it is placed in time: if a survivor dies meanwhile, no other process
        knows of it.
    """
    starter, platform = starter_of(drill), drill.platform
    if not starter.spawned:
        return comm, None
    drill.enters(IN_STEPS)
    port = starter.called()
    if not port:
        platform.executioner.strike(signal.SIGKILL)
    drill.enters(REBUILDS)
    orphan_timer = platform.executioner.strike(signal.SIGKILL, platform.clock.now() + _ORPHAN_S)
    world = platform.world or MPI.COMM_WORLD
    return _greeted(world.Connect(port).Merge(high=True), world.Get_size(), platform.clock), orphan_timer


def let_in(survivors: MPI.Intracomm, starter: int, newcomers: Started | None, drill: DrillContext) -> MPI.Intracomm:
    """Connect to new processes as soon as they are ready; survivors have the lowest ranks in the communicator of all.

    Parameters
    ----------
    starter : the rank that has started them
    newcomers : on that rank

    Raises
    ------
    MPI.Exception
        A rank died meanwhile; ranks that wait for others are told so.
    """
    try:
        port = _port_when_ready(survivors, starter, newcomers, drill)
        drill.enters(REBUILDS)
        everyone = survivors.Accept(port, root=starter).Merge(high=False)
        return _greeted(everyone, everyone.Get_size() - survivors.Get_size(), drill.platform.clock)
    except MPI.Exception:
        survivors.Revoke()
        raise


def _port_when_ready(survivors: MPI.Intracomm, starter: int, newcomers: Started | None, drill: DrillContext) -> str:
    """Wait until the new processes are ready; the rank that started them returns the port, the others ""."""
    rank, size = survivors.Get_rank(), survivors.Get_size()
    if rank != starter:
        drill.enters(IN_STEPS)  # until the new processes have come to their loop, as long as the program takes for that
        sleepy(survivors.Irecv(bytearray(), starter, _TAG_READY), clock=drill.platform.clock)
        return ""
    if newcomers is None:
        raise MPI.Exception(MPI.ERR_OTHER)
    while not newcomers.ready():
        if newcomers.launched:
            drill.enters(IN_STEPS)
        drill.platform.clock.sleep(_LOOK_S)
        _check_alive(survivors)
    _check_alive(survivors)
    for other in range(size):
        if other != rank:
            survivors.Send(b"", other, _TAG_READY)
    return newcomers.call()


def _greeted(comm: MPI.Intracomm, count: int, clock: Clock) -> MPI.Intracomm:
    """The same communicator, after an empty message between each of its last `count` ranks and all others.

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
        sleepy(request, clock=clock)
    return comm


def _check_alive(survivors: MPI.Intracomm) -> None:
    """Raise an MPI error if a survivor is known to be dead, because Accept with a dead rank hangs."""
    MPI.COMM_SELF.Iprobe()  # news of deaths come in while MPI makes progress
    failed = survivors.Get_failed()
    size = failed.Get_size()
    failed.Free()
    if size:
        raise MPI.Exception(MPI.ERR_PROC_FAILED)


def send_placement(comm: MPI.Intracomm, ranks: Iterable[int], message: dict[str, Any]) -> None:
    """Send spawned processes the placement: who works where."""
    text = np.frombuffer(json.dumps(message).encode(), np.uint8)
    for rank in ranks:
        comm.Send(text, rank, _TAG_PLACEMENT)


def receive_placement(comm: MPI.Intracomm) -> dict[str, Any]:
    """Receive what `send_placement` sends."""
    status = MPI.Status()
    comm.Probe(0, _TAG_PLACEMENT, status)
    text = np.empty(status.Get_count(MPI.BYTE), np.uint8)
    comm.Recv(text, 0, _TAG_PLACEMENT)
    return json.loads(text.tobytes())
