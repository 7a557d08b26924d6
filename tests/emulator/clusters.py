"""Emulated worlds for tests, and how long something takes on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator.network.jitter import Exponential
from emulator.network.loss import Loss
from emulator.network.topology import Racks
from emulator.sim import SimulatedComm
from tests.emulator.small_networks import BETA, plain

_made: dict[Any, Any] = {}


def emulated(key: str = "plain", **options: Any) -> Any:
    """An emulated world, made once for each kind."""
    if key not in _made:
        network = {
            "plain": lambda: plain(),
            "gap": lambda: plain(gap=1e-3),
            "pairs": lambda: plain(per_host=2),
            "racks": lambda: plain(topology=Racks(4, 2 * BETA, 1e-3)),
            "jitter": lambda: plain(jitter=Exponential(30e-6), loss=Loss(0.02, rto=0.01)),
        }[key.split()[0]]()
        _made[key] = emulator.emulate(MPI.COMM_WORLD, network, **options)
    return _made[key]


def on_network(comm: Any, key: str = "plain") -> Any:
    """The communicator of simulated ranks as it is; that of real ones emulated."""
    return comm if isinstance(comm, SimulatedComm) else emulated(key)


def part(comm: Any, p: int) -> Any:
    """The first `p` ranks; None on the others."""
    sub = comm.Split(0 if comm.rank < p else MPI.UNDEFINED, comm.rank)
    return None if sub == MPI.COMM_NULL else sub


def took(comm: Any, function: Any) -> float:
    """Emulated seconds from the common start to the last rank's end."""
    start = comm.align()
    function()
    end = comm.now()
    assert comm.align() >= end
    return comm._real.allreduce(end, MPI.MAX) - start


def exactly(seconds: float) -> Any:
    return pytest.approx(seconds, rel=1e-9, abs=1e-15)


def story(world: Any) -> list[float]:
    """Messages of many sizes around a ring, so that no card has two to choose from; what time it was after each."""
    times = []
    box = np.zeros(200_000, "B")
    for turn in range(40):
        out = box[: turn * 97 if turn % 8 else 150_000]
        world.Sendrecv(out, (world.rank + 1) % world.size, 0, box, (world.rank - 1) % world.size, 0)
        times.append(world.now())
    return times
