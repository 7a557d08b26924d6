"""The planner: prices every legal design of the menu, and gives the best and the reason why each other one loses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emulator import speedup
from emulator.design.model import Design, Facts, Flow, facts_of
from emulator.design.planning.legal_designs import Menu, grid, illegal, policies
from emulator.design.prices import balance, crossovers, message_level, pricing
from emulator.design.prices.pricing import Priced
from emulator.design.sheets.descriptions import machines, short, size
from emulator.design.sheets.sheet import Sheet
from emulator.design.sheets.tables import State
from emulator.errors import UsageError
from emulator.units import format_time

OBJECTIVES = ("time", "cost", "knee")
EQUAL = speedup.KNEE
"""Designs within this share of the best are equal: the simplest of them wins (`simplicity`)."""

_MODELS = ("synchronous", "asynchronous", "bounded")
"""The simplest first: a job that may be asynchronous tolerates any age, and a bound is more to count and wait for."""
_STRAGGLERS = ("none", "backup", "quorum", "drop", "stealing")


@dataclass(frozen=True, eq=False)
class Ranked:
    """A design in the plan's ranking.

    Attributes
    ----------
    priced, nodes : its price, and the node count to ask for
    score : what the objective compares: seconds, or node-seconds
    reason : why it wins or loses
    """

    priced: Priced
    nodes: int
    score: float
    reason: str

    @property
    def design(self) -> Design:
        """The six decisions of this entry."""
        return self.priced.design


@dataclass(frozen=True, eq=False)
class Ranking:
    """What the search has found.

    Attributes
    ----------
    ranked : the best design of each family (the patterns and who holds what), the winner first
    default : synchronous all-reduce, even shards, restart: what is built without thinking; nodes is 0 where it is
        infeasible
    cut : numbers of choices that a rule forbids, by reason
    searched : designs that were compared
    crossovers : sentences with the figure at which a choice turns
    """

    facts: Facts
    objective: str
    ranked: list[Ranked]
    default: Ranked
    cut: Counter[str]
    searched: int
    crossovers: list[str]

    @property
    def winner(self) -> Ranked:
        """The best design."""
        return self.ranked[0]


def plan(
    sheet: Sheet, objective: str = "time", terms: dict[str, Any] | None = None, menu: Menu | None = None
) -> Ranking:
    """Search the menu for the best design for a sheet's facts; its slots are ignored.

    Parameters
    ----------
    objective : ``"time"``: the shortest job with failures, on the fewest nodes within 5 % of it; ``"cost"``: the fewest
        node-seconds; ``"knee"``: the fewest node-seconds at the node count that ``"time"`` takes
    terms : alpha, beta, gamma and draws in the place of the network's
    menu : the values of the slots that may be combined; all if absent
    """
    if objective not in OBJECTIVES:
        raise UsageError(f"an objective is one of {', '.join(OBJECTIVES)}, got {objective!r}")
    facts, menu = facts_of(sheet, terms), menu or Menu()
    found, searched = search(facts, objective, menu)
    if not found:
        why = "; ".join(f"{reason} ({count})" for reason, count in menu.cut.most_common(3))
        raise UsageError(f"no design is feasible for {facts.job.name!r}: {why or 'none fits memory and deadline'}")
    best = min(score for score, _ in found)
    close = [design for score, design in found if score <= (1 + EQUAL) * best]
    first = min(close, key=simplicity)
    families: dict[Any, tuple[float, Design]] = {}
    for score, design in found:
        if family(design) not in families or score < families[family(design)][0]:
            families[family(design)] = (score, design)
    families.pop(family(first))
    priced = [_ranked(sheet, facts, design, objective) for design in (first, *(one for _, one in families.values()))]
    winner = _first(priced)
    losers = sorted((one for one in priced if one is not winner), key=lambda one: one.score)
    ranked = [replace(winner, reason=_why_first(winner, losers)), *(_lose(one, winner) for one in losers)]
    ranked = [replace(one, reason=one.reason + "; to first order") if one.priced.first_order(one.nodes) else one
              for one in ranked]  # fmt: skip
    return Ranking(facts, objective, ranked, default(sheet, facts, winner, objective), menu.cut, searched,
                crossovers.sentences(facts, winner.priced, winner.nodes))  # fmt: skip


def search(facts: Facts, objective: str, menu: Menu) -> tuple[list[tuple[float, Design]], int]:
    """Scores of the legal designs, each under its best policy; lower bounds spare the pricing of most of them.

    Designs are priced in the order of a quick lower bound. A failure only lengthens a job: where steps alone take
    longer than another whole job of the same family, the design's policies are not priced.
    """
    p = grid(facts.job.most)
    memo: dict[Any, Any] = {}
    found: list[tuple[float, Design]] = []
    best: dict[Any, float] = {}
    searched = 0
    bases = [(pricing.least(facts, base, p, memo, nodes=objective != "time"), base) for base in menu.designs(facts)]
    for quick, base in sorted(bases, key=lambda pair: pair[0]):
        searched += 1
        kind = family(base)
        if quick > best.get(kind, np.inf) * (1 + EQUAL):
            continue
        options = list(policies(facts, base))
        if not options:
            menu.cut["no recovery policy is possible"] += 1
            continue
        bound = pricing.price(replace_mtbf(facts), base, p, memo, fresh=True)
        least = _score(bound, objective)
        if not np.isfinite(least):
            menu.cut[_infeasible(bound)] += 1
            continue
        if least > best.get(kind, np.inf) * (1 + EQUAL):
            continue
        priced = [(_score(pricing.price(facts, one, p, memo, fresh=True), objective), one) for one in options]
        searched += len(options) - 1
        score, design = min(priced, key=lambda pair: (pair[0], pair[1].spares, pair[1].policy))
        if np.isfinite(score):
            found.append((score, design))
            best[kind] = min(score, best.get(kind, np.inf))
        else:
            menu.cut["failures leave no progress, or the answer is late"] += 1
    return found, searched


def replace_mtbf(facts: Facts) -> Facts:
    """The facts with an infinite MTBF."""
    return facts if facts.job.mtbf is None else facts.scaled(mtbf=None)


def family(design: Design) -> tuple[Any, ...]:
    """The key that designs of one row of the plan share: pattern and holder of each part."""
    held = tuple(flow.of in design.replicated for flow in design.flows)
    return (*((flow.of, flow.pattern, flow.graph) for flow in design.flows), held)


def simplicity(design: Design) -> tuple[Any, ...]:
    """Sort key of equally good designs: fewest servers, spares and replicas, exact averages, simple consistency.

    Machines of another kind count before the number of computing nodes: each kind has to be placed, watched and
    recovered by rules of its own, while the nodes that compute are all alike.
    """
    return (design.servers + design.spares + design.replicas, any(kind.graph for kind in design.kinds),
            _MODELS.index(design.model), design.steps_between(), _STRAGGLERS.index(design.stragglers), -design.quorum,
            design.sharding == "dynamic")  # fmt: skip


def _score(priced: Priced, objective: str) -> float:
    if objective == "time":
        return float(priced.job.min())
    if objective == "cost":
        return float(priced.node_seconds.min())
    knee = priced.knee()
    return float("inf") if knee is None else priced.at(knee)["node_seconds"]


def _first(priced: Sequence[Ranked]) -> Ranked:
    """The winner: the first in the search's order; where messages were followed, the simplest of the fastest."""
    if priced[0].priced.facts.uniform:
        return priced[0]
    best = min(one.score for one in priced)
    return min((one for one in priced if one.score <= (1 + EQUAL) * best), key=lambda one: simplicity(one.design))


