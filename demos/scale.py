"""S(p) from 2 nodes to thousands under the four patterns on one network: the closed form beside simulated ranks.

    python -m demos.scale --net 100gbe

Each node computes for T_comp/p and then takes part in averaging a vector of n bytes, as in `demos.compare`. All ranks
are simulated in this process: the primitives' own code runs on live ranks up to `--live`. An all-reduce is replayed
from its own recorded schedule (`emulator.sim.schedule`), which gives the same times to the bit. Where
closed form and simulation part by more than 1 %, the network's features that the form does not know are named.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import numpy as np
from mpi4py import MPI

from demos._lib import push_pull
from demos._lib.timing import phantoms
from demos.compare import PATTERNS, STEPS, price, shortest_schedule, through_coordinator
from emulator import costs, sim
from emulator.errors import UsageError
from emulator.network import Network, load
from emulator.run.one_line import OneLineCommand
from emulator.run.options import BUDGET, RANKS, SIZE, TIME, common_options, refuse_inside
from emulator.sim.collectives.recording import NoReplay
from emulator.sim.run import RANK_BYTES
from emulator.sim.schedule import replay
from emulator.units import format_time
from faults.cli.report import Report
from primitives.gossip import average

ALGORITHMS = ("ring", "recursive_doubling", "rabenseifner")
MOST_NODES = 1 << 20
_REPLAYED_STEP_S, _REPLAYED_RANK_S = 1e-4, 3e-8  # wall seconds of a replayed step, and more for each rank
_VECTORS = 4  # of each live rank: its own, its answer, and both on their way
DTYPE = np.dtype(np.float64)
Timed = tuple[float, str]
"""Seconds, and how they were found."""


@click.command(
    name="scale",
    cls=OneLineCommand,
    params=common_options("net", "out", "json", "quiet", "full", net={"required": True}),
    help=(__doc__ or "").strip(),
)
@click.option("--bytes", "size", type=SIZE, default="64K", show_default=True, help="Size of the vector, on every node.")
@click.option("--t-comp", type=TIME, default="100 ms", show_default=True, help="Compute time of a step on one node.")
@click.option("--nodes", type=RANKS, default="2,4,8,16,32,64,128,256,512,1024,2048,4096", show_default=True,
              help=f"The p to simulate, up to {MOST_NODES}.")  # fmt: skip
@click.option("--live", type=click.IntRange(min=2), default=1024, show_default=True,
              help="Largest number of ranks that run live.")  # fmt: skip
@click.option(
    "--every-rank", is_flag=True, help="Simulate every rank instead of replaying a schedule recorded from six."
)
@click.option("--budget", type=BUDGET, default="60", show_default=True, help="Wall time for all live ranks, "
              "and for each replay.")  # fmt: skip
def main(
    net: str, size: int, t_comp: float, nodes: list[int], live: int, every_rank: bool, budget: float, **place: Any
) -> None:
    """Simulate the four patterns on many numbers of nodes."""
    refuse_inside()
    if min(nodes) < 2 or max(nodes) > MOST_NODES:
        raise UsageError(f"--nodes are 2 nodes or more, and at most {MOST_NODES}, got {min(nodes)} to {max(nodes)}: "
                         "leave out what lies beyond")  # fmt: skip
    if size % 8 or size < 8:
        raise UsageError(f"--bytes are whole 8-byte elements, at least one, got {size}: write e.g. 64K")
    if not t_comp:
        raise UsageError("the compute time of a step must be > 0 s, got --t-comp 0: write e.g. '100 ms'")
    if not MPI.Is_initialized():
        MPI.Init()
    network = load(net).sized(2)
    report = Report("scale", False, place["out"], place["json"], place["quiet"], place["full"])
    found = _Scale(network, size, t_comp, live, every_rank, budget)
    with report.begun(max(nodes), network=network.describe(), clock="simulated"):
        report.save(**found.content())
        with report.progress(len(nodes), "numbers of nodes", ranks=False) as bar:
            for p in nodes:
                found.add(p)
                report.save(**found.content())
                bar.advance()
        report.show()


class _Scale:
    """The rows known so far."""

    def __init__(self, network: Network, size: int, t_comp: float, live: int, every_rank: bool, budget: float) -> None:
        self.network, self.size, self.t_comp = network, size, t_comp
        self.live, self.every_rank = live, every_rank
        self.budget, self.until = budget, time.perf_counter() + budget
        self.rows: list[dict[str, Any]] = []
        self.left_out: list[str] = []

    def content(self) -> dict[str, Any]:
        """The fields of the result."""
        told = {"bytes": self.size, "t_comp": self.t_comp, "rows": self.rows, "causes": causes(self.network),
                "live": self.live}  # fmt: skip
        return {"scale": told, "warnings": self.left_out}

    def add(self, p: int) -> None:
        """Simulate every pattern on p nodes, as far as requested and while time is left."""
        network = self.network.sized(p)
        for name in PATTERNS:
            if name == "parameter server" and p == 2:
                continue  # a server with a single worker averages nothing
            timed = self._timed(name, p, network)
            predicted = self._predicted(name, p, network)
            if timed is None and predicted is None:
                continue
            row = {"pattern": name, "ranks": p, "predicted": predicted, "simulated": None, "how": None}
            if timed is not None:
                row |= {"simulated": timed[0], "how": timed[1]}
            self.rows.append(row | {"algorithm": _algorithm(network, p, self.size) if name == "all-reduce" else None})

    def _predicted(self, name: str, p: int, network: Network) -> float | None:
        """The closed form; gossip's needs a message-by-message replay, so none beyond the live ranks."""
        if p <= self.live:
            alpha, beta = network.slowest_path(range(p))
        else:  # too many paths to look at each
            path = network.between(0, p - 1)
            alpha, beta = path.alpha, path.beta
        if name == "all-reduce":
            return _form(_algorithm(network, p, self.size), p, self.size, alpha, beta)
        return price(name, p, self.size, alpha, beta, "") if p <= self.live or name != "gossip" else None

    def _timed(self, name: str, p: int, network: Network) -> Timed | None:
        why = ""
        if name == "all-reduce" and not self.every_rank:
            algorithm = _algorithm(network, p, self.size)
            try:
                if not (why := self._too_long(algorithm, p)):
                    return replay(partial(phantoms, algorithm, self.size, DTYPE), p, network).seconds, "replayed"
            except NoReplay:
                pass
        if p <= self.live:
            why = self._lacking(name, p)
        if why:
            self.left_out.append(f"{name} on {p} nodes was left out: {why}")
        return None if why or p > self.live else (_seconds(name, p, self.size, network), "live")

    def _too_long(self, algorithm: str, p: int) -> str:
        """The time of a replay if it exceeds the budget; else nothing."""
        took = costs.terms(algorithm, p).steps * (_REPLAYED_STEP_S + p * _REPLAYED_RANK_S)
        why = f"its replay would take about {format_time(took, 1)}; give a larger --budget"
        return why if took > self.budget else ""

    def _lacking(self, name: str, p: int) -> str:
        """The resource that is too small to run every rank live; nothing if none is."""
        import psutil

        if time.perf_counter() > self.until:
            return "the time was up; give a larger --budget"
        vectors = 0 if name == "all-reduce" else _VECTORS  # an all-reduce is one of phantoms
        needed, free = p * (RANK_BYTES + vectors * self.size), psutil.virtual_memory().available
        if needed > free:
            return f"its ranks need {needed >> 20} MiB, {free >> 20} MiB are free; give a smaller --bytes or --live"
        return ""


