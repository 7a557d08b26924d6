"""Gossip: averages and rumours by messages between neighbours only; what each graph costs, and how fast it converges.

The work is real: the breast-cancer table that ships with scikit-learn is cut into one part per rank, and the ranks
agree on the mean of its 30 columns; the answer is checked against the one-process mean. For every graph the spectral
gap and the contraction per round that it predicts stand beside the measured one, and the time beside the closed form
rounds * (alpha + degree n beta).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from statistics import median
from typing import Any

import click
import numpy as np
from mpi4py import MPI

from demos._lib import gossip_results
from demos._lib.formulas import judge
from demos._lib.timing import averaging, begin_together, check_sizes, live_s, timed
from emulator import carrier, datasets
from emulator.errors import UsageError
from emulator.measure.repetitions import Job
from emulator.measure.series import CHECKED_RANKS
from emulator.run.demo_run import Run
from emulator.run.options import demo
from primitives.gossip import PushSum, average, graphs, mix, mixing, rumour, schedules
from primitives.gossip.mixing import Mixing

LATE, PUSHES = 3, 80  # rounds that a message may be late, and rounds in all
FEWEST_ROUNDS, MOST_ROUNDS = 4, 400  # towards the mean
NEAR = 0.05  # of the mean: how far off an average of so few messages may be
ALL = "ring,torus,star,random-regular,exponential,complete"


@dataclass
class Way:
    """A way to average."""

    name: str
    values: Callable[[Any, np.ndarray], Iterator[np.ndarray]]  # (comm, x): a value before and after each round
    degree: float  # messages per rank and round
    gap: float | None  # spectral gap; None where there is no such figure
    sigma: float | None  # predicted contraction per round; None where there is no such figure
    nbytes: int  # of one message
    exact: int | None = None  # rounds after which the average is exact; None: only in the limit


@demo("gossip", needs=2, sizes="8,64K", budget=15.0)
@click.option("--graphs", "names", default=ALL, show_default=True, help="Graphs by name, or edges 0-1;1-2 of your own.")
@click.option(
    "--error",
    type=click.FloatRange(1e-12, 0.5),
    default=1e-6,
    show_default=True,
    help="Relative error at which an average counts as reached.",
)
@click.option("--rumours", type=click.IntRange(1), default=20, show_default=True, help="Rumours to start in each mode.")
def main(run: Run, names: str, error: float, rumours: int) -> None:
    """Measure averaging and rumours on many graphs.

    mpirun -n 16 python -m demos.gossip --net 10gbe
    """
    asked = tuple(name.strip().replace(";", ",") for name in names.split(",") if name.strip())
    _chosen(asked, run.size)
    if not asked:
        raise UsageError(f"--graphs names at least one of {ALL}, got {names!r}")
    if min(run.sub_sizes()) < 2:
        raise UsageError("gossip needs at least 2 ranks, got --ranks 1: leave it out")
    check_sizes(run, np.float64, buffers=8)
    asked = _affordable(run, asked)
    x, truth = _share_table(run)
    ways = _ways(asked, run.size, len(x), run.seed)
    end = time.perf_counter() + run.budget if run.size > CHECKED_RANKS else math.inf
    run.extra["convergence"] = [_converge(run, way, x, truth, error, end) for way in ways]
    run.show()
    _late(run, x, truth)
    _time(run, asked)
    _rumours(run, rumours)


def _affordable(run: Run, names: tuple[str, ...]) -> tuple[str, ...]:
    """The graphs on which a simulation of many ranks can average for a few rounds within its budget."""
    sent = [FEWEST_ROUNDS * sum(map(len, graph.neighbours)) for graph in _chosen(names, run.size)]
    kept = tuple(name for name, messages in zip(names, sent, strict=True) if live_s(run, messages) <= run.budget)
    if not kept:
        raise UsageError(f"{FEWEST_ROUNDS} rounds on {run.size} ranks take {min(sent)} messages, for which --budget "
                         f"{run.budget:g} is too short: simulate fewer ranks or choose other --graphs")  # fmt: skip
    if dropped := [name for name in names if name not in kept]:
        run.warn(f"left out: {', '.join(dropped)} on {run.size} ranks, for whose messages --budget {run.budget:g} is "
                 "too short")  # fmt: skip
    return kept


def _share_table(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Give every rank column sums and row count of its part, and the whole table's column means for the check."""

    def parts() -> list[tuple[np.ndarray, np.ndarray]]:
        table = datasets.breast_cancer()[:, :-1]
        sums = [np.append(part.sum(axis=0), len(part)) for part in np.array_split(table, run.size)]
        return [(one, table.mean(axis=0)) for one in sums]

    x, truth = run.control.scatter(parts() if run.rank == 0 else None)
    return x, truth


