"""Our all-reduce beside the native MPI_Allreduce, gloo's if PyTorch is installed, and what the memory allows.

For p = 2, 4, 16 one job each; in it everything is repeated in an order that is shuffled for each round, and a time
is that of the whole operation, from the first rank's start to the last one's end. Short operations are timed many
at a time.

The floor: each rank must receive 2 (p-1)/p n bytes and reduce (p-1)/p n, on no more cores than there are. It takes
the copy and add bandwidth that all these cores reach at once on blocks of n/p bytes.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench._common import Row, figures, row, write
from emulator import units

RANKS = [2, 4, 16]
SIZES = [8, 1 << 10, 16 << 10, 128 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20]
SHORT, LONG = 16 << 10, 1 << 20
BATCH_S = 2e-4  # a repetition is at least about that long, because ranks do not start at the same instant


def rows(budget: float) -> list[Row]:
    """Time every size on every number of ranks, one job after another; `budget` in seconds."""
    share = budget / len(RANKS)
    return [row for p in RANKS for row in figures(p, "bench.all_reduce", share, limit_s=10 * share + 120)]


def measure(budget: str) -> list[Row]:
    """Time everything inside a job, and make rows of it on rank 0."""
    from mpi4py import MPI

    from emulator.measure import repetitions

    comm = MPI.COMM_WORLD
    p, members = comm.Get_size(), tuple(range(comm.Get_size()))
    gloo = _gloo(comm)
    jobs = []
    for n in SIZES:
        for name, call, check in _contenders(comm, n, gloo):
            batch = _batch(comm, call)
            once = call if batch == 1 else _repeated(call, batch)
            jobs.append(repetitions.Job(name, p, n, members, comm, once, check, parts=batch))
    series = repetitions.measure(comm.Dup(), jobs, repetitions.Stop(0.9 * float(budget), width=0.02))
    floors = {n: _floor(comm, n) for n in SIZES if n >= LONG}
    if wrong := [one.job for one in series if one.wrong]:
        raise RuntimeError(f"{wrong[0].pattern} of {wrong[0].bytes} bytes on {p} ranks gave wrong elements")
    medians = {(one.job.pattern, one.job.bytes): float(np.median(one.seconds)) for one in series}
    return [row for n in SIZES for row in _compare(p, n, medians, floors)] if comm.Get_rank() == 0 else []


def _contenders(
    comm: Any, n: int, gloo: Callable[[np.ndarray], Callable[[], object]] | None
) -> list[tuple[str, Callable[[], object], Callable[[], int] | None]]:
    """The timed operations on messages of n bytes, as name, call and check."""
    from primitives.collectives.all_reduce import all_reduce

    send, recv = np.full(n // 8, 1.0 + comm.Get_rank()), np.zeros(n // 8)
    total = comm.Get_size() * (comm.Get_size() + 1) / 2

    def wrong() -> int:
        found = int((recv != total).sum())
        recv[:] = 0
        return found

    def by(algorithm: str) -> Callable[[], object]:
        return lambda: all_reduce(comm, send, recv, algorithm=algorithm)

    names = ["auto", "ring", "rabenseifner", "k_ary_tree"] + (["recursive_doubling"] if n <= LONG else [])
    contenders: list[tuple[str, Callable[[], object], Callable[[], int] | None]]
    contenders = [("native", lambda: comm.Allreduce(send, recv), wrong)]
    contenders += [(name, by(name), wrong) for name in names]
    if gloo is not None:
        contenders.append(("gloo", gloo(np.zeros(n // 8)), None))
    return contenders


def _gloo(comm: Any) -> Callable[[np.ndarray], Callable[[], object]] | None:
    """Make a function that turns an array into gloo's all-reduce of it in place; None without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    distributed = importlib.import_module("torch.distributed")
    torch.set_num_threads(1)
    store = comm.bcast(Path(tempfile.mkdtemp()) / "store" if comm.Get_rank() == 0 else None)
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=comm.Get_rank(), world_size=comm.Get_size()
    )

    def of(array: np.ndarray) -> Callable[[], object]:
        tensor = torch.from_numpy(array)
        return lambda: distributed.all_reduce(tensor)

    return of


def _batch(comm: Any, call: Callable[[], object]) -> int:
    """Number of operations per repetition, equal on every rank."""
    call()
    comm.Barrier()
    began = time.perf_counter()
    for _ in range(3):
        call()
    each = comm.bcast((time.perf_counter() - began) / 3)
    return max(1, min(100, int(BATCH_S / each)))


def _repeated(call: Callable[[], object], times: int) -> Callable[[], object]:
    def once() -> None:
        for _ in range(times):
            call()

    return once


def _floor(comm: Any, n: int) -> float:
    """Seconds below which no all-reduce of n bytes can be, if every byte is copied and added by the available cores."""
    from emulator.core import wall_clock

    p = comm.Get_size()
    busy = min(p, wall_clock.cores())
    block = np.ones(max(1, n // p // 8))
    other, out = block.copy(), np.empty_like(block)
    copy = _on_all(comm, busy, lambda: np.copyto(out, block))
    add = _on_all(comm, busy, lambda: np.add(block, other, out=out))
    return p / busy * (p - 1) * (2 * copy + add)


def _on_all(comm: Any, busy: int, call: Callable[[], object]) -> float:
    """Median seconds of a call while as many ranks as cores make it at the same time; the others sleep."""
    comm.Barrier()
    times: list[float] = []
    if comm.Get_rank() < busy:
        end = time.perf_counter() + 0.2
        while len(times) < 3 or time.perf_counter() < end:
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    together = comm.Ibarrier()
    while not together.Test():
        time.sleep(0.002)
    return float(np.median([x for x in comm.allgather(float(np.median(times)) if times else None) if x]))


def _compare(p: int, n: int, medians: dict[tuple[str, int], float], floors: dict[int, float]) -> list[Row]:
    """Rows of one size: each algorithm beside the native one, the automatic choice beside gloo and the floor."""
    found = {name: seconds for (name, size), seconds in medians.items() if size == n}
    native = found.pop("native")
    limit = 0.8 if n >= 16 * LONG else 1.0 if n >= LONG else 2.0 if n <= SHORT else None
    what = f"p={p} {units.format_size(n)}"
    ours = found["auto"]
    rows = [_row(f"{what} auto / native", ours, native, limit)]
    rows.append(_row(f"{what} ring / native", found["ring"], native, 1.0 if n >= LONG else None))
    rows += [
        _row(f"{what} {name} / native", found[name], native, None)
        for name in ("rabenseifner", "k_ary_tree", "recursive_doubling")
        if name in found
    ]
    if "gloo" in found:
        rows.append(_row(f"{what} auto / gloo", ours, found["gloo"], 1.0))
    if n in floors:
        rows.append(_row(f"{what} auto / floor", ours, floors[n], None))
    return rows


def _row(name: str, ours: float, other: float, limit: float | None) -> Row:
    return row(name, ours * 1e6, "us", other * 1e6, most_ratio=limit)


if __name__ == "__main__":
    write(measure)