def _ranked(sheet: Sheet, facts: Facts, design: Design, objective: str) -> Ranked:
    """A ranked design at the nodes to request; where paths differ, it is scored by following its messages."""
    priced = pricing.price(facts, design, fresh=True)
    nodes = priced.knee() or 0
    if objective == "cost" and nodes:
        nodes = int(priced.p[np.argmin(priced.node_seconds)])
    if facts.uniform or not nodes:
        return Ranked(priced, nodes, _score(priced, objective), "")
    priced = message_level.exact(sheet, priced, nodes)
    return Ranked(priced, nodes, priced.at(nodes)["job" if objective == "time" else "node_seconds"], "")


def _infeasible(priced: Priced) -> str:
    job = priced.facts.job
    if priced.server_memory > job.memory or (priced.memory > job.memory).all():
        return "state and buffers together do not fit in a node's memory"
    if not balance.honest(priced.facts, priced.design.flows, priced.p).any():
        return f"too few neighbours to outvote {job.liars} liars"
    if (balance.staleness(priced.design, priced.p) > job.staleness).all():
        return "updates are older than the computation tolerates"
    if (priced.p + priced.extra_nodes > job.most).all():
        return f"{priced.extra_nodes} servers and spares leave none of {job.most} nodes to compute"
    if job.deadline is None:
        return "no node count has room for both the state and its servers"
    return "the 99th percentile of an answer misses the deadline, or it does not fit in the nodes"


