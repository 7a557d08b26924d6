"""Small tasks per second through one coordinator with three workers, beside mpi4py.futures and dask.distributed.

dask.distributed is measured where it is installed: in this Python, or in the one that ``BENCH_DASK_PYTHON`` names.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mpi4py import MPI
from mpi4py.futures import MPICommExecutor

from bench._common import Row, figures, in_turns, medians, row, write, written
from emulator.errors import CheckFailed
from primitives.scatter_gather import coordinator, steal_tasks

FUTURES_CHUNK = 100
_RANKS = 4
_ENOUGH_S = 10.0
_START_S = 20.0  # what a job may take beside its budget; a contestant that takes longer has no figures


def rows(budget: float) -> Iterator[Row]:
    """Tasks per second, medians over turns in which the contestants of a job alternate."""
    share = min(budget / 2, _ENOUGH_S)
    ours = medians(figures(_RANKS, "bench.scatter_gather", share, limit_s=2 * share + _START_S))
    batches, single = ours["ours"], ours["ours, one by one"]
    yield row("tasks/s, batches measured, 3 workers", batches, "1/s", least=20_000)
    # theirs returns bare values: no durations, retries, or filter against second results
    yield row("the same (other: mpi4py.futures, chunks of 100)", batches, "1/s", ours["futures"], least_ratio=0.8)
    yield row("tasks/s, one by one (other: mpi4py.futures)", single, "1/s", ours["futures, one by one"])
    yield row("tasks/s, work stealing, 4 ranks work", ours["stealing"], "1/s")
    dask = _dask(share)
    why = "" if dask else " (no dask here)"
    yield row(f"tasks/s, batches (other: dask.distributed, chunks of 100){why}", batches, "1/s", dask.get("chunks"))
    yield row(f"tasks/s, one by one (other: dask.distributed){why}", single, "1/s", dask.get("one by one"))


def _dask(budget: float) -> dict[str, float]:
    """Medians of dask.distributed's rates; none where it is not installed or does not start in time."""
    python = os.environ.get("BENCH_DASK_PYTHON") or (importlib.util.find_spec("distributed") and sys.executable)
    if not python:
        return {}
    program = str(Path(__file__).with_name("_tasks_dask.py"))
    try:
        return medians(written([python, program, "{file}", str(budget)], 2 * budget + _START_S))
    except CheckFailed:
        return {}


def square(x: int) -> int:
    """The task: as small as a task can be."""
    return x * x


def ours(comm: MPI.Intracomm, tasks: int, batch: int | None) -> float | None:
    """Tasks per second through the coordinator, on rank 0."""
    with coordinator(comm, square, batch=batch) as pool:
        if pool is None:
            return None
        start = time.perf_counter()
        values = pool.ask(range(tasks)).values()
        return _rate(values, tasks, start)


def futures(comm: MPI.Intracomm, tasks: int, chunk: int) -> float | None:
    """The same through mpi4py.futures."""
    with MPICommExecutor(comm, root=0) as executor:
        if executor is None:
            return None
        start = time.perf_counter()
        values = list(executor.map(square, range(tasks), chunksize=chunk))
        return _rate(values, tasks, start)


def stealing(comm: MPI.Intracomm, tasks: int) -> float | None:
    """The same by work stealing; every rank works."""
    start = time.perf_counter()
    answer = steal_tasks(comm, square, range(tasks))
    return None if answer is None else _rate(answer.values(), tasks, start)


def _rate(values: list[int], tasks: int, start: float) -> float:
    seconds = time.perf_counter() - start
    if values != [x * x for x in range(tasks)]:
        raise AssertionError("wrong results")
    return tasks / seconds


def main(budget: str) -> dict[str, list[float]]:
    """The rates of all contestants, which alternate."""
    comm = MPI.COMM_WORLD
    contestants: dict[str, Callable[[], float | None]] = {
        "ours": lambda: ours(comm, 100_000, None),
        "ours, one by one": lambda: ours(comm, 3_000, 1),
        "stealing": lambda: stealing(comm, 100_000),
        "futures": lambda: futures(comm, 100_000, FUTURES_CHUNK),
        "futures, one by one": lambda: futures(comm, 3_000, 1),
    }
    return in_turns(comm, contestants, float(budget))


if __name__ == "__main__":
    write(main)
