"""Time of one push and pull of n bytes through a parameter server, in the steady state of synchronous training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from emulator import carrier
from primitives.parameter_server import Add, ParameterServer, Table, Worker

WARM_UP = 2


@dataclass(frozen=True)
class Seen:
    """What one rank saw.

    Attributes
    ----------
    ends
        When each of its pulls was complete, in seconds (empty on a server).
    wrong
        Elements that differ from the exact sum.
    worker_bytes
        Sent and received by this worker.
    """

    ends: NDArray[np.float64]
    wrong: int = 0
    worker_bytes: int = 0


def steps(comm: Any, size: int, servers: int, count: int, compute: float = 0.0, **options: Any) -> Seen:
    """Pull, compute, push `count` times on every worker, synchronously.

    Every worker adds ones, so that after c iterations of w workers every element is c w: each pull is checked.

    Parameters
    ----------
    comm
        The first `servers` ranks serve, the others work.
    size
        Bytes of the table (elements of 8 bytes, at least one for each server).
    compute
        Declared seconds between a pull and the push.
    """
    table = Table("w", max(servers, size // 8), update=Add())
    ps = ParameterServer(comm, [table], servers=servers, **options)
    workers = len(ps.layout.workers)

    def work(worker: Worker) -> Seen:
        values, ones = np.empty(table.rows), np.ones(table.rows)
        ends, wrong = [], 0
        pull = worker.pull_async("w", out=values)
        for step in range(count + WARM_UP):
            pull.wait()
            ends.append(emulator.now(comm))
            wrong += int(np.count_nonzero(values != step * workers))
            if compute:
                emulator.compute(comm, compute)
            pull = worker.push_pull("w", ones, out=values)
        pull.wait()
        channel = worker.channel
        return Seen(np.array(ends), wrong, channel.sent_bytes + channel.received_bytes)

    return ps.run(work) or Seen(np.empty(0))


def step_times(seen: list[Seen]) -> NDArray[np.float64]:
    """Seconds from one step's completion (by the last worker) to the next one's, after the warm-up."""
    ends = np.array([one.ends for one in seen if len(one.ends)]).max(axis=0)
    return np.diff(ends)[WARM_UP - 1 :]


def measure(control: MPI.Intracomm, comm: Any, size: int, servers: int, count: int, **options: Any) -> list[Seen]:
    """Run `steps` on the members of `comm` (None elsewhere); rank 0 of `control` gets what every rank saw."""
    control.Barrier()
    if comm is not None:
        carrier.of(comm).align()
    seen = Seen(np.empty(0)) if comm is None else steps(comm, size, servers, count, **options)
    return control.gather(seen) or []
