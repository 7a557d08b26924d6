"""The skeleton of a design: what `run` starts on real ranks, as numbers, and its price by term.

A skeleton computes for the declared time and exchanges messages of the sheet's sizes by the sheet's patterns, so that
what is measured beside the price is the design and no program. It is cut to what one machine starts: fewer nodes, and
exchanges of at most `cap` bytes; both are predicted for the same cut, and `notes` says what was cut.

Its price is exact on a configured network: each exchange is followed message by message (`emulator.costs.steps`), with
computing times drawn anew. Terms are differences of such prices, as the run measures them: the compute time alone, then
with messages of one element (latency), with whole ones (bandwidth), and with spread (waiting).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.costs import steps
from emulator.costs.replay import replay
from emulator.design import pricing
from emulator.design.model import Design, Facts, Flow
from emulator.design.sheet import Sheet, State, Task
from emulator.errors import UsageError

TERMS = ("compute", "latency", "bandwidth", "waiting")
MOST_RANKS, CAP = 16, 1 << 20
ITEM = 4  # bytes of an element of a sum
WARM_UP = 2  # exchanges before the clock counts
_REQUEST, _REPORT, _HEADER, _MODEL = 110, 75, 56, 16  # bytes around a task, its result, a push or pull, a model
_PREFETCH = 1
_PREDICTED = 6  # times as many exchanges are drawn for the prediction as are run


@dataclass(frozen=True)
class Exchange:
    """One flow of a design at the p of the run.

    Attributes
    ----------
    ranks
        p nodes that compute, and `extra` servers or a coordinator.
    down, up
        Bytes of one exchange: of a request or a pulled table, and of an answer, a push, a sum or a gossiped value.
    compute
        Mean seconds of a node before each exchange, of `between` steps; of one task where there are `tasks`.
    """

    flow: Flow
    model: str
    bound: int
    p: int
    extra: int
    down: int
    up: int
    compute: float
    between: int = 1
    tasks: int = 0
    algorithm: str = ""
    rows: int = 0
    row_bytes: int = 0
    touched: int = 0

    @property
    def ranks(self) -> int:
        return self.p + self.extra

    @property
    def waits(self) -> bool:
        """Whether nodes wait for one another in every exchange."""
        return self.flow.pattern != "parameter-server" or self.model == "synchronous"

    def smallest(self) -> Exchange:
        """The same with messages of one element."""
        if self.touched:
            few = self.flow.servers
            return replace(self, touched=few, up=few * (self.row_bytes + 8), down=few * self.row_bytes)
        least = 8 * max(1, self.flow.servers) if self.flow.pattern != "all-reduce" else ITEM * self.p
        return replace(self, down=min(self.down, least), up=min(self.up, least))

    def draws(self, spread: float, count: int, seed: int) -> NDArray[np.float64]:
        """Computing times of `count` exchanges (rows) by p nodes, or by `tasks`: sums of log-normal steps."""
        columns, variance = self.tasks or self.p, math.log1p(spread**2)
        rng = np.random.default_rng((seed, columns, count))
        normal = rng.standard_normal((count, self.between, columns))
        factors = np.exp(math.sqrt(variance) * normal - variance / 2)
        found: NDArray[np.float64] = self.compute / self.between * factors.sum(axis=1)
        return found


@dataclass(frozen=True)
class Wires:
    """The network between two nodes: seconds per message, per byte of a path, and per byte of a sender's card."""

    alpha: float
    beta: float
    egress: float


