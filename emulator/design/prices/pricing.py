"""The price of a design for any number of nodes: the step by term, memory, failures, the whole job.

    T(p) = T_comp/p imbalance(p) wait(p) + sum of (1 - overlap) T_comm(p) / every      S(p) = T_comp / T(p)

T_comm is the price of each flow by `emulator.costs`; wait(p) is the expected time of the slowest node over the mean
one (`emulator.costs.waiting`). A job meets a failure every mtbf / nodes; what its policy loses to them is the waste,
and goodput = 1 - waste. Everything is an array over p, so that the planner prices a design for all p at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator import speedup
from emulator.design.model import Design, Facts, Flow, facts_and_design
from emulator.design.prices import balance, communication, failures
from emulator.design.sheets.sheet import Sheet
from emulator.design.sheets.tables import Task

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Priced:
    """The price of a design for p = 1..most nodes; times in seconds, of one step unless said otherwise.

    Attributes
    ----------
    compute, waiting : T_comp/p with its imbalance; and what waiting for slow nodes adds
    latency, bandwidth, reduction, queueing : parts of the communication, after overlap and divided by `every`
    sent : bytes that a node sends per step
    memory, server_memory : bytes of a node that computes, and of a server
    waste : share of the time that failures cost; 1 where the job makes no progress
    answer : 99th percentile of a step: what a deadline is compared with
    extra_nodes : servers and spares beside the p nodes
    staleness : steps after which every node has seen an update, where older ones than the job tolerates, and neighbours
        whom liars outvote, are infeasible
    followed : figures at those p whose messages were followed one by one (`emulator.design.prices.message_level`)
    """

    facts: Facts
    design: Design
    p: NDArray[np.int64]
    compute: Array
    waiting: Array
    latency: Array
    bandwidth: Array
    reduction: Array
    queueing: Array
    sent: Array
    memory: Array
    server_memory: float
    waste: Array
    answer: Array
    extra_nodes: int
    staleness: Array | None = None
    followed: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @property
    def communication(self) -> Array:
        """T_comm(p), as far as it lengthens the step."""
        return self.latency + self.bandwidth + self.reduction + self.queueing

    @property
    def step(self) -> Array:
        """T(p), the seconds of a step."""
        return self.compute + self.waiting + self.communication

    @property
    def job(self) -> Array:
        """Seconds of the whole job with failures, and with the extra steps of a known penalty."""
        with np.errstate(divide="ignore"):
            times = self.facts.job.steps * self.step * (1 + (self.design.penalty or 0.0)) / (1 - self.waste)
        return np.where(self.feasible, times, np.inf)

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether, at each p, it fits into memory and the nodes, progresses, and answers in time."""
        job = self.facts.job
        fits = (self.memory <= job.memory) & (self.server_memory <= job.memory) & (self.waste < 1)
        fits &= self.p + self.extra_nodes <= job.most
        if self.staleness is not None:
            fits &= (self.staleness <= job.staleness) & balance.honest(self.facts, self.design.flows, self.p)
        return fits & (self.answer <= (job.deadline or np.inf))

    @property
    def node_seconds(self) -> Array:
        """Number of nodes times seconds of the whole job."""
        return self.job * (self.p + self.extra_nodes)

    def best(self) -> int | None:
        """p*: the p with the shortest feasible job; None if there is none."""
        times = self.job
        return int(self.p[np.argmin(times)]) if np.isfinite(times.min()) else None

    def knee(self) -> int | None:
        """The smallest p whose job takes at most 5 % longer than the shortest."""
        times = self.job
        return speedup.knee(self.p, times) if np.isfinite(times.min()) else None

    def dominated(self) -> int | None:
        """The first p >= 2 at which communication dominates, R(p) >= 1; None if there is none."""
        return speedup.dominated(self.p, self.communication, self.compute)

    def at(self, p: int) -> dict[str, float]:
        """All figures at one p, from followed messages where those exist."""
        if p in self.followed:
            return dict(self.followed[p])
        index = int(np.flatnonzero(self.p == p)[0])
        names = ("compute", "waiting", "latency", "bandwidth", "reduction", "queueing", "sent", "memory", "waste",
                 "answer", "communication", "step", "job", "node_seconds")  # fmt: skip
        row = {name: float(getattr(self, name)[index]) for name in names}
        total = work(self.facts)
        row |= {"p": p, "speedup": total / row["step"], "efficiency": total / row["step"] / p}
        return row | {"ratio": row["communication"] / row["compute"] if row["compute"] else math.inf}

    def with_row(self, row: Mapping[str, float]) -> Priced:
        """The price with the figures at ``row["p"]`` replaced by those of followed messages."""
        return replace(self, followed={**self.followed, int(row["p"]): row})

    def first_order(self, p: int) -> bool:
        """Whether the communication at p is a first-order estimate: paths differ, and no message was followed."""
        return not self.facts.uniform and p > 1 and p not in self.followed


