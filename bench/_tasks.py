"""Ranks of `bench.scatter_gather`: rank 0 coordinates, the others run small tasks; rates as JSON in a file."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpi4py import MPI
from mpi4py.futures import MPICommExecutor

from bench._common import in_turns, write
from primitives.scatter_gather import coordinator, steal_tasks

FUTURES_CHUNK = 100


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
