"""Write a plan's winner as a sheet: the given facts, and six slots with the search's reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emulator.design.model import Design, Flow
from emulator.design.planning.legal_designs import policies
from emulator.design.planning.planner import EQUAL, Ranked, Ranking
from emulator.design.prices import balance, communication, failures, pricing
from emulator.design.sheets.descriptions import age, failures_cost, short, size
from emulator.design.sheets.sheet import SLOTS
from emulator.units import format_time


def facts_text(text: str) -> str:
    """The text of a sheet without its six slots; comments of the facts stay."""
    kept, keeping = [], True
    for line in text.splitlines():
        header = re.match(r"\s*\[\[?\s*([\w-]+)", line)
        if header:
            keeping = header[1] not in SLOTS
        if keeping:
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


def sheet_text(found: Ranking, text: str) -> str:
    """The text of a sheet with a plan's winner.

    Parameters
    ----------
    text : the sheet that was planned: its facts are kept
    """
    winner = found.winner
    whys = reasons(found)
    flow_reasons_of = (flow_reasons(found, flow) for flow in winner.design.flows)
    parts = [facts_text(text)]
    for slot, values in _slots(winner.design, winner.nodes):
        header = f"[[{slot}]]" if slot == "communication" else f"[{slot}]"
        why, rejected = whys[slot] if slot in whys else next(flow_reasons_of)
        rows = {**values, "why": why, "rejected": rejected}
        parts.append("\n".join([header, *(f"{key} = {_toml(value)}" for key, value in rows.items())]) + "\n")
    return "\n".join(parts)


def _slots(design: Design, nodes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    replicated = [flow.of for flow in design.flows if flow.of in design.replicated]
    yield "partition", {"split": design.split, "by": design.by, "replicated": replicated, "nodes": nodes}
    for flow in design.flows:
        values: dict[str, Any] = {"pattern": flow.pattern, "of": flow.of}
        values |= {"servers": flow.servers} if flow.servers else {}
        values |= {"graph": flow.graph} if flow.kind.graph else {}
        values |= {"quorum": f"{flow.quorum * 100:g} %"} if flow.quorum < 1 else {}
        values |= {"rule": flow.rule} if flow.rule != "mean" else {}
        yield "communication", values
    yield "consistency", {"model": design.model, "bound": design.bound, "rounds": design.rounds}
    yield "coordination", {"control": design.control, "data": design.data, "if_lost": design.if_lost}
    values = {"policy": design.policy, "replicas": design.replicas, "spares": design.spares}
    yield "fault_tolerance", values
    yield "load_balancing", {"sharding": design.sharding, "stragglers": design.stragglers}


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', "'") + '"'
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else str(value)


def reasons(found: Ranking) -> dict[str, tuple[str, str]]:
    """`why` and `rejected` of every slot except communication, each with the figure that decided."""
    winner, facts = found.winner, found.facts
    design, row = winner.design, winner.priced.at(winner.nodes)
    needed = max(row["memory"], winner.priced.server_memory)
    waits = f"{format_time(row['waiting'])} of a step of {format_time(row['step'])}"
    default = found.default.reason.replace("the winner's", "the job's time")
    recovery = format_time(failures.recovery_cost(facts, design))
    return {
        "partition": (
            f"a {'server' if needed > row['memory'] else 'node'} holds {size(needed)} of {size(facts.job.memory)}; "
            f"S({winner.nodes}) = {row['speedup']:.2f}",
            f"the default, a replica of everything on every node and all-reduce: {default}",
        ),
        "consistency": (f"{_age(winner)}; waiting for slow nodes takes {waits}", _other(found, _consistencies(found))),
        "coordination": _coordination(design, facts.job.central, facts.job.sources),
        "fault_tolerance": (
            f"{failures_cost(facts, row['waste'])}; a recovery takes {recovery}",
            _other(found, list(policies(facts, replace(design, replicas=0, spares=0)))),
        ),
        "load_balancing": (
            f"with a spread of {facts.job.spread:g}, waiting for slow nodes takes {waits}",
            _other(found, _balances(found)),
        ),
    }  # fmt: skip


def flow_reasons(found: Ranking, flow: Flow) -> tuple[str, str]:
    """Why a part is exchanged this way, and the best design that exchanges it otherwise."""
    winner, facts = found.winner, found.facts
    others = [one for one in found.ranked if not any(_alike(flow, each) for each in one.design.flows)]
    cuts = [reason for reason, _ in found.cut.most_common() if reason.startswith(f"{flow.of}: ")]
    if others:
        rejected = f"{short(others[0].design)}: {others[0].reason}"
    else:
        rejected = cuts[0].removeprefix(f"{flow.of}: ") if cuts else "the facts leave no other pattern"
    if communication.silent(facts, flow):
        return "has no messages of its own: the answers of the tasks that ask for it carry what is found", rejected
    alone = communication.per_step(facts, winner.design, flow, np.array([winner.nodes]))[:, 0]
    step, took = format_time(winner.priced.at(winner.nodes)["step"]), float(alone[:4].sum())
    takes = f"{format_time(took)} of a step of {step}" if took else "while the next steps are computed"
    return f"{size(alone[4])} per node and step, {takes}", rejected


def _alike(one: Flow, other: Flow) -> bool:
    return (one.of, one.pattern, one.graph) == (other.of, other.pattern, other.graph)


def _age(winner: Ranked) -> str:
    """A sentence on how old updates get, and what the job tolerates."""
    used = float(balance.staleness(winner.design, np.array([winner.nodes]))[0])
    allowed = winner.priced.facts.job.staleness
    tolerated = "the job tolerates any age" if np.isinf(allowed) else f"the job tolerates {allowed:g}"
    if winner.design.asks:
        return f"an answer may miss the newest data: {tolerated}"
    if not used:
        return f"every step waits for the updates of all nodes, {tolerated}"
    return f"updates are {age(used)}, {tolerated}"


def _other(found: Ranking, designs: Sequence[Design]) -> str:
    """The best of the other choices for one slot: its cost, or the rule that forbids it."""
    told = [_verdict(found, one) for one in designs if one != found.winner.design]
    return min(told)[1] if told else "the facts leave no other choice"


def _verdict(found: Ranking, one: Design) -> tuple[float, str]:
    """The time of another design over the winner's, and a sentence on it; infinite if it is not allowed."""
    winner, job = found.winner, found.facts.job
    p, name = np.array([winner.nodes]), _differs(winner.design, one)
    old = float(balance.staleness(one, p)[0])
    if old > job.staleness:
        return np.inf, f"{name}: updates would be {age(old)}, the job tolerates {job.staleness:g}"
    times = float(pricing.price(found.facts, one, p).job[0]) / winner.priced.at(winner.nodes)["job"]
    if not np.isfinite(times):
        return np.inf, f"{name}: not feasible at p = {winner.nodes}"
    if times > 1.1:
        return times, f"{name}: {times:.2f} times the job's time at p = {winner.nodes}"
    if 0.9995 < times < 1.0005:
        return times, f"{name}: the same time to 0.1% at p = {winner.nodes}"
    if times >= 1:
        return times, f"{name}: {times - 1:.1%} more time at p = {winner.nodes}"
    return times, f"{name}: {1 - times:.1%} less time at p = {winner.nodes}; below {EQUAL:.0%} the simpler one is taken"