def work(facts: Facts) -> float:
    """T_comp, seconds of a step on one node: the declared time and its tasks."""
    return facts.job.t_comp + sum(task.count * task.seconds for task in facts.tasks)


def price(
    facts: Facts,
    design: Design,
    p: NDArray[np.int64] | None = None,
    memo: dict[Any, Any] | None = None,
    fresh: bool = False,
    terms: Array | None = None,
) -> Priced:
    """Price a design for every p of an array, 1..most if absent.

    Parameters
    ----------
    memo : keeps what several designs of the same facts and the same p have in common
    fresh : whether updates that are older than the job tolerates, or too few neighbours for its liars, make a node
        count infeasible, as for the planner; a prediction is made all the same
    terms : latency, bandwidth, reduction, queueing and bytes of a step over p, in the place of the formulas'
    """
    p = np.arange(1, facts.job.most + 1) if p is None else p
    memo = {} if memo is None else memo
    holders = design.holders
    compute = _kept(memo, ("compute", holders, design.parts, design.sharding, design.pulls, design.beside),
                    lambda: _compute(facts, design, p))  # fmt: skip
    factor = _kept(memo, _waits(design), lambda: balance.wait(facts, design, p))
    factor = factor * _unequal(facts, design, p)
    tasks = balance.task_seconds(facts, p)
    # A slow node that pulls its tasks takes fewer of them: the others wait for its last one at most.
    last = np.minimum(tasks, sum(task.seconds for task in facts.tasks)) if design.pulls else tasks
    slow = (compute - tasks + last) * (factor - 1)
    priced = (design.model, design.rounds, design.replicas, design.sharding, holders)
    if terms is None:
        terms = np.zeros((5, len(p)))
        for flow in design.flows:
            terms = terms + _kept(memo, (flow, *priced), partial(communication.per_step, facts, design, flow, p))
    memory, server_memory = _kept(memo, (design.flows, design.replicas, holders), lambda: _memory(facts, design, p))
    step = compute + slow + terms[:4].sum(axis=0)
    waste = failures.waste(facts, design, p, step, np.maximum(memory, server_memory))
    answer = _answer(facts, design, p, compute, step)
    age = ("age", design.model, design.bound, design.rounds, tuple((f.pattern, f.graph, f.every) for f in design.flows))
    old = _kept(memo, age, lambda: balance.staleness(design, p)) if fresh else None
    latency, bandwidth, reduction, queueing, sent = terms
    return Priced(facts, design, p, compute, slow, latency, bandwidth, reduction, queueing, sent, memory, server_memory,
                  waste, answer, design.servers + design.spares, old)  # fmt: skip


def least(facts: Facts, design: Design, p: NDArray[np.int64], memo: dict[Any, Any], nodes: bool) -> float:
    """A fast lower bound of the job's seconds, or of node-seconds with `nodes`: without failures and limits.

    Replicas only add to it, so the bound holds under every policy.
    """
    holders = design.holders
    step = _kept(memo, ("compute", holders, design.parts, design.sharding, design.pulls, design.beside),
                 lambda: _compute(facts, design, p))  # fmt: skip
    if not (design.pulls and facts.tasks):
        step = step * _kept(memo, _waits(design), lambda: balance.wait(facts, design, p)) * _unequal(facts, design, p)
    for flow in design.flows:
        key = ("least", flow, design.model, design.rounds, design.sharding, holders)
        step = step + _kept(memo, key, partial(_flow_seconds, facts, design, flow, p))
    return float((step * (p + design.servers) if nodes else step).min()) * facts.job.steps