def _by_mixing(mixings: Sequence[Mixing]) -> Callable[[Any, np.ndarray], Iterator[np.ndarray]]:
    def values(comm: Any, x: np.ndarray) -> Iterator[np.ndarray]:
        value = x.copy()
        for matrix in cycle(mixings):
            yield value
            mix(comm, value, matrix)

    return values


@cache
def _chosen(names: tuple[str, ...], p: int) -> list[graphs.Graph]:
    """The graphs of these names; made once for all simulated ranks, as are their figures."""
    return [graphs.named(name, p) for name in names]


@cache
def _ways(names: tuple[str, ...], p: int, n: int, seed: int) -> list[Way]:
    """All compared ways to average: the graphs, the finite schedules, pairwise, push-sum.

    Parameters
    ----------
    n : elements of a message
    seed : of the random ways
    """
    wire = 8 * n
    ways = []
    for graph in _chosen(names, p):
        w = mixing.of_graph(graph)
        sigma = mixing.contraction(w)
        ways.append(Way(graph.name, _by_mixing([w]), graph.degree, mixing.spectral_gap(w), sigma, wire))
    for name, schedule in _schedules(p).items():
        exact = len(schedule) if mixing.contraction(schedule) == 0 else None
        sigma = mixing.contraction(schedule)
        degree = float(np.mean([sum(map(len, m.graph.neighbours)) / m.size for m in schedule]))
        ways.append(Way(name, _by_mixing(schedule), degree, None, sigma, wire, exact))
    complete = graphs.complete(p)
    matchings = [schedules.random_matching(complete, seed, k) for k in range(64)]
    ways.append(Way("pairwise, random", _by_mixing(matchings), 1 - p % 2 / p, None,
                    schedules.pairwise_contraction(p), wire))  # fmt: skip

    def push_sum(comm: Any, x: np.ndarray) -> Iterator[np.ndarray]:
        state = PushSum(comm, x, complete, seed=seed)
        while True:
            yield state.estimate
            state.step()

    ways.append(Way("push-sum, random", push_sum, 1, None, (0.5 - 0.5 / p) ** 0.5, wire + 8))
    return ways


def _schedules(p: int) -> dict[str, list[Mixing]]:
    return {"one-peer exponential": schedules.one_peer_exponential(p), "base graph": schedules.base_graph(p)}


def _converge(run: Run, way: Way, x: np.ndarray, truth: np.ndarray, error: float, end: float) -> dict[str, Any]:
    """Do rounds until the distance to the mean has shrunk to `error`, or a job of many ranks has no time left.

    Rank 0 gets what was seen.

    The distances are looked at on the control communicator, which costs no emulated time.
    """
    target = run.control.allreduce(x) / run.size
    scale = np.maximum(np.abs(target), 1e-300)
    distances: list[float] = []
    for value in way.values(run.comm, x):
        late = float(run.rank == 0 and time.perf_counter() > end)
        apart, over = run.control.allreduce(np.array([(((value - target) / scale) ** 2).sum(), late]))
        carrier.of(run.comm).align()  # else a rank that is behind sends messages that are earlier than those received
        distances.append(float(np.sqrt(apart)))  # norm over all ranks of the relative distance to the mean
        if over and len(distances) >= FEWEST_ROUNDS and way.exact is None:
            break
        if len(distances) > (way.exact or MOST_ROUNDS) or distances[-1] <= error * distances[0] * (way.exact is None):
            break
    wrong = run.control.allreduce(int(np.sum(np.abs(value[:-1] / value[-1] / truth - 1) > 1e3 * error)))
    return gossip_results.convergence(run, way, distances, wrong, error)


