"""The skeleton of a design: the exchanges that `run` executes on real ranks, and their price by term.

A skeleton computes for the declared time and exchanges messages of the sheet's sizes by the sheet's patterns, so that
what is measured beside the price is the design and no program. It is cut to what one machine starts: fewer nodes, and
exchanges of at most `cap` bytes; both are predicted for the same cut, and `notes` says what was cut.

Its price is exact on a configured network (`emulator.design.prices.exchange`). Terms are differences of such prices, as
the run measures them: the compute time alone, then with messages of one element (latency), with whole ones (bandwidth),
and with spread (waiting).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from emulator.costs import waiting
from emulator.costs.message_paths import Ways
from emulator.design.model import Design, Facts, Flow
from emulator.design.prices import communication, network_terms, pricing
from emulator.design.prices.exchange import ITEM, WARM_UP, Exchange, price
from emulator.design.sheets.sheet import Sheet
from emulator.design.sheets.tables import KEY_BYTES, State, Task
from emulator.errors import UsageError
from emulator.units import format_size

if TYPE_CHECKING:
    from emulator.network import Network

TERMS = ("compute", "latency", "bandwidth", "waiting")
MOST_RANKS, CAP = 16, 1 << 20
_PREDICTED = 5  # series of computing times are drawn for a prediction, one for a run


@dataclass(frozen=True)
class Skeleton:
    """All exchanges of a design's step, what was cut, and the network of the run.

    Attributes
    ----------
    formula, whole : the terms by formula: of this cut with its bytes uncut, and of the whole sheet
    needs : what was cut ("bytes were cut to 1M", "nodes ..."), with the option that runs it whole
    """

    exchanges: tuple[Exchange, ...]
    spread: float
    notes: tuple[str, ...]
    network: Network
    formula: Mapping[str, float]
    whole: Mapping[str, float]
    needs: Mapping[str, str]

    @property
    def p(self) -> int:
        return self.exchanges[0].p

    @property
    def ranks(self) -> int:
        return max(one.ranks for one in self.exchanges)

    @cached_property
    def ways(self) -> Ways:
        """The paths between the ranks of the run."""
        return network_terms.ways_of(self.network)

    def predicted(self, seed: int) -> dict[str, float]:
        """Predicted seconds of a step by term, and their `total`."""
        totals = dict.fromkeys(TERMS, 0.0)
        for one in self.exchanges:
            for term, seconds in self.by_term(lambda e, spread: expected(e, spread, seed, self.ways), one).items():
                totals[term] += seconds
        return totals | {"total": sum(totals.values())}

    def by_term(
        self, seconds: Callable[[Exchange, float], float], one: Exchange, spread: float | None = None
    ) -> dict[str, float]:
        """The terms of one exchange, with the job's spread if absent; see the function `by_term`."""
        nodes = [self.ways.slowdown(one.extra + node) for node in range(one.p)]
        spread = self.spread if spread is None else spread
        quorum = one.flow.quorum if one.needed or one.deadline < math.inf else 1.0
        slow = waiting.unequal(np.array(nodes), 0.0, quorum) if one.waits else fmean(nodes)
        return by_term(seconds, one, spread, fmean(nodes), slow)


def expected(one: Exchange, spread: float, seed: int, ways: Ways, beside: Sequence[Exchange] = ()) -> float:
    """Seconds of an exchange: the mean over several series with random compute times."""
    series = range(_PREDICTED if spread else 1)
    count = one.count(spread)
    return fmean(price(one, one.draws(spread, count, seed + 1_000_003 + k), ways, beside) for k in series)


