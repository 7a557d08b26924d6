"""The design sheet: seconds of a prediction from the command line, and of a plan; processor time, imports included.

A plan is also made for a large menu of four state parts: a million combinations.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from bench._common import Row, cpu_s, row
from demos.design import CASES
from emulator.design import parse, plan
from emulator.design.model import facts_of
from emulator.design.planning.legal_designs import Menu, policies
from emulator.design.sheets.writer import facts_text

SHEETS = Path(__file__).parents[1] / "demos" / "cases"
PREDICT_S, PLAN_S, MILLION_S = 0.5, 2.0, 20.0
_TIMES, _WITHIN_S = 5, 120.0
_BOUNDS = tuple(range(1, 54))  # finer than the planner's own, for a large menu


def rows(budget: float) -> list[Row]:
    """Median processor seconds of the commands on the shipped sheets, and of one plan of a large menu."""
    found = [row("design predict example_b", command("predict", "example_b"), "s", most=PREDICT_S)]
    found += [row(f"design plan {case}", command("plan", case), "s", most=PLAN_S) for case in CASES]
    text = large()
    facts, menu = facts_of(parse(text)), Menu(bounds=_BOUNDS)
    count = sum(len(list(policies(facts, base))) for base in menu.designs(facts)) + sum(menu.cut.values())
    begin = time.process_time()
    plan(parse(text), menu=Menu(bounds=_BOUNDS))
    return [*found, row(f"plan of a menu of {count} combinations", time.process_time() - begin, "s", most=MILLION_S)]


def command(verb: str, case: str) -> float:
    """Median processor seconds of one command."""
    words = [sys.executable, "-m", "demos.design", verb, str(SHEETS / f"{case}.toml")]
    return statistics.median(cpu_s(words, _WITHIN_S) for _ in range(_TIMES))


def large() -> str:
    """The recommendation case with a table that fits everywhere, more state parts, and no limit of staleness."""
    text = facts_text((SHEETS / "recommendation.toml").read_text(encoding="utf-8"))
    changes = (
        ("staleness = 8", 'staleness = "any"'), ("touched = 4000\n", ""), ("most = 192", "most = 512"),
        ("= 4000000000\nrow", "= 4000000\nrow"), ('"512 GB"', '"5 GB"'),
    )  # fmt: skip
    for old, new in changes:
        text = text.replace(old, new)
    return text + "".join(f'\n[[state]]\nname = "more{i}"\nbytes = "{40 * i} MB"\n' for i in (1, 2))
