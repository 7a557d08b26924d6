"""A plan's winner as a sheet: the facts as they were written, and six slots with the search's reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from emulator.design import failures, pricing
from emulator.design.menu import policies
from emulator.design.model import Design
from emulator.design.planner import Plan
from emulator.design.sheet import SLOTS
from emulator.design.words import short, size
from emulator.units import format_time


def facts_text(text: str) -> str:
    """A sheet's text without its six slots; comments of the facts stay."""
    kept, keeping = [], True
    for line in text.splitlines():
        header = re.match(r"\s*\[\[?\s*([\w-]+)", line)
        if header:
            keeping = header[1] not in SLOTS
        if keeping:
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


def sheet_text(found: Plan, text: str) -> str:
    """The sheet of a plan's winner.

    Parameters
    ----------
    text
        The sheet that was planned: its facts are kept.
    """
    winner = found.winner
    whys = reasons(found)
    parts = [facts_text(text)]
    for slot, values in _slots(winner.design, winner.nodes):
        header = f"[[{slot}]]" if slot == "communication" else f"[{slot}]"
        why, rejected = whys[slot]
        rows = {**values, "why": why, "rejected": rejected}
        parts.append("\n".join([header, *(f"{key} = {_toml(value)}" for key, value in rows.items())]) + "\n")
    return "\n".join(parts)


def _slots(design: Design, nodes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    replicated = [flow.of for flow in design.flows if flow.of in design.replicated]
    yield "partition", {"split": design.split, "by": design.by, "replicated": replicated, "nodes": nodes}
    for flow in design.flows:
        values: dict[str, Any] = {"pattern": flow.pattern, "of": flow.of}
        values |= {"servers": flow.servers} if flow.servers else {}
        values |= {"graph": flow.graph} if flow.pattern == "gossip" else {}
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


def reasons(found: Plan) -> dict[str, tuple[str, str]]:
    """Why and rejected of every slot, each with the figure that decided."""
    winner, facts = found.winner, found.facts
    design, row = winner.design, winner.priced.at(winner.nodes)
    needed = max(row["memory"], winner.priced.server_memory)
    runner_up = found.ranked[1] if len(found.ranked) > 1 else None
    cut = next(iter(found.cut.most_common(1)), ("nothing", 0))[0]
    rejected = f"{short(runner_up.design)}: {runner_up.reason}" if runner_up else f"by rule: {cut}"
    waits = winner.priced.at(winner.nodes)["waiting"]
    return {
        "partition": (
            f"a node holds {size(needed)} of {size(facts.job.memory)}; S({winner.nodes}) = {row['speedup']:.2f}",
            f"the default, a replica of everything on every node and all-reduce: {found.default.reason}",
        ),
        "communication": (
            f"{size(row['sent'])} per node and step, {format_time(row['communication'])} of a step of "
            f"{format_time(row['step'])}", rejected,
        ),
        "consistency": (
            f"a step waits {format_time(waits)} for slow nodes; updates may be {facts.job.staleness:g} steps old",
            _other(found, _consistencies(design)),
        ),
        "coordination": _coordination(design, facts.job.central, facts.job.sources),
        "fault_tolerance": (
            f"failures cost {row['waste']:.2%}; a recovery takes {format_time(failures.recovery_cost(facts, design))}",
            _other(found, list(policies(facts, replace(design, replicas=0, spares=0)))),
        ),
        "load_balancing": (
            f"with a spread of {facts.job.spread:g} a step waits {format_time(waits)} of {format_time(row['step'])}",
            _other(found, _balances(design)),
        ),
    }  # fmt: skip


def _other(found: Plan, designs: list[Design]) -> str:
    """The best of other choices for one slot, and how many times the winner's job it takes."""
    winner, p = found.winner, np.array([found.winner.nodes])
    ours = winner.priced.at(winner.nodes)["job"]
    tried = []
    for one in designs:
        if one != winner.design:
            priced = pricing.price(found.facts, one, p)
            tried.append((float(priced.job[0]), _differs(winner.design, one)))
    if not tried:
        return "the facts leave no other choice"
    seconds, name = min(tried)
    if not np.isfinite(seconds):
        return f"{name}: not feasible at p = {winner.nodes}"
    return f"{name}: {seconds / ours:.3f} times the job's time at p = {winner.nodes}"


def _differs(one: Design, other: Design) -> str:
    names = ("model", "bound", "rounds", "policy", "stragglers", "sharding")
    changed = [f"{name} {getattr(other, name)}" for name in names if getattr(one, name) != getattr(other, name)]
    return ", ".join(changed) or "other options"


def _consistencies(design: Design) -> list[Design]:
    plain = replace(design, model="synchronous", bound=0, rounds=1)
    return [plain, replace(design, model="bounded", bound=max(1, 2 * design.bound))]


def _balances(design: Design) -> list[Design]:
    flows = tuple(replace(flow, quorum=1.0) for flow in design.flows)
    shared = any(flow.pattern == "scatter-gather" for flow in flows)
    return [replace(design, flows=flows, stragglers=one) for one in (("none", "backup") if shared else ("none",))]


def _coordination(design: Design, central: str, sources: str) -> tuple[str, str]:
    if central == "none":
        return "nobody can reach everybody", "central control: it cannot hear all nodes"
    if sources == "isolated":
        return "data may not leave its owner", "central control and data: the owners do not hand them over"
    return (
        "one place sees failures and stragglers; the data do not pass it",
        "decentralized control: agreement costs rounds",
    )