def by_term(
    seconds: Callable[[Exchange, float], float], one: Exchange, spread: float, mean: float = 1.0, pace: float = 1.0
) -> dict[str, float]:
    """The terms of an exchange per step: differences between the exchange with and without messages and spread.

    Parameters
    ----------
    seconds : ``seconds(exchange, spread)`` of one exchange, measured or predicted
    mean, pace : how many times slower than declared the nodes compute on average, and those that set the pace: as in
        the formula, the others wait for the difference
    """
    declared = -(-one.tasks // one.p) * one.compute if one.tasks else one.compute
    compute, slowest = mean * declared, pace * declared
    small, whole = seconds(one.smallest(), 0.0), seconds(one, 0.0)
    full = seconds(one, spread) if spread and one.compute else whole
    terms = (compute, small - slowest, whole - small, full - whole + slowest - compute)
    return {name: term / one.between for name, term in zip(TERMS, terms, strict=True)}


def skeleton(
    sheet: Sheet, facts: Facts, design: Design, most: int = MOST_RANKS, cap: int = CAP, nodes: int | None = None
) -> Skeleton:  # fmt: skip
    """Cut a design of `nodes` (absent: the sheet's) to at most `most` ranks and `cap` bytes of an exchange.

    Raises
    ------
    UsageError
        A choice that no skeleton runs, or too few ranks.
    """
    priced = pricing.price(facts, design)
    asked = nodes or min(pricing.chosen_nodes(sheet, priced), facts.job.most)
    extra = design.beside
    notes: list[str] = []
    needs: dict[str, str] = {}
    p, servers = asked, design.servers
    allows = "-n or --simulate allows more" if most <= facts.places else "as many as the network has places for"
    most = int(min(most, facts.places))
    if asked + extra > most:
        servers = min(servers, max(1, round(servers * most / (asked + extra)))) if servers else 0
        p = most - (servers or min(extra, 1))
        notes.append(f"{asked} nodes and {extra} beside them are cut to {p} and {most - p} (at most {most} ranks; "
                     f"{allows}), predicted for the same")  # fmt: skip
        if asked + extra <= facts.places:
            needs[f"nodes were cut from {asked} to {p}"] = f"-n {asked + extra} or --simulate {asked + extra}"
    if asked == 1 and extra == 0:
        raise UsageError(f"{sheet.origin}: partition.nodes: a skeleton exchanges messages among at least 2 nodes, got "
                         "1: give more, or ask predict for its price")  # fmt: skip
    if (p < 2 and extra == 0) or p < 1:
        raise UsageError(f"a skeleton needs at least 2 ranks, got {most} for {extra} beside the nodes: give more")
    cut = replace(design, flows=tuple(replace(flow, servers=min(flow.servers, servers), overlap=0.0)
                                      for flow in design.flows))  # fmt: skip
    at_p = pricing.price(facts, cut, np.array([p]))
    notes += _not_run(facts, design)
    tasks = sum(math.ceil(task.count / p) * task.seconds for task in facts.tasks)
    slowdown = facts.slowdown(at_p.p, cut.beside)
    compute = float((at_p.compute / slowdown)[0]) - tasks  # declared; the hosts' speeds are those of the network
    exchanges = []
    largest = max(
        max(_sizes(cut, flow, facts.parts[flow.of])) for flow in cut.flows if not communication.silent(facts, flow)
    )
    if largest > cap:
        needs[f"bytes were cut to {format_size(cap)}"] = f"--cap {math.ceil(largest / (1 << 20))}M"
    for flow in cut.flows:
        if not communication.silent(facts, flow):
            exchanges.append(_exchange(facts, cut, flow, p, compute, cap, notes))
            compute = 0.0
    network = network_of(sheet, facts, max(one.ranks for one in exchanges))
    ways = network_terms.ways_of(network)
    exchanges = [_hurried(facts, cut, one, ways) for one in exchanges]
    formula, whole = first_order(at_p.at(p)), first_order(priced.at(asked))
    return Skeleton(tuple(exchanges), facts.job.spread, tuple(dict.fromkeys(notes)), network, formula, whole, needs)


def first_order(row: Mapping[str, float]) -> dict[str, float]:
    """The predicted terms of a run, from a row of `pricing.Priced.at`."""
    return {"compute": row["compute"], "latency": row["latency"], "waiting": row["waiting"],
            "bandwidth": row["bandwidth"] + row["reduction"] + row["queueing"], "total": row["step"]}  # fmt: skip


def _hurried(facts: Facts, design: Design, one: Exchange, ways: Ways) -> Exchange:
    """The exchange with the design's measure against stragglers, where its pattern has one."""
    copies = 1 + design.replicas if one.flow.kind.requests and not one.tasks else 1
    one = replace(one, copies=min(one.p, copies))
    if design.stragglers == "backup" and one.flow.kind.requests:
        return replace(one, late=waiting.LATE)
    if design.stragglers not in ("quorum", "drop") or one.flow.quorum >= 1:
        return one
    if one.flow.kind.requests:
        return replace(one, needed=math.ceil(one.flow.quorum * (one.tasks or one.p) - 1e-9))
    if one.flow.kind.rounds:
        hosts = np.array([ways.slowdown(one.extra + node) for node in range(one.p)])
        slow = waiting.unequal(hosts, facts.job.spread / math.sqrt(one.between), one.flow.quorum)
        trip = price(one, np.full((WARM_UP + 1, one.p), one.compute), ways) - one.compute * float(hosts.max())
        return replace(one, deadline=1.01 * (trip + one.compute * slow))
    return one


def _not_run(facts: Facts, design: Design) -> list[str]:
    notes = []
    if any(flow.overlap for flow in design.flows):
        notes.append("overlap of computing and messages is neither run nor predicted here")
    if facts.gamma:
        notes.append("reducing (gamma) is neither declared nor predicted here")
    if any(state.skew for state in facts.states):
        notes.append("skew of the keys is not run: they lie evenly on the shards")
    if design.replicas and design.servers:
        notes.append("replicas of the servers are not run")
    if design.stragglers != "none" and not design.hurried:
        notes.append(f"stragglers = {design.stragglers!r} is not run: {design.patterns} waits for every node")
    if sum(not communication.silent(facts, flow) for flow in design.flows) > 1:
        notes.append("the flows of a step run one after another, in series of their own; a step is their sum")
    return notes


def _sizes(design: Design, flow: Flow, part: State | Task) -> tuple[int, int]:
    """Bytes of one whole exchange, `down` and `up`."""
    up = math.ceil(communication.volume(design, flow, part))
    return part.request_bytes if isinstance(part, Task) else 0 if flow.kind.requests else up, up


def _exchange(
    facts: Facts, design: Design, flow: Flow, p: int, compute: float, cap: int, notes: list[str]
) -> Exchange:  # fmt: skip
    part = facts.parts[flow.of]
    down, up = _sizes(design, flow, part)
    between = design.rounds * flow.every
    made = Exchange(flow, design.model, design.bound, p, flow.beside, down, up, compute * between, between)
    if isinstance(part, Task):
        made = replace(_with_tasks(made, part, p, compute, notes), dealt=part.count > 1 and not design.pulls)
    if flow.kind.servers and isinstance(part, State) and part.touched:
        touched = math.ceil(part.touched * flow.compression)
        made = replace(made, touched=touched, row_bytes=math.ceil(part.row_bytes / 8) * 8, rows=part.rows)
    if max(made.up, made.down) > cap:
        notes.append(f"{flow.of}: exchanges of {max(made.up, made.down)} bytes are cut to {cap} (--cap allows more)")
        share = cap / max(made.up, made.down)
        made = replace(made, up=math.ceil(made.up * share), down=math.ceil(made.down * share),
                       touched=math.ceil(made.touched * share))  # fmt: skip
    if made.touched:
        k = flow.servers
        touched = max(k, made.touched // k * k)
        made = replace(made, touched=touched, rows=min(made.rows, 16 * touched) // touched * touched,
                       up=touched * (made.row_bytes + KEY_BYTES), down=touched * made.row_bytes)  # fmt: skip
    elif flow.kind.sums:
        elements = max(1, made.up // ITEM)
        made = replace(made, up=elements * ITEM, algorithm=communication.algorithm_of(facts, flow, elements * ITEM, p))
    elif not flow.kind.requests:
        whole = 8 * max(1, flow.servers)
        made = replace(made, up=max(1, made.up // whole) * whole, down=max(1, made.down // whole) * whole)
    return made


def _with_tasks(made: Exchange, part: Task, p: int, compute: float, notes: list[str]) -> Exchange:
    """The exchange with tasks that are pulled, or one request to each node."""
    if not made.flow.kind.requests:
        raise UsageError(f"a task goes by scatter-gather, got {made.flow.pattern} of {part.name!r}: change it")
    if part.count == 1:
        return replace(made, compute=made.compute + made.between * part.seconds)
    count = part.count
    if count > 16 * p:
        count = 16 * p
        notes.append(f"{part.name}: {part.count} tasks of a step are cut to {count}")
    return replace(made, tasks=count, between=1, compute=part.seconds + compute * p / part.count)


def network_of(sheet: Sheet, facts: Facts, ranks: int) -> Network:
    """The sheet's network for `ranks` ranks; equal hosts where the terms were measured elsewhere."""
    own = facts.origin.startswith(("network ", "given "))
    return (
        network_terms.load(sheet.network) if own else network_terms.load(sheet.network, facts.alpha, facts.beta)
    ).sized(ranks)


LEAST = 0.05  # of the step: a smaller term has no verdict


def unjudged(made: Skeleton, measured: Mapping[str, float]) -> str:
    """The terms without a verdict because the run was cut, and the options for an uncut run; empty if none is."""
    shares = {term: (measured[term] / measured["total"], made.whole[term] / made.whole["total"]) for term in TERMS}
    hidden = [f"{term} is {run:.1%} of this run's step and {sheet:.1%} of the sheet's"
              for term, (run, sheet) in shares.items() if abs(run) < LEAST <= sheet]  # fmt: skip
    if not hidden or not made.needs:
        return ""
    return (f"{' and '.join(made.needs)}: {', '.join(hidden)}, without a verdict here; "
            f"{' with '.join(made.needs.values())} runs it whole")  # fmt: skip


def off(measured: Mapping[str, float], predicted: Mapping[str, float], within: float = 0.15) -> list[str]:
    """The terms, and the total, whose error exceeds `within`, except terms below `LEAST` of the step."""
    found = []
    for term in (*TERMS, "total"):
        seen, said = measured[term], predicted[term]
        if max(abs(seen), abs(said)) >= LEAST * measured["total"] and abs(said - seen) > within * max(abs(seen), 1e-15):
            found.append(term)
    return found
