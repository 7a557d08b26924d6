"""One job under all four patterns: which is fastest for which size?

    mpirun -n 16 python -m demos.compare --net 10gbe

The job is a step of data-parallel work: each of p ranks has a vector of n bytes (a gradient, a table of counts), and
afterwards every rank has the mean of all of them. Each pattern does it in its usual way, each answer is checked, and
the measured time stands beside the predicted one:

    all-reduce          the algorithm that is quickest by formula
    parameter server    rank 0 serves, the others push and pull synchronously (p-1 vectors are averaged, not p)
    gossip              one-peer exponential or base graph: pairwise averages that are exact after about lg p rounds
    scatter-gather      rank 0 gathers all vectors, averages, and sends the result to every rank, directly

The first sends as little as 2 (p-1)/p n through each port, a server's or coordinator's port carries (p-1) n each way,
and gossip sends n in each of its rounds: for long vectors the order is fixed. For short ones latency decides, and the
two with a rank in the middle pay it only twice.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from operator import itemgetter
from typing import Any

import numpy as np
from mpi4py import MPI

from demos._lib import push_pull
from demos._lib.formulas import judge
from demos._lib.scatter_gather_times import egress
from demos._lib.timing import averaging, check_sizes, phantoms, timed
from emulator import costs
from emulator.errors import UsageError
from emulator.measure.series import CHECKED_RANKS
from emulator.measure.terms import measurement
from emulator.run.demo_run import Run
from emulator.run.options import demo
from primitives.collectives import tuning
from primitives.collectives.all_reduce import ALGORITHMS, all_reduce
from primitives.gossip import average, mixing, schedules
from primitives.gossip.mixing import Mixing
from primitives.parameter_server import messages

PATTERNS = ("all-reduce", "parameter server", "gossip", "scatter-gather")
STEPS = 8  # of the parameter server: it is timed in its steady state
TIE = 0.005  # share by which times may differ and count as equal
GATHERED, RESULT = 7141, 7142


@demo("compare", needs=3, sizes="64,8K,256K,4M", budget=15.0)
def main(run: Run) -> None:
    counts = [p for p in run.sub_sizes((4, 8, 16)) if p > 2]
    if not counts:
        raise UsageError("--ranks must hold a number of at least 3: a server, and two workers to share with")
    check_sizes(run, np.float64, buffers=8)
    rows = _collective(run, counts) + _servers(run, counts)
    if run.rank != 0:
        return
    _predict(run, rows)
    for row in rows:
        if row["wrong"]:
            run.fail(f"{row['pattern']}: {row['wrong']} elements are not the mean, {row['ranks']} ranks")
    run.measurements += rows
    whole = Counter((row["ranks"], row["bytes"]) for row in rows)  # a simulation may have left a pattern out
    run.extra["winners"] = [_winner(rows, *which) for which in sorted(whole) if whole[which] == len(PATTERNS)]
    ends = (min(run.sizes), max(run.sizes))  # from which the terms are: there they fit by construction
    if run.network is None:
        what, judged = "sizes between the shortest and the longest", [row for row in rows if row["bytes"] not in ends]
    else:
        what, judged = "times of all patterns", [row for row in rows if _held(row)]
    judge(run, what, [(row["predicted"], row["seconds"]["median"]) for row in judged])


def _collective(run: Run, counts: list[int]) -> list[dict[str, Any]]:
    """Measure the three patterns whose steps have a common beginning and end."""
    jobs = []
    for p, size in itertools.product(counts, run.sizes):
        comm: Any = run.sub(p)
        algorithm = "" if comm is None else _algorithm(run, comm, size)
        ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "all-reduce": partial(_mean, comm, algorithm),
            "gossip": partial(average, comm, rounds=shortest_schedule(p)),
            "scatter-gather": partial(through_coordinator, comm),
        }
        jobs += [averaging(comm, name, p, size, way, (p - 1) / 2) for name, way in ways.items()]
        jobs[-3].labels["algorithm"] = algorithm
        jobs[-2].messages, jobs[-1].messages = len(shortest_schedule(p)) * p, 2 * (p - 1)
        if run.clock == "simulated" and p > CHECKED_RANKS:
            jobs[-3].schedule = partial(phantoms, algorithm, size, np.dtype(np.float64))
    series = timed(run, jobs)
    run.samples += [row for one in series for row in one.rows()]
    return [measurement(one) for one in series]


def _mean(comm: Any, algorithm: str, x: np.ndarray) -> np.ndarray:
    return all_reduce(comm, x, algorithm=algorithm) / comm.Get_size()


@cache
def shortest_schedule(p: int) -> list[Mixing]:
    """The shorter schedule of those that average p ranks exactly."""
    known = [schedules.base_graph(p), schedules.one_peer_exponential(p)]
    return min((way for way in known if mixing.contraction(way) < 1e-9), key=len)


def _algorithm(run: Run, comm: MPI.Intracomm, size: int) -> str:
    """The all-reduce algorithm: on a network the fastest by the exact forms, else that of ``auto``."""
    if run.network is None:
        return tuning.automatic(comm, size)
    path = run.network.between(0, 1)
    return _quickest_all_reduce(comm.Get_size(), size // 8, path.alpha, path.beta)


@cache
def _quickest_all_reduce(p: int, count: int, alpha: float, beta: float) -> str:
    """The fastest algorithm for `count` float64; computed once for all simulated ranks."""
    return min(ALGORITHMS, key=lambda name: costs.exact(name, p, count, 8, alpha, beta))


def through_coordinator(comm: Any, x: np.ndarray) -> np.ndarray:
    """The mean of all ranks' vectors (of one length) on every rank: rank 0 receives all and sends the mean to all."""
    p, rank = comm.Get_size(), comm.Get_rank()
    if rank != 0:
        mean = np.empty_like(x)
        comm.Send(x, 0, GATHERED)
        comm.Recv(mean, 0, RESULT)
        return mean
    parts = np.empty((p, len(x)))
    parts[0] = x
    MPI.Request.Waitall([comm.Irecv(parts[source], source, GATHERED) for source in range(1, p)])
    mean = parts.mean(axis=0)
    MPI.Request.Waitall([comm.Isend(mean, target, RESULT) for target in range(1, p)])
    return mean


