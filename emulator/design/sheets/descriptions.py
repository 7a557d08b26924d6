"""Text for designs and sizes, in tables, reasons and drawings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emulator.design.model import Design, Facts, Flow
from emulator.units import format_time


def size(count: float) -> str:
    """Format bytes with a decimal prefix and three digits."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def counted(count: int, noun: str) -> str:
    """Format a count with its noun: 1 replica, 2 replicas."""
    return f"{count} {noun}" + ("s" if count != 1 else "")


def machines(design: Design, nodes: int) -> str:
    """List the machines of a design by kind: 27 nodes + 64 servers."""
    beside = ((design.servers, "server"), (design.spares, "spare"))
    return " + ".join([counted(nodes, "node"), *(counted(count, noun) for count, noun in beside if count)])


def age(steps: float) -> str:
    """Describe how old updates may get: up to 1 step old, up to 3 steps old, of any age."""
    return "of any age" if math.isinf(steps) else f"up to {steps:g} step" + ("s" if steps != 1 else "") + " old"


def terms_words(alpha: float, beta: float, gamma: float, draws: Any) -> str:
    """Format alpha, beta and gamma, with 95 % intervals if they have draws."""
    words = []
    ends = np.quantile(draws, [0.025, 0.975], axis=0).T.tolist() if len(draws) else [(0.0, 0.0)] * 3
    for name, value, (low, high) in zip(("alpha", "beta", "gamma"), (alpha, beta, gamma), ends, strict=True):
        form = format_time if name == "alpha" else _per_byte
        if value or name != "gamma":
            words.append(f"{name} {form(value)}" + (f" ({form(low)} to {form(high)})" if low < high else ""))
    return ", ".join(words)


def _per_byte(seconds: float) -> str:
    return f"{seconds * 1e9:.4g} ns/B"


def failures_cost(facts: Facts, waste: float, digits: int = 2) -> str:
    """Describe the share of time that failures cost, or that it is unknown because the job gives no MTBF."""
    return "failures not priced" if facts.job.mtbf is None else f"failures cost {waste:.{digits}%} of the time"


def flow_words(flow: Flow) -> str:
    """Describe a flow: pattern, and options that differ from the defaults."""
    options = [flow.algorithm] if flow.algorithm != "auto" else []
    options += [counted(flow.servers, "server")] if flow.servers else []
    options += [flow.graph] if flow.kind.graph else []
    options += [f"every {flow.every} steps"] if flow.every > 1 else []
    options += [f"{flow.compression:.0%} of the bytes"] if flow.compression < 1 else []
    options += [f"quorum {flow.quorum:.0%}"] if flow.quorum < 1 else []
    options += [flow.rule] if flow.rule != "mean" else []
    return flow.pattern + (f" ({', '.join(options)})" if options else "")


def consistency_words(design: Design) -> str:
    """Describe the consistency slot."""
    bound = f", at most {counted(design.bound, 'step')} old" if design.bound else ""
    return f"{design.model}{bound}" + (f", exchange every {design.rounds} steps" if design.rounds > 1 else "")


def short(design: Design) -> str:
    """Describe a design in one line."""
    flows = " + ".join(f"{flow.of} by {flow_words(flow)}" for flow in design.flows)
    return f"{flows}; {consistency_words(design)}; {design.policy}"


def slots(facts: Facts, design: Design, nodes: int) -> dict[str, str]:
    """Describe the six slots in a line each."""
    held = [f"{state.name} in {design.holder(state)}" for state in facts.states]
    parts = f"{design.parts} parts, " if design.parts else ""
    by = "as they are given" if design.by == "given" else f"by {design.by}"
    lost = f", if lost: {design.if_lost}" if design.if_lost else ""
    more = [counted(design.replicas, "replica")] if design.replicas else []
    more += [counted(design.spares, "spare")] if design.spares else []
    more += [f"checkpoint every {format_time(design.interval)}"] if design.interval else []
    return {
        "partition": "; ".join([f"{design.split} over {machines(design, nodes)}, {parts}{by}", *held]),
        "communication": "; ".join(f"{flow.of}: {flow_words(flow)}" for flow in design.flows),
        "consistency": consistency_words(design),
        "coordination": f"{design.control} control, {design.data} data{lost}",
        "fault_tolerance": design.policy + "".join(f", {one}" for one in more),
        "load_balancing": f"{design.sharding} sharding, stragglers: {design.stragglers}",
    }
