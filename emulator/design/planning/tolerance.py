"""How far each fact may change before the answer does: p*, the pattern or the policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emulator.design.model import Design, Facts, facts_and_design
from emulator.design.planning.legal_designs import Menu, grid
from emulator.design.planning.planner import family, search
from emulator.design.prices import pricing
from emulator.design.prices.pricing import Priced
from emulator.design.sheets.sheet import Sheet

FACTORS = (0.1, 1.0, 10.0)
_LADDER = 2.0 ** np.arange(0.25, 10.25, 0.25)


@dataclass(frozen=True)
class Margin:
    """One fact, and the factors up to which the answer stays the same.

    Attributes
    ----------
    fact : ``"alpha"``, ``"beta"``, ``"spread"``, ``"skew"`` or ``"failures"``
    nodes : factor at which the node count to ask for moves by more than a tenth; None: not up to `most`
    pattern, policy : factor at which the planner takes other patterns, or another policy
    most : factors up to here were tried
    """

    fact: str
    nodes: float | None
    pattern: float | None
    policy: float | None
    most: float = 1000.0


_SENSIBLE = 3.0  # spread, and Zipf exponent, above which neither distribution describes a real job


def _varied(facts: Facts, fact: str, factor: float) -> Facts:
    if fact in ("alpha", "beta"):
        return facts.scaled(**{fact: factor})
    if fact == "spread":
        return facts.scaled(spread=facts.job.spread * factor)
    if fact == "failures":
        return facts if facts.job.mtbf is None else facts.scaled(mtbf=facts.job.mtbf / factor)
    states = tuple(one.model_copy(update={"skew": one.skew * factor}) for one in facts.states)
    return replace(facts, states=states)


def _first(changed: Callable[[float], bool], most: float) -> float | None:
    """The smallest factor (in steps of 2^(1/4), up to `most`) at which the answer has changed."""
    ladder = [factor for factor in _LADDER.tolist() if factor < 1.1 * most]
    if not ladder or not changed(ladder[-1]):
        return None
    low, high = -1, len(ladder) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if changed(ladder[middle]) else (middle, high)
    return float(ladder[high])


def _most(facts: Facts, fact: str) -> float:
    """The largest meaningful factor of a fact."""
    now = {"spread": facts.job.spread, "skew": max((state.skew for state in facts.states), default=0.0)}.get(fact)
    return min(1000.0, max(1.0, _SENSIBLE / now)) if now else 1000.0


def tolerance(sheet: Sheet, terms: dict[str, Any] | None = None) -> list[Margin]:
    """Compute the margins of the design in a complete sheet."""
    facts, design = facts_and_design(sheet, terms)
    at = grid(facts.job.most)
    knee = pricing.price(facts, design, at).knee() or 1
    facts_in_use = ["alpha", "beta"]
    facts_in_use += ["spread"] if facts.job.spread else []
    facts_in_use += ["skew"] if any(state.skew for state in facts.states) else []
    facts_in_use += ["failures"] if facts.job.mtbf else []
    planned = _best(facts)
    found = []
    for fact in facts_in_use:

        def moved(factor: float, fact: str = fact) -> bool:
            new = pricing.price(_varied(facts, fact, factor), design, at).knee()
            return new is None or abs(new - knee) > 0.1 * knee

        def other(factor: float, what: Callable[[Design], Any], fact: str = fact) -> bool:
            new = _best(_varied(facts, fact, factor))
            return planned is not None and (new is None or what(new) != what(planned))

        most = _most(facts, fact)
        patterns, policy = (_first(lambda f, o=other, w=what: o(f, w), most)  # type: ignore[misc]
                            for what in (family, lambda one: one.policy))  # fmt: skip
        found.append(Margin(fact, _first(moved, most), patterns, policy, most))
    return found


def _best(facts: Facts) -> Design | None:
    found, _ = search(facts, "time", Menu(bounds=(1, 4, 16), rounds=(1, 8, 64), servers=(1, 4, 16, 64)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def sensitivity(sheet: Sheet, terms: dict[str, Any] | None = None) -> list[tuple[float, float, Priced]]:
    """Price the design with alpha and beta multiplied by 0.1, 1 and 10 each: (alpha factor, beta factor, price)."""
    facts, design = facts_and_design(sheet, terms)
    return [(a, b, pricing.price(facts.scaled(a, b), design)) for a in FACTORS for b in FACTORS]