def _dearest(priced: Priced, nodes: int) -> str:
    row = priced.at(nodes)
    names = ("compute", "waiting", "latency", "bandwidth", "reduction", "queueing")
    name = max(names, key=lambda one: row[one])
    return f"{name} {format_time(row[name])} of a step of {format_time(row['step'])} at p = {nodes}"


def _why_first(winner: Ranked, losers: Sequence[Ranked]) -> str:
    if not losers:
        return "the only family of designs that is feasible"
    second = losers[0]
    ahead = second.score / winner.score
    return f"the next, {short(second.design)}, takes {ahead:.2f} times as much" if ahead > 1 + EQUAL else (
        f"as quick as {short(second.design)} to {EQUAL:.0%}{_where(winner, second)}, and simpler"
        + _against(winner, second))  # fmt: skip


def _where(*both: Ranked) -> str:
    """Sentence on the node counts at which two designs are equal, if these are not those that they request."""
    first, second = (one.priced.at(one.nodes)["job"] for one in both)
    return "" if max(first, second) <= (1 + EQUAL) * min(first, second) else " at the best p of each"


def _against(one: Ranked, other: Ranked) -> str:
    """Sentence on the machines of both designs, where they differ."""
    own, others = machines(one.design, one.nodes), machines(other.design, other.nodes)
    return f": {own} against {others}" if own != others else ""


def _lose(one: Ranked, winner: Ranked) -> Ranked:
    times = one.score / winner.score
    if times <= 1 + EQUAL:
        return replace(one, reason=f"equal to {EQUAL:.0%}{_where(winner, one)}, and no simpler{_against(one, winner)}")
    waste = one.priced.at(one.nodes)["waste"]
    lost = f"; failures cost {waste:.1%}" if waste > 0.02 else ""
    return replace(one, reason=f"{times:.2f} times as much: {_dearest(one.priced, one.nodes)}{lost}")


def default(sheet: Sheet, facts: Facts, winner: Ranked, objective: str) -> Ranked:
    """The default design: synchronous all-reduce of everything, even shards, restart."""
    flows = tuple(Flow(name, "all-reduce" if isinstance(one, State) else "scatter-gather")
                  for name, one in facts.parts.items())  # fmt: skip
    design = Design("data", flows, tuple(state.name for state in facts.states))
    found = _ranked(sheet, facts, design, objective)
    broken = {f"{flow.of}: {reason}" for flow, part in zip(flows, facts.parts.values(), strict=True)
              if (reason := illegal(facts, part, flow, "every node"))}  # fmt: skip
    if found.nodes:
        times = f"{found.score / winner.score:.2f} times the winner's"
        rule = "; ".join(sorted(broken))
        return replace(found, reason=f"must not be built ({rule}); it would take {times}" if broken else times)
    priced, job = found.priced, facts.job
    short_of = priced.memory.min() - job.memory
    why = f"does not fit: a node lacks {size(short_of)}" if short_of > 0 else _infeasible(priced)
    return replace(found, reason=why)
