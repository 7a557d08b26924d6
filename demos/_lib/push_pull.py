"""Time of one push and pull of n bytes through a parameter server, in the steady state of synchronous training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from demos._lib.timing import affordable, live_s, measured
from emulator import carrier
from emulator.run.demo_run import Run
from emulator.units import format_size
from primitives.parameter_server import Add, ParameterServer, Table, Worker

WARM_UP = 2


@dataclass(frozen=True)
class Seen:
    """Times, errors and traffic of one rank."""

    ends: NDArray[np.float64]  # when each of its pulls was complete, in seconds (empty on a server)
    wrong: int = 0  # elements that differ from the exact sum
    worker_bytes: int = 0  # sent and received by this worker


def steps(comm: Any, size: int, servers: int, count: int, compute: float = 0.0, **options: Any) -> Seen:
    """Pull, compute and push `count` times on every worker, synchronously.

    Every worker adds ones, so that after c iterations of w workers every element is c w: each pull is checked. The
    table has `size` bytes (elements of 8 bytes, at least one for each server); `compute` are the declared seconds
    between a pull and the push.
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


def affordable_jobs(
    run: Run, counts: Sequence[int], servers: int, count: int, seconds: float
) -> list[tuple[int, int]]:  # fmt: skip
    """Rank counts and sizes for which a simulation can time `count` steps in the given wall seconds."""
    jobs = {
        (p, size): live_s(run, 2 * (p - servers) * servers * (count + WARM_UP), size // servers)
        for p in counts for size in run.sizes
    }  # fmt: skip
    kept = affordable(jobs.items(), seconds)
    if dropped := [f"{format_size(size)} bytes on {p} ranks" for p, size in jobs if (p, size) not in kept]:
        run.warn(f"left out: push and pull of {', '.join(dropped)}, for which --budget {run.budget:g} is too short")
    return kept


def measure(control: MPI.Intracomm, comm: Any, size: int, servers: int, count: int, **options: Any) -> list[Seen]:
    """Run `steps` on the members of `comm` (None elsewhere); rank 0 of `control` gets every rank's `Seen`."""
    control.Barrier()
    if comm is not None:
        carrier.of(comm).align()
    seen = Seen(np.empty(0)) if comm is None else steps(comm, size, servers, count, **options)
    return control.gather(seen) or []


def measurement(pattern: str, p: int, size: int, seen: list[Seen], **more: Any) -> dict[str, Any]:
    """The measurement for the result file: a step lasts from one completion to the next."""
    times = step_times(seen)
    algbw, wrong = size / float(np.median(times)), sum(one.wrong for one in seen)
    return measured(pattern, p, size, times, algbw=algbw, wrong=wrong, **more)
