"""Pushes and pulls per second through one server with three workers, beside the plainest pickled server."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from bench._common import Row, figures, in_turns, medians, row, write
from primitives.parameter_server import Add, Consistency, ParameterServer, Table, Worker

SMALL, LARGE = 64, 1 << 17  # elements of 8 bytes
COUNT = 50  # requests between two looks at the watch
_RANKS = 4
_ENOUGH_S = 12.0


def rows(budget: float) -> list[Row]:
    """Steps (a push and a pull) and messages per second; medians of five turns."""
    rates = medians(figures(_RANKS, "bench.parameter_server", min(budget, _ENOUGH_S), limit_s=60 + 3 * budget))
    step_gb = 2 * 2**20 / 1e9
    return [
        row("messages/s, push + pull of 512 B (other: pickled)", 2 * rates["small"], "1/s", 2 * rates["pickled"]),
        row("GB/s through the server, push + pull of 1 MiB (other: pickled)",
            step_gb * rates["large"], "GB/s", step_gb * rates["large pickled"]),
        row("messages/s, push + pull of 256 of 65536 rows", 2 * rates["sparse"], "1/s"),
        row("pushes/s of 512 B, flushed every 50", rates["push"], "1/s"),
    ]  # fmt: skip


def push_pull(comm: MPI.Intracomm, rows: int, seconds: float, keys: Any = None) -> int:
    """Steps that this worker made: one push and one pull each, two messages."""
    ps = ParameterServer(comm, [Table("w", rows, update=Add())], consistency=Consistency("async"))

    def work(worker: Worker) -> int:
        ones, steps = np.ones(rows if keys is None else len(keys)), 0
        pull = worker.pull_async("w", keys)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for _ in range(COUNT):
                pull.wait()
                pull = worker.push_pull("w", ones, keys)
            steps += COUNT
        pull.wait()
        return steps

    return ps.run(work) or 0


def push(comm: MPI.Intracomm, rows: int, seconds: float) -> int:
    """Pushes that this worker made, a flush after every `COUNT`."""
    ps = ParameterServer(comm, [Table("w", rows, update=Add())], consistency=Consistency("async"))

    def work(worker: Worker) -> int:
        ones, steps = np.ones(rows), 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for _ in range(COUNT):
                worker.push("w", ones, closes=True)
            worker.flush()
            steps += COUNT
        return steps

    return ps.run(work) or 0


def pickled(comm: MPI.Intracomm, rows: int, seconds: float) -> int:
    """The plainest server: pickled gradients in, pickled weights out."""
    if comm.Get_rank() > 0:
        ones, steps = np.ones(rows), 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for _ in range(COUNT):
                comm.send(ones, 0)
                comm.recv(source=0)
            steps += COUNT
        comm.send(None, 0)
        return steps
    weights, left, status = np.zeros(rows), comm.Get_size() - 1, MPI.Status()
    while left:
        gradient = comm.recv(source=MPI.ANY_SOURCE, status=status)
        if gradient is None:
            left -= 1
        else:
            weights += gradient
            comm.send(weights, status.Get_source())
    return 0


def main(budget: str) -> dict[str, list[float]]:
    """The rates of every case, which run five times in turn, so that a drift of the machine hits all."""
    comm = MPI.COMM_WORLD
    keys = np.random.default_rng(0).permutation(1 << 16)[:256]
    cases: dict[str, Callable[[float], int]] = {
        "small": lambda s: push_pull(comm, SMALL, s),
        "pickled": lambda s: pickled(comm, SMALL, s),
        "large": lambda s: push_pull(comm, LARGE, s),
        "large pickled": lambda s: pickled(comm, LARGE, s),
        "sparse": lambda s: push_pull(comm, 1 << 16, s, keys),
        "push": lambda s: push(comm, SMALL, s),
    }
    share = float(budget) / (5 * len(cases))

    def rate(case: Callable[[float], int]) -> float:
        start = time.perf_counter()
        total: int = comm.allreduce(case(share))
        return total / (time.perf_counter() - start)

    return in_turns(comm, {name: partial(rate, case) for name, case in cases.items()}, 0.0, least=5)


if __name__ == "__main__":
    write(main)
