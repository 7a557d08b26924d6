"""One job under all patterns: times with formulas, and the fastest pattern for each size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from emulator.report import formats
from emulator.report.model import Column, Detail, Item, Row, Series, Table, grouped, spread
from emulator.report.views import charts, common
from emulator.units import format_size, format_time


def finding(result: common.Result) -> str | None:
    """A sentence on the fastest patterns by range of sizes, on the most ranks; None if none were compared."""
    winners = grouped(result.get("winners") or [], "ranks")
    if not winners:
        return None
    most = max(winners)
    parts = [_stretch(list(those)) for _, those in groupby(winners[most], key=lambda winner: winner["measured"])]
    return f"The fastest mean of {most} vectors: {'; '.join(parts)}."


def view(result: common.Result) -> Iterator[Item]:
    """A table for each number of ranks, the fastest patterns by range of sizes, and the errors of formulas."""
    winners = grouped(result.get("winners") or [], "ranks")
    of = {(row["ranks"], row["bytes"], row["pattern"]): row for row in result["measurements"]}
    patterns = grouped(result["measurements"], "pattern")

    def times(name: str) -> Callable[[Row], Any]:
        return lambda winner: of[winner["ranks"], winner["bytes"], name]["seconds"]["median"]

    def formula(name: str) -> Callable[[Row], Any]:
        return lambda winner: of[winner["ranks"], winner["bytes"], name]["predicted"]

    columns = [
        common.SIZE,
        *(
            column
            for name in patterns
            for column in (
                Column(name, times(name), format_time),
                Column("formula", formula(name), formats.time, priority=2),
            )
        ),
        Column("wins", lambda winner: " = ".join(winner["measured"]), left=True),
        Column("by formula", _by_formula, left=True, priority=1),
    ]
    most = max(winners, default=0)
    for p, mine in winners.items():
        title = f"The mean of {p} vectors, on all {p} ranks ({result['formula']})"
        table = Table.of(title, columns, mine, key=spread(len(mine)))
        yield table if p == most else Detail(table)
    for p, mine in winners.items():
        parts = [_stretch(list(those)) for _, those in groupby(mine, key=lambda winner: winner["measured"])]
        line = f"{p} ranks: " + "; ".join(parts)
        yield line if p == most else Detail(line)
    if winners:
        others = "see demos.gossip, demos.parameter_server and demos.scatter_gather"
        yield Detail(
            f"A mean that need not be exact, updates that may be stale, or uneven work are other jobs: {others}."
        )
    yield from common.formula_errors(result)
    for p in winners:
        curves = [
            curve
            for name, rows in patterns.items()
            for curve in charts.times([row for row in rows if row["ranks"] == p], name, name)
        ]
        yield Series(f"time-{p}-ranks", f"The mean of {p} vectors", charts.BYTES, charts.TIME, curves)


def _by_formula(winner: Row) -> str:
    return "the same" if winner["predicted"] == winner["measured"] else " = ".join(winner["predicted"])


def _stretch(winners: Sequence[Row]) -> str:
    """A range of sizes with the same fastest patterns."""
    first, last = format_size(winners[0]["bytes"]), format_size(winners[-1]["bytes"])
    ahead = [winner["ahead"] for winner in winners if winner["ahead"] is not None]
    sizes = first if first == last else f"{first} to {last}"
    lead = f" (the next takes {min(ahead):.2f} times as long or more)" if ahead else ""
    return f"{' = '.join(winners[0]['measured'])} at {sizes}{lead}"