@dataclass(frozen=True)
class Skeleton:
    """All exchanges of a design's step, what was cut, and the network of the run by name or as text."""

    exchanges: tuple[Exchange, ...]
    spread: float
    notes: tuple[str, ...]
    network: str
    wires: Wires
    formula: Mapping[str, float]

    @property
    def p(self) -> int:
        return self.exchanges[0].p

    @property
    def ranks(self) -> int:
        return max(one.ranks for one in self.exchanges)

    def count(self, exchange: Exchange) -> int:
        """Exchanges to run: the wait's mean over 240 of them is known to about 3 %."""
        return WARM_UP + (240 if self.spread and exchange.compute else 6)

    def predicted(self, seed: int) -> dict[str, float]:
        """Seconds of a step by term, and their `total`."""
        totals = dict.fromkeys(TERMS, 0.0)
        for one in self.exchanges:
            for term, seconds in by_term(lambda e, spread: self._price(e, spread, seed), one, self.spread).items():
                totals[term] += seconds
        return totals | {"total": sum(totals.values())}

    def _price(self, one: Exchange, spread: float, seed: int) -> float:
        count = WARM_UP + (self.count(one) - WARM_UP) * (_PREDICTED if spread else 1)
        return price(one, one.draws(spread, count, seed + 1_000_003), self.wires)


