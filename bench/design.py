"""Predicted against run: skeletons of the five patterns with and without spread.

On three networks of equal hosts real ranks run; where ranks share cards, uplinks or pipes, simulated ranks do.
"""

from __future__ import annotations

import random
import time
from itertools import product
from pathlib import Path
from typing import Any

from mpi4py import MPI

import emulator
from bench._common import Row, figures, row, write
from demos._lib.design.skeleton import seconds, simulated
from emulator.costs import waiting
from emulator.design.model import Flow
from emulator.design.prices.exchange import Exchange, price
from emulator.design.prices.network_terms import ways_of
from emulator.design.prices.skeleton import by_term, expected
from emulator.network import load

NETWORKS = ("10gbe", "cloud-zone", "wan")
SHARED = ("racks", "multicore", "regions")
FILES = Path(__file__).parents[1] / "examples" / "networks"
BYTES, COMPUTE_S, SPREAD = 1 << 18, 0.02, 0.1
_RANKS = 18
_TARGETS = {0.0: 0.01, SPREAD: 0.05}  # largest error of a step, by spread


def rows(budget: float) -> list[Row]:
    """The largest error of each pattern on each network, of the points with 2 to 16 nodes that the budget allows."""
    limit_s = 120 + 2 * budget
    worst: dict[tuple[str, float], float] = {}
    for one in figures(_RANKS, "bench.design", "real", "2,4,8,16", budget, limit_s=limit_s):
        key = (f"{one['pattern']}, {one['network']}", one["spread"])
        worst[key] = max(worst.get(key, 0.0), abs(one["error"]))
    for one in figures(1, "bench.design", "shared", "4,8", budget, limit_s=limit_s):
        key = (f"the worst pattern, {one['network']}", one["spread"])
        worst[key] = max(worst.get(key, 0.0), abs(one["error"]))
    return [row(f"error of the step: {what}, spread {spread:g}", error, most=_TARGETS[spread])
            for (what, spread), error in worst.items()]  # fmt: skip


class _Job:
    """What `seconds` needs of a run."""

    def __init__(self, name: str) -> None:
        self.control, self.rank = MPI.COMM_WORLD, MPI.COMM_WORLD.rank
        network = load(name).sized(MPI.COMM_WORLD.size)
        self.comm = emulator.emulate(MPI.COMM_WORLD, network, pace="none", compute="none")
        self.ways, self.terms = ways_of(network), network.slowest_path(range(network.ranks))
        self._subs: dict[int, Any] = {}

    def sub(self, p: int) -> Any:
        if p not in self._subs:
            self._subs[p] = self.comm.Split(0 if self.rank < p else MPI.UNDEFINED, self.rank)
        return self._subs[p] if self.rank < p else None


def exchanges(p: int, alpha: float, beta: float) -> dict[str, Exchange]:
    """One of each pattern, and of each consistency and straggler strategy that has a schedule of its own."""

    def one(pattern: str, model: str = "synchronous", extra: int = 0, **options: Any) -> Exchange:
        own = {name: options.pop(name) for name in ("servers", "graph") if name in options}
        return Exchange(Flow("model", pattern, **own), model, 4, p, extra, BYTES, BYTES,
                        COMPUTE_S * options.get("between", 1), **options)  # fmt: skip

    most = -(-9 * p // 10)
    slow = COMPUTE_S * float(waiting.slowest(p, SPREAD, quorum=0.9))
    trip = 2 * alpha + (p + 1) * BYTES * beta
    return {
        "all-reduce ring": one("all-reduce", algorithm="ring"),
        "all-reduce rabenseifner": one("all-reduce", algorithm="rabenseifner"),
        "all-reduce ring every 8 steps": one("all-reduce", algorithm="ring", between=8),
        "parameter-server": one("parameter-server", extra=2, servers=2),
        "parameter-server bounded": one("parameter-server", "bounded", extra=2, servers=2),
        "parameter-server asynchronous": one("parameter-server", "asynchronous", extra=2, servers=2),
        "gossip one-peer": one("gossip", graph="one-peer"),
        "gossip ring": one("gossip", graph="ring"),
        "gossip one-peer bounded": one("gossip", "bounded", graph="one-peer"),
        "gossip one-peer asynchronous": one("gossip", "asynchronous", graph="one-peer"),
        "scatter-gather": one("scatter-gather", extra=1),
        "scatter-gather quorum": one("scatter-gather", extra=1, needed=most),
        "scatter-gather backup": one("scatter-gather", extra=1, late=waiting.LATE, copies=2),
        "scatter-gather tasks": one("scatter-gather", extra=1, tasks=4 * p),
        "scatter-gather tasks backup": one("scatter-gather", extra=1, tasks=4 * p, late=waiting.LATE),
        "federated": one("federated", extra=1),
        "federated drop": one("federated", extra=1, deadline=1.01 * (trip + slow)),
    }


def on_ranks(ranks: list[int], end: float) -> list[dict[str, Any]]:
    """Measure points in a shuffled order until the time is up; returns the errors of their predictions, on rank 0."""
    found = []
    jobs = {network: _Job(network) for network in NETWORKS}
    points = [(network, p, spread, name) for p in ranks for spread in (SPREAD, 0.0) for network in NETWORKS
              for name in exchanges(p, *jobs[network].terms)]  # fmt: skip
    random.Random(0).shuffle(points)
    for network, p, spread, name in points:
        if not MPI.COMM_WORLD.bcast(time.monotonic() < end):
            break
        job, one = jobs[network], exchanges(p, *jobs[network].terms)[name]

        def timed(each: Exchange, varied: float, job: _Job = job) -> float:
            return seconds(job, each, each.draws(varied, each.count(varied), 0))  # type: ignore[arg-type]

        def said(each: Exchange, varied: float, job: _Job = job) -> float:
            return expected(each, varied, 0, job.ways)

        measured = by_term(timed, one, spread)
        if MPI.COMM_WORLD.rank:
            continue  # the prediction of a long run takes memory, which one rank has
        error = sum(by_term(said, one, spread).values()) / sum(measured.values()) - 1
        found.append({"network": network, "spread": spread, "pattern": name, "error": error})
    return found


def where_shared(ranks: list[int], end: float) -> list[dict[str, Any]]:
    """Simulate points until the time is up; returns the errors of their prices, which have the same computing times."""
    found = []
    for spread, p, name in product((SPREAD, 0.0), ranks, SHARED):
        network = load(str(FILES / f"{name}.toml")).sized(p + 2)
        for pattern, one in exchanges(p, *network.slowest_path(range(p + 2))).items():
            if time.monotonic() > end:
                return found
            laid = network.sized(one.ranks)
            draws = one.draws(spread, one.count(0.0), 0)
            error = price(one, draws, ways_of(laid)) / simulated(laid, one, draws)[0] - 1
            found.append({"network": name, "spread": spread, "pattern": pattern, "error": error})
    return found


def main(part: str, nodes: str, budget: str) -> list[dict[str, Any]]:
    """One part, as the ranks of a job measure it."""
    ranks, end = [int(p) for p in nodes.split(",")], time.monotonic() + float(budget)
    return on_ranks(ranks, end) if part == "real" else where_shared(ranks, end)


if __name__ == "__main__":
    write(main)