def _servers(run: Run, counts: list[int]) -> list[dict[str, Any]]:
    """Measure the parameter server, from one step's end to the next one's."""
    rows = []
    for p, size in push_pull.affordable_jobs(run, counts, 1, STEPS, run.budget):
        seen = push_pull.measure(run.control, run.sub(p), size, 1, STEPS)
        if run.rank == 0:
            rows.append(push_pull.measurement("parameter server", p, size, seen))
    return rows


def _predict(run: Run, rows: list[dict[str, Any]]) -> None:
    """Add the closed forms, with the configured alpha and beta or with each pattern's own."""
    kinds = {(row["pattern"], row["ranks"]) for row in rows}
    if run.network is not None:
        path, card = run.network.between(0, 1), egress(run)
        terms = dict.fromkeys(kinds, (path.alpha, path.beta))
        run.extra["formula"] = "configured"
    else:
        terms, card = {(name, p): _own_terms(rows, name, p) for name, p in kinds}, None
        run.extra["own_terms"] = [
            {"pattern": name, "ranks": p, "alpha": a, "beta": b} for (name, p), (a, b) in sorted(terms.items())
        ]
        run.extra["formula"] = "each pattern's own alpha and beta, from its shortest and longest vectors"
    for row in rows:
        name, p = row["pattern"], row["ranks"]
        row["predicted"] = price(name, p, row["bytes"], *terms[name, p], row.get("algorithm", ""), card)


def _own_terms(rows: list[dict[str, Any]], name: str, p: int) -> tuple[float, float]:
    """Alpha and beta with which a pattern's closed form gives the measured times of the shortest and longest vector."""
    mine = sorted((row for row in rows if (row["pattern"], row["ranks"]) == (name, p)), key=itemgetter("bytes"))
    (steps, volume, quick), (steps_long, volume_long, slow) = (
        (*(price(name, p, row["bytes"], *unit, row.get("algorithm", "")) for unit in ((1.0, 0.0), (0.0, 1.0))),
         row["seconds"]["median"])
        for row in (mine[0], mine[-1])
    )  # fmt: skip
    determinant = steps * volume_long - steps_long * volume
    beta = max(0.0, (steps * slow - steps_long * quick) / determinant) if determinant else 0.0
    return max(0.0, quick - volume * beta) / steps, beta


def price(name: str, p: int, size: int, alpha: float, beta: float, algorithm: str, card: float | None = None) -> float:
    """Closed form of the job under one of `PATTERNS`, in seconds, for a vector of `size` bytes on p ranks.

    `algorithm` is that of the all-reduce; `card` the seconds per byte of the coordinator's card, where it is quicker
    than a path.
    """
    if name == "all-reduce":
        return costs.exact(algorithm, p, size // 8, 8, alpha, beta)
    if name == "parameter server":
        return float(costs.seconds("parameter_server", p - 1, size + messages.HEADER_BYTES, alpha, beta))
    if name == "gossip":
        # Followed message by message, because on some p a rank sits out a round and runs ahead.
        sends = [[[(peer, size) for peer in to] for to in one.graph.neighbours] for one in shortest_schedule(p)]
        return costs.timeline(sends, alpha, beta)
    return costs.linear_blocks([size] * p, alpha, beta) + costs.linear_blocks([size] * p, alpha, beta, card)


def _winner(rows: list[dict[str, Any]], p: int, size: int) -> dict[str, Any]:
    """The fastest patterns for p ranks and n bytes, measured and by formula, and the next one's time over theirs."""
    these = {row["pattern"]: row for row in rows if (row["ranks"], row["bytes"]) == (p, size)}
    measured = {name: these[name]["seconds"]["median"] for name in PATTERNS}
    first = _quickest(measured)
    others = [time for name, time in measured.items() if name not in first and measured[first[0]]]
    return {"ranks": p, "bytes": size, "measured": first,
            "predicted": _quickest({name: these[name]["predicted"] for name in PATTERNS}),
            "ahead": min(others) / measured[first[0]] if others else None}  # fmt: skip


def _quickest(times: dict[str, float]) -> list[str]:
    """The pattern with the least time, and those within `TIE` of it."""
    return [name for name in PATTERNS if times[name] <= (1 + TIE) * min(times.values())]


def _held(row: dict[str, Any]) -> bool:
    """Whether the closed form is exact without pacing.

    Where p is no power of two, ranks of a gossip run ahead of others, and meet at a card in an order that a run without
    pacing does not keep.
    """
    return row["pattern"] != "gossip" or costs.is_power_of_two(row["ranks"])


if __name__ == "__main__":
    main()