def _algorithm(network: Network, p: int, size: int) -> str:
    """The all-reduce that is fastest by its closed form."""
    path = network.between(0, 1)
    chosen = ALGORITHMS if p & (p - 1) == 0 else ALGORITHMS[:1]
    return min(chosen, key=lambda name: _form(name, p, size, path.alpha, path.beta))


def _form(algorithm: str, p: int, size: int, alpha: float, beta: float) -> float:
    """The closed form in seconds: the ring's with uneven blocks, the others' for p = 2^k."""
    if algorithm == "ring":
        return float(costs.exact(algorithm, p, size // 8, 8, alpha, beta))
    return float(costs.seconds(algorithm, p, size, alpha, beta))


def _seconds(name: str, p: int, size: int, network: Network) -> float:
    """Seconds of one pattern with every rank live."""
    if name == "parameter server":
        seen = sim.run(lambda comm: push_pull.steps(comm, size, 1, STEPS), p, network).results
        return float(np.median(push_pull.step_times(seen)))
    ways: dict[str, Callable[[Any], object]] = {
        "all-reduce": lambda comm: phantoms(_algorithm(network, p, size), size, DTYPE, comm).run(),
        "scatter-gather": lambda comm: through_coordinator(comm, np.ones(size // 8)),
    }
    if name == "gossip":
        rounds = shortest_schedule(p)
        ways["gossip"] = lambda comm: average(comm, np.ones(size // 8), rounds=rounds)
    return sim.run(ways[name], p, network).seconds


def causes(network: Network) -> list[str]:
    """Properties of a network that closed forms of one idle path ignore."""
    spec, found = network.spec, []
    if network.sized(64).links:
        found.append("hosts share links, at which messages of other pairs queue (contention)")
    if spec.ranks_per_host > 1 or spec.listed:
        found.append("ranks may share a host and its card")
    if len({(host.nic.egress_beta, host.slowdown) for host in spec.hosts}) > 1:
        found.append("hosts are unlike, and the slowest sets the pace (stragglers)")
    if spec.jitter is not None or spec.loss is not None:
        found.append("jitter and loss delay single messages, for which all others wait")
    return found


if __name__ == "__main__":
    main()
