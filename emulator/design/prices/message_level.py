"""Price a step's communication by following every message, where paths differ and formulas are first-order estimates.

On a network of equal paths that nodes do not share the formulas of `emulator.design.prices.communication` are exact.
Elsewhere (racks, regions, shared cards, unequal hosts) they take the slowest path and the fullest card for every
message; `followed` asks the price of the design's skeleton instead, over the ways that its messages take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emulator.design.model import Design, Facts
from emulator.design.prices import communication, pricing
from emulator.design.prices import skeleton as skeletons
from emulator.design.prices.pricing import Priced
from emulator.design.sheets.sheet import Sheet
from emulator.design.sheets.tables import State, Task
from emulator.errors import UsageError

MOST = 32
"""Ranks up to which a step is followed: half a second for two exchanges among 32."""

_WHOLE = 1 << 40  # bytes: no exchange is cut


def followed(
    sheet: Sheet, facts: Facts, design: Design, nodes: int, only: str | None = None
) -> Mapping[str, tuple[float, float]] | None:  # fmt: skip
    """Seconds of latency and of bandwidth of one operation of each flow, or of `only` one, by its part's name.

    None where the formulas stay: they are exact, or the design is too large to follow, or it has something that its
    skeleton does not do. Nodes that do not wait, backup requests and pulled tasks meet by chance, so that a price takes
    hundreds of exchanges: the formulas stay there as well.
    """
    if facts.uniform or nodes < 2 or nodes + design.beside > min(MOST, facts.places):
        return None
    if (design.hurried and design.quorum == 1) or (design.replicas and design.servers):
        return None
    if any(_chancy(part) for part in facts.parts.values()):
        return None
    try:
        made = skeletons.skeleton(sheet, facts, design, MOST, _WHOLE, nodes)
    except UsageError:  # a choice that no skeleton follows
        return None
    if not all(one.waits for one in made.exchanges):
        return None
    found = {}
    for one in made.exchanges:
        if only not in (None, one.flow.of):
            continue
        terms = made.by_term(lambda each, _: skeletons.expected(each, 0.0, 0, made.ways), one, spread=0.0)
        found[one.flow.of] = (terms["latency"] * one.between, terms["bandwidth"] * one.between)
    return found


def _chancy(part: State | Task) -> bool:
    """Whether nodes pull a part's tasks, which meet by chance, or its keys are skewed, which no skeleton does."""
    return part.count > 1 if isinstance(part, Task) else bool(part.skew)


def exact(sheet: Sheet, priced: Priced, nodes: int) -> Priced:
    """The prices with the figures at `nodes` computed from followed messages, where possible."""
    facts, design = priced.facts, priced.design
    seconds = followed(sheet, facts, design, nodes)
    if seconds is None:
        return priced
    at = np.array([nodes])
    terms = np.zeros((5, 1))
    for flow in design.flows:
        row = communication.per_step(facts, design, flow, at)
        if flow.of in seconds:
            share = (1 - flow.overlap) / (flow.every * design.rounds)
            row[:2] = np.array(seconds[flow.of])[:, None] * share
            row[3] = 0.0  # messages that queue are part of the bandwidth
        terms += row
    return priced.with_row(pricing.price(facts, design, at, terms=terms).at(nodes))


def predict(sheet: Sheet, terms: dict[str, Any] | None = None) -> Priced:
    """Price the design in a complete sheet, exactly at its own node count; `terms` replace the network's."""
    priced = pricing.predict(sheet, terms)
    return exact(sheet, priced, min(pricing.chosen_nodes(sheet, priced), priced.facts.job.most))
