"""Skeletons of the five patterns over three networks in one job: rank 0 writes the error of each prediction.

mpirun -n 18 python -m bench._design FILE.json 2,4,8,16 BUDGET_S
"""

from __future__ import annotations

import random
import time
from typing import Any

from mpi4py import MPI

import emulator
from bench._common import write
from demos._lib.design.skeleton import seconds
from emulator.costs import waiting
from emulator.costs.message_paths import Ways
from emulator.design.model import Flow
from emulator.design.prices.exchange import Exchange
from emulator.design.prices.network_terms import ways_of
from emulator.design.prices.skeleton import TERMS, by_term, expected
from emulator.network import load

NETWORKS = ("10gbe", "cloud-zone", "wan")
BYTES, COMPUTE_S, SPREAD = 1 << 18, 0.02, 0.1


class _Job:
    """What `seconds` needs of a run."""

    def __init__(self, network: str) -> None:
        self.control = MPI.COMM_WORLD
        self.network = load(network).sized(MPI.COMM_WORLD.size)
        self.comm = emulator.emulate(MPI.COMM_WORLD, self.network, pace="none", compute="none")
        self._subs: dict[int, Any] = {}

    def sub(self, p: int) -> Any:
        rank = self.control.rank
        if p not in self._subs:
            self._subs[p] = self.comm.Split(0 if rank < p else MPI.UNDEFINED, rank)
        return self._subs[p] if rank < p else None

    def ways(self) -> Ways:
        return ways_of(self.network)

    def terms(self) -> tuple[float, float]:
        return self.network.slowest_path(range(self.network.ranks))


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


def main(nodes: str, budget: str) -> list[dict[str, Any]]:
    """Measure points in an order that gives every pattern its turn, until the budget is used up."""
    ranks = [int(p) for p in nodes.split(",")]
    end, found = time.monotonic() + float(budget), []
    jobs = {network: _Job(network) for network in NETWORKS}
    points = [(network, p, spread, name) for p in ranks for spread in (SPREAD, 0.0) for network in NETWORKS
              for name in exchanges(p, *jobs[network].terms())]  # fmt: skip
    random.Random(0).shuffle(points)
    for network, p, spread, name in points:
        if not MPI.COMM_WORLD.bcast(time.monotonic() < end):
            break
        job, one = jobs[network], exchanges(p, *jobs[network].terms())[name]

        def timed(each: Exchange, varied: float, job: _Job = job) -> float:
            return seconds(job, each, each.draws(varied, each.count(varied), 0))  # type: ignore[arg-type]

        def said(each: Exchange, varied: float, job: _Job = job) -> float:
            return expected(each, varied, 0, job.ways())

        measured = by_term(timed, one, spread)
        if MPI.COMM_WORLD.rank:
            continue  # the prediction of a long run takes memory, which one rank has
        predicted = by_term(said, one, spread)
        error = sum(predicted.values()) / sum(measured.values()) - 1
        found.append({
            "network": network, "p": p, "spread": spread, "pattern": name, "error": error,
            "measured": [measured[t] for t in TERMS], "predicted": [float(predicted[t]) for t in TERMS],
        })  # fmt: skip
    return found


if __name__ == "__main__":
    write(main)
