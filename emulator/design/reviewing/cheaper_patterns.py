"""Rules 2 and 3 of the reviewer: patterns that exchange a state part in less time or with fewer bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from emulator import costs
from emulator.design.model import Design, Flow
from emulator.design.prices import communication, message_level, pricing
from emulator.design.prices.pricing import Priced
from emulator.design.reviewing.findings import Case, Finding
from emulator.design.sheets.descriptions import size
from emulator.design.sheets.tables import KEY_BYTES, State
from emulator.units import format_time

TRAFFIC = 10


def _alternatives(case: Case, flow: Flow) -> Iterator[Flow]:
    """Other ways to exchange the same part that its partition allows."""
    part = case.facts.parts[flow.of]
    if not isinstance(part, State) or not (flow.kind.sums or flow.kind.servers):
        return
    if case.design.holder(part) != "shards":
        yield replace(flow, pattern="all-reduce", algorithm="auto", servers=0)
        servers = max(flow.servers, case.design.servers, 1)
        yield replace(flow, pattern="parameter-server", algorithm="auto", servers=servers)


def _with(case: Case, flow: Flow, other: Flow) -> Priced:
    """The price of the design with one flow replaced."""
    flows = tuple(other if one is flow else one for one in case.design.flows)
    return pricing.price(case.facts, replace(case.design, flows=flows))


def cheapest(case: Case) -> Iterator[Finding]:
    for flow in case.design.flows:
        for other in _alternatives(case, flow):
            if other.pattern == flow.pattern and (not flow.kind.sums or flow.algorithm == "auto"):
                continue
            changed = _with(case, flow, other)
            own, seconds, exact = _both(case, flow, changed.design, other)
            if seconds * 1.05 < own and changed.feasible[case.nodes - 1]:
                name = other.pattern
                if other.kind.sums:
                    n = communication.volume(changed.design, other, case.facts.parts[flow.of])
                    name += f" by {communication.algorithm_of(case.facts, other, n, case.nodes)}"
                yield Finding(
                    2, "communication", f"{flow.of}: {flow.pattern} takes {format_time(own)} at p = {case.nodes}, "
                    f"{name} {format_time(seconds)}: {own / seconds:.1f} times less{case.how(exact)}",
                    f"take {name} for {flow.of}", error=exact)  # fmt: skip


def _both(case: Case, flow: Flow, changed: Design, other: Flow) -> tuple[float, float, bool]:
    """Seconds of a flow and of an alternative, and whether both are exact."""
    pairs, found, exact = ((case.design, flow), (changed, other)), [], []
    for design, one in pairs:
        terms = message_level.followed(case.sheet, case.facts, design, case.nodes, one.of)
        exact.append(case.facts.uniform or terms is not None)
        price = communication.flow_price(case.facts, design, one, np.array([case.nodes]))
        formula, reduction = (float(np.broadcast_to(part, (1,))[0]) for part in (price.seconds, price.reduction))
        found.append((formula, sum(terms[one.of]) + reduction if terms else formula))
    own, seconds = (each[all(exact)] for each in found)
    return own, seconds, all(exact)


def _quicker(case: Case, flow: Flow) -> bool:
    """Whether another pattern is faster than the flow's; on a uniform network True, as fewer bytes decide there."""
    if case.facts.uniform:
        return True
    for other in _alternatives(case, flow):
        if other.pattern != flow.pattern:
            own, seconds, exact = _both(case, flow, _with(case, flow, other).design, other)
            return exact and seconds < own
    return False


def touched_rows(case: Case) -> Iterator[Finding]:
    for flow in case.design.flows:
        state = case.facts.parts[flow.of]
        if not isinstance(state, State) or not state.touched or case.design.holder(state) == "shards":
            continue
        dense = costs.price("ring", 0, 0, 0, max(2, case.nodes), state.dense).sent
        share, crossover = state.touched / state.rows, dense / ((state.row_bytes + KEY_BYTES) * state.rows)
        turn = f"below a share of {crossover:.2g}" if crossover < 1 else "at every share"
        said = (f"{flow.of}: a step touches {share:.2g} of the {state.rows} rows, and {turn} a parameter server sends "
                "less than all-reduce")  # fmt: skip
        if flow.kind.sums and dense > TRAFFIC * state.sparse:
            yield Finding(3, "communication", f"{said}. all-reduce sends {size(dense)} per node and step, a parameter "
                          f"server {size(state.sparse)}: {dense / state.sparse:.0f} times less",
                          "shard it over servers and pull the touched rows only",
                          error=_quicker(case, flow))  # fmt: skip
        if flow.kind.servers and state.sparse > TRAFFIC * dense:
            yield Finding(3, "communication", f"{said}. The parameter server sends {size(state.sparse)} per node and "
                          f"step, all-reduce {size(dense)}", "replicate it and all-reduce",
                          error=_quicker(case, flow))  # fmt: skip
