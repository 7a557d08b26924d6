"""The terms of a case study's step: measured on a network, and predicted from its scaled sheet.

The program's messages cannot be made smaller, so its terms are differences of runs of the same steps on networks of
which a part was removed: without latency and bandwidth (compute), with latency (latency), whole (bandwidth), and with
unequal computing times (waiting). Jitter and loss have no price: the terms are measured without them, and what they add
to a step is measured beside the terms.

Where no worker waits for all others, messages meet at a server's card by chance. With equal computing times they would
meet always or never, so there the computing times are unequal before bandwidth is added (`_ways`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from demos._lib.cases.case import Case, Ends, Steps
from emulator import carrier, sim
from emulator.costs.message_paths import Ways
from emulator.design.model import facts_and_design
from emulator.design.prices import pricing
from emulator.design.prices import skeleton as skeletons
from emulator.design.prices.exchange import enough
from emulator.design.prices.network_terms import ways_of
from emulator.design.sheets.sheet import Sheet
from emulator.errors import UsageError
from emulator.network import Network
from emulator.network.topology import Flat, LatencyOnly
from emulator.run.demo_run import Run


def without(network: Network, latency: bool = False) -> Network:
    """The same hosts with unlimited bandwidth and nothing that varies; without `latency` messages take no time."""
    spec = network.spec
    keep = 1.0 if latency else 0.0

    def bare(host: Any) -> Any:
        nic = replace(host.nic, egress_beta=0.0, ingress_beta=0.0, gap=0.0, latency=keep * host.nic.latency)
        own = replace(host.loopback, alpha=keep * host.loopback.alpha, beta=0.0)
        return replace(host, nic=nic, loopback=own)

    topology = LatencyOnly(spec.topology) if latency else Flat()
    return Network(replace(spec, hosts=tuple(map(bare, spec.hosts)), alpha=keep * spec.alpha, beta=0.0,
                           topology=topology, jitter=None, loss=None), network.ranks)  # fmt: skip


def steady(network: Network) -> Network | None:
    """The same network without jitter and loss, which prices ignore; None if it has none."""
    spec = network.spec
    if spec.jitter is None and spec.loss is None:
        return None
    return Network(replace(spec, jitter=None, loss=None), network.ranks)


def compare(run: Run, case: Any, sheet: Sheet, data: Any = None) -> dict[str, Any] | None:
    """Run a case and compare its terms with the price of its scaled sheet; the comparison on rank 0; collective.

    The sheet's network is that of the run. On the bare transport, whose terms are not configured, the step as a whole
    stands beside its price, without a verdict.
    """
    small = case.scaled(sheet, run.size)
    seconds = _Measured(run, case, small, case.data(run.control, small) if data is None else data)
    spread = small.job.spread
    if run.network is None:
        measured, varying = {"total": seconds.on(None, Steps(skeletons.WARM_UP + 40, spread, run.seed))}, None
    else:
        measured, varying = _terms(run, seconds, spread)
    if run.rank:
        return None
    predicted, how = price(small, run.size, run.seed)
    total = measured["total"]
    rows = [{"term": term, "measured": seen, "predicted": predicted[term], "share": seen / total}
            for term, seen in measured.items()]  # fmt: skip
    found = {
        "program": sheet.program, "p": _nodes(small), "ranks": run.size, "spread": spread, "how": how,
        "patterns": list(dict.fromkeys(flow.pattern for flow in small.communication)), "rows": rows, "notes": [],
        "bytes": seconds.bytes, "varying": varying,
    }  # fmt: skip
    if run.network is not None and (wrong := skeletons.off(measured, predicted)):
        texts = [f"{term} measured {measured[term]:.4g} s, predicted {predicted[term]:.4g} s" for term in wrong]
        run.fail("more than 15 % off: " + "; ".join(texts))
    return found


@dataclass
class _Measured:
    """Runs of a case's steps, and the bytes per step that all ranks send, if the network counts them."""

    run: Run
    case: Case
    sheet: Sheet
    data: Any
    bytes: float | None = None

    def on(self, network: Network | None, steps: Steps) -> float:
        """Mean seconds of a step after the warm-up, on a network or on bare MPI; collective."""
        control = self.run.control
        found = (self._simulated if self.run.clock == "simulated" else self._emulated)(network, steps)
        seconds = 0.0
        if found is not None:
            ends, sent = found
            done = np.array([row for row in ends if row]).mean(axis=0)
            seconds = float(done[-1] - done[skeletons.WARM_UP - 1]) / (len(done) - skeletons.WARM_UP)
            self.bytes = None if sent is None else sent / steps.count
        return float(control.bcast(seconds))

    def _emulated(self, network: Network | None, steps: Steps) -> tuple[list[Ends], int | None] | None:
        """When each rank of the job finished each step, and the bytes that ranks sent; on rank 0."""
        run = self.run
        comm: Any = run.comm
        if network is not None:
            comm = emulator.emulate(MPI.COMM_WORLD, network, compute="none", seed=run.seed)
        run.control.Barrier()
        carrier.of(comm).align()
        before = 0 if network is None else comm.traffic().bytes
        gathered = run.control.gather(self.case.timed(comm, self.sheet, self.data, steps))
        sent = None if network is None else comm.traffic().bytes - before
        return None if gathered is None else (gathered, sent)

    def _simulated(self, network: Network | None, steps: Steps) -> tuple[list[Ends], int | None] | None:
        """When each simulated rank finished each step, and the bytes sent; rank 0 simulates while the others wait."""
        run = self.run
        given = run.control.gather(self.data)
        if given is None or network is None:
            return None

        def program(comm: sim.SimulatedComm) -> tuple[Ends, int]:
            ends = self.case.timed(comm, self.sheet, given[comm.Get_rank()], steps)
            return ends, comm.traffic().bytes

        results = sim.run(program, run.size, network, seed=run.seed).results
        return [ends for ends, _ in results], results[0][1]