def _differs(one: Design, other: Design) -> str:
    names = ("model", "bound", "rounds", "policy", "stragglers", "sharding")
    changed = [f"{name} {getattr(other, name)}" for name in names if getattr(one, name) != getattr(other, name)]
    return ", ".join(changed) or "other options"


def _consistencies(found: Ranking) -> list[Design]:
    """Other consistencies of the same flows: synchronous, and the next one with older updates where age matters."""
    design = found.winner.design
    if design.asks:
        return []  # an answer waits for its parts, whatever the model
    bounded = replace(design, model="bounded", bound=max(1, 2 * design.bound))
    rare = replace(design, rounds=2 * design.rounds, model="bounded" if design.model == "bounded" else design.model)
    tied = any(kind.sums or kind.rounds for kind in design.kinds)  # every exchange waits for all nodes
    return [replace(design, model="synchronous", bound=0, rounds=1), rare if tied else bounded]


def _balances(found: Ranking) -> list[Design]:
    design = found.winner.design
    flows = tuple(replace(flow, quorum=1.0) for flow in design.flows)
    names = ["none", *(["backup"] if any("backup" in kind.hurries for kind in design.kinds) else [])]
    return [replace(design, flows=flows, stragglers=one) for one in names]


def _coordination(design: Design, central: str, sources: str) -> tuple[str, str]:
    if central == "none":
        return "no node can reach all others", "central control: it cannot hear all nodes"
    if sources == "isolated":
        return ("data may not leave their owner; owners exchange models only",
                "central control and data: the owners do not hand them over")  # fmt: skip
    passes = "and merges the answers" if design.data == "central" else "and the data do not pass it"
    return (f"one place sees failures and stragglers, {passes}",
            "decentralized control: nodes would have to agree on failures by rounds of messages")  # fmt: skip