def _late(run: Run, x: np.ndarray, truth: np.ndarray) -> None:
    """Run push-sum without waiting for messages of the last rounds: conserved sums, and the distance to the mean."""
    state = PushSum(run.comm, x, graphs.complete(run.size), bound=LATE, seed=run.seed)
    state.run(PUSHES)
    mean = state.finish()
    before = run.control.allreduce(np.append(x, 1.0))
    drift = float(np.abs(run.control.allreduce(state.mass) / before - 1).max())
    off = run.control.allreduce(float(np.abs(mean[:-1] / mean[-1] / truth - 1).max()), MPI.MAX)
    run.extra["late"] = {"bound": LATE, "messages": PUSHES, "drift": drift, "off": off, "limit": NEAR}
    if run.rank == 0 and drift > 1e-9:
        run.fail(f"push-sum must conserve its sums, they drifted by {drift:.1e}")
    if run.rank == 0 and not off <= NEAR:
        run.fail(f"push-sum with late messages must come within {NEAR:.0%} of the mean, it is {off:.1%} off")


def _time(run: Run, names: tuple[str, ...]) -> None:
    """Time averaging on sub-communicators and sizes, beside the closed form."""
    jobs, shapes = [], {}
    for p in run.sub_sizes((4, 8, 16)):
        for name, schedule in _timed(p, names).items():
            shapes[name, p] = schedule
            sent = sum(sum(map(len, w.graph.neighbours)) for w in schedule) if run.rank == 0 else None
            for size in run.sizes:
                jobs.append(_job(run.sub(p), p, size, name, names))
                jobs[-1].messages = sent
    series = timed(run, jobs)
    if run.rank == 0:
        gossip_results.times(run, series, shapes)
    run.show()


@cache
def _timed(p: int, names: tuple[str, ...]) -> dict[str, list[Mixing]]:
    """The timed ways: graphs with five rounds each, and one pass of the exact schedules."""
    found = {}
    for name in names:
        if name in graphs.NAMED:  # a graph given by its edges is for one number of ranks
            found[f"gossip {name}, 5 rounds"] = [mixing.of_graph(graphs.named(name, p))] * 5
    return found | {f"gossip {name}": schedule for name, schedule in _schedules(p).items()}


def _job(comm: Any, p: int, size: int, name: str, names: tuple[str, ...]) -> Job:
    schedule = _timed(p, names)[name]
    return averaging(comm, name, p, size, lambda x: average(comm, x, schedule), _mixed(p, name, names))


@cache
def _mixed(p: int, name: str, names: tuple[str, ...]) -> np.ndarray:
    """Each rank's answer when every rank begins with its number."""
    expected = np.arange(p, dtype=float)
    for w in _timed(p, names)[name]:
        expected = w.matrix() @ expected
    return expected


def _rumours(run: Run, count: int) -> None:
    """Spread rumours of 1 KiB in each mode and compare rounds, messages and time with what theory says."""
    needed = sum(rumour.rounds_needed(run.size, mode) * (1 + (mode != "push")) for mode in rumour.MODES)
    each = live_s(run, needed * run.size)
    if count * each > run.budget / 2:
        asked, count = count, max(1, int(run.budget / 2 / each))
        run.warn(f"{count} of {asked} rumours were spread in each mode: --budget {run.budget:g} is too short for all")
    rows = []
    for mode in rumour.MODES:
        rounds = rumour.rounds_needed(run.size, mode)
        seen = []
        for seed in range(run.seed, run.seed + count):
            text = np.full(1024, 7 if run.rank == 0 else 0, np.uint8)
            begin = begin_together(run)
            heard = rumour.spread(run.comm, text, mode=mode, seed=seed, rounds=rounds)
            took = run.control.allreduce(run.now(), MPI.MAX) - run.control.allreduce(begin, MPI.MIN)
            ranks = run.control.gather((heard, bool((text == 7).all())))
            if ranks is not None:
                seen.append((ranks, took, seed))
        if run.rank == 0:
            rows.append(gossip_results.rumours(run, mode, rounds, seen))
    run.extra["rumours"] = rows
    judge(run, "rumours", [(median(row["predicted"]), median(row["seconds"])) for row in rows if row["predicted"]])


if __name__ == "__main__":
    main()
