"""Letting a process in: spawning it, telling it who works where, handing it the state."""

from __future__ import annotations

import ctypes
import json
import signal
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from mpi4py import MPI

from emulator import launch
from faults.timer import strike

_ORPHAN_S = 8.0
_TAG_WELCOME, _TAG_STATE = 30_001, 30_002


def spawned() -> bool:
    """Whether this process was spawned to take somebody's place."""
    return MPI.Comm.Get_parent() != MPI.COMM_NULL


def arm() -> ctypes.c_void_p | None:
    """Have this process end unless it is welcomed in time: if a survivor dies while it is let in, nobody knows it."""
    return strike(signal.SIGKILL, time.monotonic() + _ORPHAN_S)


def everybody(comm: MPI.Intracomm) -> MPI.Intracomm:
    """All processes of the job: `comm`, or for a spawned one the survivors and the spawned."""
    return MPI.Comm.Get_parent().Merge(high=True) if spawned() else comm


def spawn(survivors: MPI.Intracomm, count: int) -> MPI.Intracomm:
    """Start `count` processes of this program; survivors come first in the communicator of all."""
    between = survivors.Spawn(sys.executable, launch.this_program(), maxprocs=count)
    return between.Merge(high=False)


def welcome(lane: MPI.Intracomm, ranks: Iterable[int], passport: dict[str, Any]) -> None:
    """Tell newcomers who works where."""
    text = np.frombuffer(json.dumps(passport).encode(), np.uint8)
    for rank in ranks:
        lane.Send(text, rank, _TAG_WELCOME)


def be_welcomed(lane: MPI.Intracomm) -> dict[str, Any]:
    """The other end of `welcome`."""
    status = MPI.Status()
    lane.Probe(0, _TAG_WELCOME, status)
    text = np.empty(status.Get_count(MPI.BYTE), np.uint8)
    lane.Recv(text, 0, _TAG_WELCOME)
    return json.loads(text.tobytes())


def give(lane: MPI.Intracomm, rank: int, state: dict[str, np.ndarray]) -> None:
    """Send a copy of the committed state."""
    for name in sorted(state):
        lane.Send(state[name], rank, _TAG_STATE)


def take(lane: MPI.Intracomm, rank: int, state: dict[str, np.ndarray]) -> None:
    """Receive the committed state into arrays of the same names and shapes."""
    for name in sorted(state):
        lane.Recv(state[name], rank, _TAG_STATE)