def by_term(seconds: Callable[[Exchange, float], float], one: Exchange, spread: float) -> dict[str, float]:
    """The terms of an exchange per step, as differences of the same exchange without messages, spread, or both.

    Parameters
    ----------
    seconds
        ``seconds(exchange, spread)`` of one exchange, measured or predicted.
    """
    compute = -(-one.tasks // one.p) * one.compute if one.tasks else one.compute
    small, whole = seconds(one.smallest(), 0.0), seconds(one, 0.0)
    full = seconds(one, spread) if spread and one.compute else whole
    terms = (compute, small - compute, whole - small, full - whole)
    return {name: term / one.between for name, term in zip(TERMS, terms, strict=True)}


def price(one: Exchange, computes: NDArray[np.float64], wires: Wires) -> float:
    """Seconds of one exchange in the steady state, by following the messages of all of them."""
    if one.tasks:
        down, up = one.down + _REQUEST, one.up + _REPORT
        took = [steps.pulled_tasks(row, one.p, down, up, wires.alpha, wires.beta, wires.egress, _PREFETCH)
                for row in computes.tolist()]  # fmt: skip
        return float(np.mean(took[WARM_UP:]))
    if not one.waits:
        return _loose(one, computes, wires)
    ends = []
    for part in (computes, computes[:WARM_UP]):
        ends.append(max(replay(_programs(one, part), wires.alpha, wires.beta, egress=wires.egress)))
    return (ends[0] - ends[1]) / (len(computes) - WARM_UP)


def _programs(one: Exchange, computes: NDArray[np.float64]) -> list[Any]:
    pattern, k = one.flow.pattern, one.flow.servers
    if pattern == "all-reduce":
        return steps.all_reduces(computes, one.algorithm, one.up // ITEM, ITEM)
    if pattern == "gossip":
        return steps.gossips(computes, sources(one.flow.graph, one.p), one.up)
    if pattern == "parameter-server":
        return steps.services(computes, k, one.up / k + _HEADER, one.down / k + _HEADER)
    around = (_MODEL, _MODEL) if pattern == "federated" else (_REQUEST, _REPORT)
    return steps.requests(computes, one.down + around[0], one.up + around[1])


def _loose(one: Exchange, computes: NDArray[np.float64], wires: Wires) -> float:
    """A node that waits for no other: its own round trip, or its turn at a card that is always busy."""
    mean = float(computes.mean())
    k = one.flow.servers
    push, pull = one.up / k + _HEADER, one.down / k + _HEADER
    trip = 2 * wires.alpha + (k - 1) * push * wires.egress + push * wires.beta + k * pull * wires.beta
    busy = one.p * max(push * wires.beta, pull * wires.egress)
    if one.model == "bounded":
        return max(steps.bounded_wait(computes, one.bound, trip), busy)
    return max(mean + trip, busy)


def sources(graph: str, p: int) -> list[list[list[int]]]:
    """From whom each rank hears, for the rounds of a graph one after another; as `primitives.gossip` lays them out."""
    if p == 1:
        return [[[]]]
    if graph == "one-peer":
        return [[[(i - (1 << k)) % p] for i in range(p)] for k in range((p - 1).bit_length())]
    if graph == "torus":
        return [_torus(p)]
    offsets = {"ring": {1, p - 1}, "complete": set(range(1, p)),
               "exponential": {(1 << k) % p for k in range((p - 1).bit_length())}}[graph]  # fmt: skip
    return [[[(i - d) % p for d in sorted(offsets)] for i in range(p)]]


def _torus(p: int) -> list[list[int]]:
    rows = next(r for r in range(math.isqrt(p), 0, -1) if p % r == 0)
    width = p // rows

    def at(row: int, column: int) -> int:
        return row % rows * width + column % width

    found = []
    for rank in range(p):
        r, c = divmod(rank, width)
        found.append(sorted({at(r, c + 1), at(r, c - 1), at(r + 1, c), at(r - 1, c)} - {rank}))
    return found


def skeleton(sheet: Sheet, facts: Facts, design: Design, most: int = MOST_RANKS, cap: int = CAP) -> Skeleton:
    """Cut a design to at most `most` ranks and `cap` bytes of an exchange.

    Raises
    ------
    UsageError
        A choice that no skeleton runs, or too few ranks.
    """
    _refuse(design)
    priced = pricing.price(facts, design)
    asked = min(pricing.chosen_nodes(sheet, priced), facts.job.most)
    extra = beside(design)
    notes: list[str] = []
    p, servers = asked, design.servers
    if asked + extra > most:
        servers = min(servers, max(1, round(servers * most / (asked + extra)))) if servers else 0
        p = most - (servers or min(extra, 1))
        notes.append(f"{asked} nodes and {extra} beside them are cut to {p} and {most - p} (at most {most} ranks; "
                     "-n allows more), predicted for the same")  # fmt: skip
    if (p < 2 and extra == 0) or p < 1:
        raise UsageError(f"a skeleton needs at least 2 ranks, got -n {most} for {extra} beside the nodes: give more")
    cut = replace(design, flows=tuple(replace(flow, servers=min(flow.servers, servers), overlap=0.0)
                                      for flow in design.flows))  # fmt: skip
    at_p = pricing.price(facts, cut, np.array([p]))
    notes += _not_run(facts, design)
    compute = float(at_p.compute[0] - sum(math.ceil(task.count / p) * task.seconds for task in facts.tasks))
    exchanges = []
    for flow in cut.flows:
        exchanges.append(_exchange(facts, cut, flow, p, compute, cap, notes))
        compute = 0.0
    name, wires = network_of(sheet, facts, max(one.ranks for one in exchanges))
    formula = first_order(at_p.at(p))
    return Skeleton(tuple(exchanges), facts.job.spread, tuple(dict.fromkeys(notes)), name, wires, formula)


def first_order(row: Mapping[str, float]) -> dict[str, float]:
    """The terms of a run from a row of `pricing.Priced.at`."""
    return {"compute": row["compute"], "latency": row["latency"], "waiting": row["waiting"],
            "bandwidth": row["bandwidth"] + row["reduction"] + row["queueing"], "total": row["step"]}  # fmt: skip


def beside(design: Design) -> int:
    """Ranks of a design that do not compute: its servers, or the coordinator of requests and rounds."""
    return max(_extra(flow) for flow in design.flows)


def _refuse(design: Design) -> None:
    if design.stragglers in ("backup", "quorum", "drop"):
        raise UsageError(f"load_balancing.stragglers = {design.stragglers!r} has no skeleton: none and stealing have "
                         "one; --change load_balancing.stragglers=none runs the rest of the design")  # fmt: skip
    for flow in design.flows:
        if flow.pattern == "gossip" and design.model != "synchronous":
            raise UsageError(f"consistency.model = {design.model!r} has no skeleton for gossip, synchronous has one: "
                             "--change consistency.model=synchronous")  # fmt: skip


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
    if len(design.flows) > 1:
        notes.append("the flows of a step run one after another, in series of their own; a step is their sum")
    return notes


def _extra(flow: Flow) -> int:
    return flow.servers or int(flow.pattern in ("scatter-gather", "federated"))


def _exchange(
    facts: Facts, design: Design, flow: Flow, p: int, compute: float, cap: int, notes: list[str]
) -> Exchange:  # fmt: skip
    part = facts.parts[flow.of]
    up = math.ceil(pricing.volume(design, flow, part))
    down = part.request_bytes if isinstance(part, Task) else 0 if flow.pattern == "scatter-gather" else up
    between = design.rounds * flow.every
    made = Exchange(flow, design.model, design.bound, p, _extra(flow), down, up, compute * between, between)
    if isinstance(part, Task):
        made = _with_tasks(made, part, p, compute, notes)
    if flow.pattern == "parameter-server" and isinstance(part, State) and part.touched:
        made = replace(made, touched=part.touched, row_bytes=math.ceil(part.row_bytes / 8) * 8, rows=part.rows)
    if max(made.up, made.down) > cap:
        notes.append(f"{flow.of}: exchanges of {max(made.up, made.down)} bytes are cut to {cap} (--cap allows more)")
        share = cap / max(made.up, made.down)
        made = replace(made, up=math.ceil(made.up * share), down=math.ceil(made.down * share),
                       touched=math.ceil(made.touched * share))  # fmt: skip
    if made.touched:
        k = flow.servers
        touched = max(k, made.touched // k * k)
        made = replace(made, touched=touched, rows=min(made.rows, 16 * touched) // touched * touched,
                       up=touched * (made.row_bytes + 8), down=touched * made.row_bytes)  # fmt: skip
    elif flow.pattern == "all-reduce":
        elements = max(1, made.up // ITEM)
        made = replace(made, up=elements * ITEM, algorithm=pricing.algorithm_of(facts, flow, elements * ITEM, p))
    elif flow.pattern != "scatter-gather":
        whole = 8 * max(1, flow.servers)
        made = replace(made, up=max(1, made.up // whole) * whole, down=max(1, made.down // whole) * whole)
    return made


def _with_tasks(made: Exchange, part: Task, p: int, compute: float, notes: list[str]) -> Exchange:
    """Tasks that are pulled, or one request to each node."""
    if made.flow.pattern != "scatter-gather":
        raise UsageError(f"a task goes by scatter-gather, got {made.flow.pattern} of {part.name!r}: change it")
    if part.count == 1:
        return replace(made, compute=made.compute + made.between * part.seconds)
    count = part.count
    if count > 64 * p:
        count = 64 * p
        notes.append(f"{part.name}: {part.count} tasks of a step are cut to {count}")
    return replace(made, tasks=count, between=1, compute=part.seconds + compute * p / part.count)


def network_of(sheet: Sheet, facts: Facts, ranks: int) -> tuple[str, Wires]:
    """The run's network, by name or as the text of a file, and its terms between two nodes."""
    from emulator.network import files

    name = sheet.network.preset or sheet.network.file
    if name is None or sheet.network.ranks_per_host > 1 or not facts.origin.startswith("network "):
        name = f'[link]\nlatency = "{facts.alpha!r} s"\nbandwidth = "{8 / facts.beta!r} bit/s"\n' if facts.beta else ""
        if not name:
            raise UsageError("network.bandwidth must be finite for a run: give one such as '10 Gbit/s'")
    found = (files.parse(name, "sheet") if "\n" in name else files.load(name)).sized(ranks).describe()
    egress = max(host["nic"]["egress_beta"] for host in found["hosts"])
    return name, Wires(found["alpha"]["max"], found["beta"]["max"], egress)


def off(measured: Mapping[str, float], predicted: Mapping[str, float], within: float = 0.15) -> list[str]:
    """The terms, and the total, that are further off than `within`; a term below 5 % of the step is none of them."""
    found = []
    for term in (*TERMS, "total"):
        seen, said = measured[term], predicted[term]
        if max(abs(seen), abs(said)) >= 0.05 * measured["total"] and abs(said - seen) > within * max(abs(seen), 1e-15):
            found.append(term)
    return found