def _flow_seconds(facts: Facts, design: Design, flow: Flow, p: NDArray[np.int64]) -> Array:
    return communication.per_step(facts, design, flow, p)[:4].sum(axis=0)


def _kept(memo: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in memo:
        memo[key] = make()
    return memo[key]


def _compute(facts: Facts, design: Design, p: NDArray[np.int64]) -> Array:
    compute = facts.job.t_comp / p * balance.imbalance(facts, design, p)
    return facts.slowdown(p, design.beside) * (compute + balance.task_seconds(facts, p))


def _unequal(facts: Facts, design: Design, p: NDArray[np.int64]) -> Any:
    """The slowest host's time over the mean where nodes wait for it; nodes that pull tasks share them evenly.

    At a barrier `balance.wait` has it already.
    """
    if balance.knows_hosts(facts, design) or design.sharding == "dynamic":
        return 1.0
    waits = design.model != "asynchronous" or any(kind.waits_for_all for kind in design.kinds)
    return facts.slowest(p, design.beside) / facts.slowdown(p, design.beside) if waits else 1.0


def _answer(facts: Facts, design: Design, p: NDArray[np.int64], compute: Array, step: Array) -> Array:
    """99th percentile of a step if there is a deadline, else the expected step."""
    if facts.job.deadline is None:
        return step
    return step + compute * (balance.late(facts, design, p) - balance.wait(facts, design, p))


def _waits(design: Design) -> tuple[Any, ...]:
    """The fields of a design on which its waiting depends."""
    flows = tuple((flow.pattern, flow.graph, flow.every) for flow in design.flows)
    return ("wait", design.model, design.bound, design.rounds, design.quorum, design.stragglers, design.replicas,
            design.beside, design.pulls, flows)  # fmt: skip


def _memory(facts: Facts, design: Design, p: NDArray[np.int64]) -> tuple[Array, float]:
    """Bytes of a node and of a server: state with copies and replicas, and the pattern's buffers."""
    node, server = np.zeros(p.shape), 0.0
    for flow in design.flows:
        part = facts.parts[flow.of]
        if isinstance(part, Task):
            continue
        whole, holder = part.bytes * (1 + part.copies), design.holder(part)
        if holder == "servers":
            server += whole * (1 + design.replicas) / flow.servers
            node = node + part.sparse
        elif holder == "shards":
            node = node + whole * (1 + design.replicas) / p + part.activations
        else:
            node = node + whole + part.dense * np.minimum(1, p - 1)
    return node, server


def predict(sheet: Sheet, terms: dict[str, Any] | None = None) -> Priced:
    """Price the design in a complete sheet; `terms` replace the network's."""
    return price(*facts_and_design(sheet, terms))


def best_interval(priced: Priced) -> tuple[int, int] | None:
    """95 % interval of p* from the draws of the terms; None without draws."""
    facts = priced.facts
    if not len(facts.draws):
        return None
    found = []
    for alpha, beta, gamma in facts.draws:
        factor = beta / facts.beta if facts.beta else 1.0
        varied = replace(facts.scaled(beta=factor), alpha=alpha, beta=beta, gamma=gamma)
        found.append(price(varied, priced.design).best() or 0)
    return speedup.interval(found)


def chosen_nodes(sheet: Sheet, priced: Priced) -> int:
    """The sheet's own node count, else the one to request, else 1."""
    asked = sheet.partition.nodes if sheet.partition else None
    return asked or priced.knee() or 1


def unpriced(design: Design) -> list[str]:
    """Effects that may slow the computation's convergence and have no price in the sheet."""
    if design.penalty is not None:
        return []
    stale = [f"{design.model} updates"] if design.model != "synchronous" else []
    stale += [f"{design.rounds} local steps between exchanges"] if design.rounds > 1 else []
    for flow in design.flows:
        stale += [f"gossip of {flow.of}"] if flow.kind.graph else []
        stale += [f"compression of {flow.of}"] if flow.compression < 1 else []
        stale += [f"exchange of {flow.of} every {flow.every} steps"] if flow.every > 1 else []
    return stale
