"""Skeletons of the five patterns over three networks in one job: rank 0 writes the error of each prediction.

mpirun -n 18 python -m bench._design FILE.json 2,4,8,16
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

from mpi4py import MPI

import emulator
from demos._lib.skeleton import seconds
from emulator.design.model import Flow
from emulator.design.skeleton import TERMS, WARM_UP, Exchange, Wires, by_term, price
from emulator.network import load

NETWORKS = ("10gbe", "cloud-zone", "wan")
BYTES, COMPUTE_S, SPREAD, ENOUGH = 1 << 18, 0.02, 0.1, 240


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

    def wires(self) -> Wires:
        seen = self.network.describe()
        return Wires(seen["alpha"]["max"], seen["beta"]["max"], seen["hosts"][0]["nic"]["egress_beta"])


def exchanges(p: int) -> dict[str, Exchange]:
    """One of each pattern, and of each consistency that has a schedule of its own."""

    def one(pattern: str, model: str = "synchronous", extra: int = 0, **options: Any) -> Exchange:
        own = {name: options.pop(name) for name in ("servers", "graph") if name in options}
        flow = Flow("model", pattern, **own)
        return Exchange(flow, model, 4, p, extra, BYTES, BYTES, COMPUTE_S, **options)

    return {
        "all-reduce ring": one("all-reduce", algorithm="ring"),
        "all-reduce rabenseifner": one("all-reduce", algorithm="rabenseifner"),
        "parameter-server": one("parameter-server", extra=2, servers=2),
        "parameter-server bounded": one("parameter-server", "bounded", extra=2, servers=2),
        "parameter-server asynchronous": one("parameter-server", "asynchronous", extra=2, servers=2),
        "gossip one-peer": one("gossip", graph="one-peer"),
        "gossip ring": one("gossip", graph="ring"),
        "scatter-gather": one("scatter-gather", extra=1),
        "scatter-gather tasks": one("scatter-gather", extra=1, tasks=4 * p),
        "federated": one("federated", extra=1),
    }


def main(path: str, ranks: list[int]) -> None:
    found = []
    for network in NETWORKS:
        job = _Job(network)
        for p, spread in product(ranks, (0.0, SPREAD)):
            for name, one in exchanges(p).items():

                def timed(each: Exchange, varied: float, job: _Job = job) -> float:
                    count = WARM_UP + (ENOUGH if varied else 6)
                    return seconds(job, each, each.draws(varied, count, 0))  # type: ignore[arg-type]

                def said(each: Exchange, varied: float, job: _Job = job) -> float:
                    count = WARM_UP + (6 * ENOUGH if varied else 6)
                    return price(each, each.draws(varied, count, 1_000_003), job.wires())

                measured = by_term(timed, one, spread)
                if MPI.COMM_WORLD.rank:
                    continue  # the prediction of a long run takes memory, which one rank has
                rows = [measured, by_term(said, one, spread)]
                totals = [sum(row.values()) for row in rows]
                found.append({
                    "network": network, "p": p, "spread": spread, "pattern": name, "error": totals[1] / totals[0] - 1,
                    "measured": [rows[0][t] for t in TERMS], "predicted": [float(rows[1][t]) for t in TERMS],
                })  # fmt: skip
                Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], [int(p) for p in sys.argv[2].split(",")])