def _terms(run: Run, measured: _Measured, spread: float) -> tuple[dict[str, float], float | None]:
    """The terms of a step without jitter and loss, and the seconds that these add to it, if the network has any."""
    settles = _settles(measured.sheet)
    meets = not settles and all(not flow.kind.graph for flow in measured.sheet.communication)
    count = enough(meets, _nodes(measured.sheet), max((one.count for one in measured.sheet.task), default=0))
    many = Steps(skeletons.WARM_UP + count, spread, run.seed, stratified=meets)
    few = Steps(skeletons.WARM_UP + 6, 0.0, run.seed)

    priced = steady(run.network)
    parts = {"nothing": without(run.network), "latency": without(run.network, latency=True),
             "whole": priced or run.network}  # fmt: skip

    @cache
    def seconds(part: str, unequal: bool) -> float:
        # Equal workers come to run ahead of each other only where a message waits for another one at a card.
        equal = replace(few, count=many.count) if settles and part == "whole" else few
        return measured.on(parts[part], many if unequal else equal)

    found = _differences(measured.sheet, seconds)
    return found, None if priced is None else measured.on(run.network, many) - found["total"]


def _settles(sheet: Sheet) -> bool:
    """Whether workers of parameter servers may run ahead of each other, by how much settling only after some steps."""
    synchronous = sheet.consistency is None or sheet.consistency.model == "synchronous"
    return not synchronous and any(flow.kind.servers for flow in sheet.communication)


def _ways(sheet: Sheet) -> dict[str, tuple[str, bool]]:
    """The run for each term, which is longer by it than the run before: its network, and whether compute times vary."""
    last = {"bandwidth": ("whole", False), "waiting": ("whole", True)}
    if _settles(sheet):
        last = {"waiting": ("latency", True), "bandwidth": ("whole", True)}
    return {"compute": ("nothing", False), "latency": ("latency", False)} | last


def _differences(sheet: Sheet, seconds: Callable[[str, bool], float]) -> dict[str, float]:
    """The terms and the total of a step, from the seconds of the runs of `_ways`."""
    found, before = {}, 0.0
    for term, (part, unequal) in _ways(sheet).items():
        now = seconds(part, unequal and sheet.job.spread > 0)
        found[term], before = now - before, now
    return {term: found[term] for term in skeletons.TERMS} | {"total": before}


def _nodes(sheet: Sheet) -> int:
    """The number of nodes of a scaled sheet, which must give it."""
    assert sheet.partition is not None
    assert sheet.partition.nodes is not None
    return sheet.partition.nodes


def price(sheet: Sheet, ranks: int, seed: int) -> tuple[dict[str, float], str]:
    """Predict the terms of a scaled sheet by the same differences by which they are measured, and say how.

    Message by message where the design has a skeleton, else by the formulas of `predict`.
    """
    facts, chosen = facts_and_design(sheet)
    try:
        made = skeletons.skeleton(sheet, facts, chosen, ranks, cap=1 << 40)
    except UsageError:  # a choice that no skeleton follows
        row = pricing.price(facts, chosen).at(_nodes(sheet))
        return skeletons.first_order(row), "by formula"
    whole = made.network
    parts = {"nothing": without(whole), "latency": without(whole, latency=True), "whole": whole}
    ways = {part: ways_of(network) for part, network in parts.items()}

    @cache
    def seconds(part: str, unequal: bool) -> float:
        return _step(made, made.spread if unequal else 0.0, ways[part], seed)

    return _differences(sheet, seconds), "message by message"


def _step(made: skeletons.Skeleton, spread: float, ways: Ways, seed: int) -> float:
    """Seconds of a step: its exchanges one after another, or together if they meet at the same servers."""
    first, *others = made.exchanges
    if others and all(one.flow.kind.servers and not one.waits for one in made.exchanges):
        return skeletons.expected(first, spread, seed, ways, others)
    return sum(skeletons.expected(one, spread if one.compute else 0.0, seed, ways) / one.between
               for one in made.exchanges)  # fmt: skip
