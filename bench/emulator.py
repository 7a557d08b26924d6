"""The cost and accuracy of emulation: CPU per message, messages per second, error in emulated and wall time."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from bench._common import Row, figures, medians, row, write
from emulator import carrier, costs
from emulator.core import wall_clock
from emulator.measure.fit import fit
from emulator.measure.model import MESSAGE, Point
from emulator.network import Host, Network, NetworkSpec, Nic
from emulator.network import Path as Way
from emulator.trace import tracing
from primitives import collectives
from primitives.collectives.all_reduce import ALGORITHMS, all_reduce

BETA = 0.8e-9
Figures = dict[str, list[float]]
_LIMIT_S = 180.0
_CPU_US = {2: 27, 8: 38, 16: 46, 64: 95}  # a third of what it was while ranks that wait polled


def rows(budget: float) -> list[Row]:
    """Measure each figure in a job of its own, within `budget` seconds if the machine is quiet."""
    share = max(1.0, budget / 12)
    job = partial(_job, budget=share)
    cost, ring, patterns = medians(job(2, "cost")), job(16, "ring"), job(16, "patterns")
    paced, large = job(16, "paced"), job(64, "large")
    exchanges = {n: medians(job(n, "exchanges")) for n in _CPU_US}
    return [
        row("CPU to send 64 bytes", cost["send"], "us", cost["send bare"], most=10),
        row("CPU to receive 64 bytes", cost["receive"], "us", cost["receive bare"], most=10),
        *(
            row(
                f"CPU per exchange of 8 bytes, {n} ranks",
                found["exchange"],
                "us",
                found["exchange bare"],
                most=_CPU_US[n],
            )
            for n, found in exchanges.items()
        ),
        row("ring of 16: messages per second and core", statistics.median(ring["rate"]), "1/s"),
        row("ring of 16: error of the emulated time", max(ring["error"]), most=1e-9),
        row("collectives, p = 2 3 5 8 13 16: error", max(patterns["error"]), most=1e-9),
        row("the same: messages out of order", patterns["inversions"][0]),
        row("alpha, recovered by a fit: error", 100 * abs(patterns["alpha"][0]), "%", most=1),
        row("beta, recovered by a fit: error", 100 * abs(patterns["beta"][0]), "%", most=1),
        row("paced ring of 16, alpha 500 us: pace", paced["pace"][0]),
        row("paced: wall / pace, off by", 100 * max(map(abs, paced["off"])), "%", most=3),
        row("paced: late receives", 100 * paced["overruns"][0], "%", most=1),
        row("64 ranks: ring all-reduce of 1 MiB", statistics.median(large["seconds"]), "s", most=10),
    ]


def _job(n: int, what: str, budget: float) -> Figures:
    """Run one task on `n` ranks and give its figures."""
    found: Figures = figures(n, "bench.emulator", what, budget, limit_s=_LIMIT_S + budget)
    return found


def network(alpha: float) -> Network:
    """Like hosts at 10 Gbit/s, one rank on each."""
    host = Host("h", Nic(BETA, BETA), 1.0, Way(alpha, BETA))
    return Network(NetworkSpec("bench", "", (host,), False, 1, "block", alpha, BETA), MPI.COMM_WORLD.Get_size())


def repeat(budget: float, least: int, body: Callable[[], None]) -> None:
    """Repeat until rank 0 says that the budget is spent."""
    end = time.perf_counter() + budget
    turns = 0
    while MPI.COMM_WORLD.bcast(turns < least or time.perf_counter() < end):
        body()
        turns += 1


def cost(budget: float) -> Figures:
    """CPU time of sends and receives in batches, in us, emulated and bare by turns."""
    world = MPI.COMM_WORLD
    comms = {"": emulator.emulate(world, network(50e-6)), " bare": world.Dup()}
    box = np.zeros(64, "B")
    seen: Figures = {}
    batch = 40

    def timed(name: str, call: Callable[[], None]) -> None:
        begin = time.thread_time()
        for _ in range(batch):
            call()
        seen.setdefault(name, []).append((time.thread_time() - begin) / batch * 1e6)

    def turn() -> None:
        for kind, comm in comms.items():
            world.Barrier()
            if world.rank == 0:
                timed("send" + kind, partial(comm.Send, box, 1))
            world.Barrier()
            if world.rank == 1:
                timed("receive" + kind, partial(comm.Recv, box, 0))

    repeat(budget, 20, turn)
    return {name: values for part in world.allgather(seen) for name, values in part.items()}


def ring(budget: float) -> Figures:
    """A ring of small messages without pacing."""
    world = MPI.COMM_WORLD
    alpha = 50e-6
    comm = emulator.emulate(world, network(alpha))
    steps, seen = 200, Figures(rate=[], error=[])
    out, box = np.zeros(8, "B"), np.zeros(8, "B")

    def turn() -> None:
        start = comm.align()
        begin = time.perf_counter()
        for _ in range(steps):
            comm.Sendrecv(out, (comm.rank + 1) % comm.size, 0, box, (comm.rank - 1) % comm.size, 0)
        end = comm.now()
        world.Barrier()
        wall = time.perf_counter() - begin
        seen["rate"].append(steps * comm.size / wall / min(comm.size, wall_clock.cores()))
        exact = steps * (alpha + 8 * BETA)
        seen["error"].append(abs(world.allreduce(end, MPI.MAX) - start - exact) / exact)

    repeat(budget, 3, turn)
    return seen


def exchanges(budget: float) -> Figures:
    """CPU time of an exchange of 8 bytes with both neighbours, waiting included, in us; emulated and bare by turns."""
    world = MPI.COMM_WORLD
    comms = {"": emulator.emulate(world, network(50e-6)), " bare": world.Dup()}
    out, box, seen = np.zeros(8, "B"), np.zeros(8, "B"), Figures()
    right, left = (world.rank + 1) % world.size, (world.rank - 1) % world.size

    def turn() -> None:
        for kind, comm in comms.items():
            times = max(20, 4000 // world.size) * (10 if kind else 1)
            world.Barrier()
            begin = time.process_time()
            for _ in range(times):
                comm.Sendrecv(out, right, 0, box, left, 0)
            used = world.allreduce(time.process_time() - begin)
            seen.setdefault("exchange" + kind, []).append(used / times / world.size * 1e6)

    repeat(budget, 5, turn)
    return seen


def patterns(budget: float) -> Figures:
    """Collectives on any number of ranks and uneven sizes: how far they are from their schedules, and from the link."""
    world = MPI.COMM_WORLD
    alpha = 50e-6
    comm = emulator.emulate(world, network(alpha))
    seen = Figures(error=[], inversions=[], alpha=[], beta=[])
    for p in (2, 3, 5, 8, 13, 16):
        part = comm.Split(0 if comm.rank < p else MPI.UNDEFINED)
        for count in (240, 1001, 100_003) if part != MPI.COMM_NULL else ():
            for name, elements, call in _collectives(part, count):
                start = part.align()
                call()
                exact = costs.exact(name, p, elements, 8, alpha, BETA)
                seen["error"].append(abs(part.align() - start - exact) / exact)
    seen["inversions"] = [comm.fidelity()["inversions"]]
    points = []
    for size in (0, 1000, 1_000_000):
        start = comm.align()
        if comm.rank == 0:
            comm.Send(bytes(size), 1)
        elif comm.rank == 1:
            comm.Recv(bytearray(size), 0)
        points.append(Point(size, MESSAGE, [comm.align() - start] * 5))
    if comm.rank == 0:
        found = fit(points, resamples=2).headline
        seen |= {"alpha": [found.alpha / alpha - 1], "beta": [found.beta / BETA - 1]}
    return seen


def _collectives(comm: Any, count: int) -> list[tuple[str, int, Callable[[], object]]]:
    """Names in `emulator.costs`, numbers of elements, and calls."""
    block, whole = np.ones(count), np.ones(count * comm.size)
    total = np.empty_like(block)
    reductions = [(name, count, partial(all_reduce, comm, block, total, algorithm=name)) for name in ALGORITHMS]
    return [
        *reductions,
        ("binomial_broadcast", count, partial(collectives.broadcast, comm, block)),
        ("binomial_reduce", count, partial(collectives.reduce, comm, block, total)),
        ("binomial_scatter", whole.size, partial(collectives.scatter, comm, whole, block)),
        ("binomial_gather", whole.size, partial(collectives.gather, comm, block, whole)),
        ("linear_scatter", whole.size, partial(collectives.scatter, comm, whole, block, 0, "linear")),
        ("linear_gather", whole.size, partial(collectives.gather, comm, block, whole, 0, "linear")),
    ]


def paced(budget: float) -> Figures:
    """The same ring at the pace that the machine can keep."""
    world = MPI.COMM_WORLD
    comm = emulator.emulate(world, network(500e-6), pace="auto")
    out, box = np.zeros(8, "B"), np.zeros(8, "B")
    seen = Figures(off=[])

    def turn() -> None:
        start = comm.align()
        begin = time.perf_counter()
        for _ in range(200):
            comm.Sendrecv(out, (comm.rank + 1) % comm.size, 0, box, (comm.rank - 1) % comm.size, 0)
        wall = world.allreduce(time.perf_counter(), MPI.MAX) - world.allreduce(begin, MPI.MIN)
        emulated = world.allreduce(comm.now(), MPI.MAX) - start
        seen["off"].append(wall / comm.engine.pacer.pace / emulated - 1)

    repeat(budget, 2, turn)
    fidelity: dict[str, Any] = comm.fidelity()
    return seen | {"pace": [fidelity["pace"]], "overruns": [fidelity["overrun_share"]]}


def traced(budget: float) -> Figures:
    """CPU time of all ranks for a message of a ring, in us, recorded and not by turns.

    Where ranks share cores it is what bounds the messages per second, and other programs on the machine count less.
    """
    world = MPI.COMM_WORLD
    comm = emulator.emulate(world, network(50e-6))
    out, box, steps, seen = np.zeros(8, "B"), np.zeros(8, "B"), 200, Figures(plain=[], traced=[])
    folder = Path(world.bcast(tempfile.mkdtemp() if world.rank == 0 else None))
    instruments = carrier.of(comm).instruments
    recorder = tracing.begin(comm, folder)

    def cpu(name: str) -> float:
        instruments[:] = [recorder] if name == "traced" else []
        comm.align()
        begin = time.process_time()
        for _ in range(steps):
            comm.Sendrecv(out, (comm.rank + 1) % comm.size, 0, box, (comm.rank - 1) % comm.size, 0)
        return (time.process_time() - begin) / steps * 1e6

    def turn() -> None:
        for name in ("plain", "traced") if len(seen["plain"]) % 2 else ("traced", "plain"):
            seen[name].append(world.allreduce(cpu(name)) / comm.size)

    repeat(budget, 10, turn)
    recorder.close()
    world.Barrier()
    if world.rank == 0:
        shutil.rmtree(folder)
    return seen


def large(budget: float) -> Figures:
    """Many more ranks than cores: a ring all-reduce of 1 MiB."""
    world = MPI.COMM_WORLD
    comm = emulator.emulate(world, network(50e-6))
    data = np.ones(1 << 17)
    seen = Figures(seconds=[])

    def turn() -> None:
        start = comm.align()
        begin = time.perf_counter()
        all_reduce(comm, data, algorithm="ring", segment=0)
        world.Barrier()
        seen["seconds"].append(time.perf_counter() - begin)
        took = world.allreduce(comm.now(), MPI.MAX) - start
        exact = costs.exact("ring", comm.size, data.size, 8, 50e-6, BETA)
        assert abs(took - exact) <= 1e-9 * exact, (took, exact)

    repeat(budget, 1, turn)
    return seen


def main(task: str, budget: str) -> Figures:
    tasks = {
        "cost": cost,
        "ring": ring,
        "exchanges": exchanges,
        "patterns": patterns,
        "paced": paced,
        "traced": traced,
        "large": large,
    }
    return tasks[task](float(budget))


if __name__ == "__main__":
    write(main)
