"""Several results side by side: where each ran, and the times of the patterns they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from emulator.report.model import Column, Item, Row, Series, Table, grouped
from emulator.report.views import charts, common


def view(results: Sequence[common.Result]) -> Iterator[Item]:
    """A row for each result, and a chart for each pattern that two or more have measured."""
    names = named(results)
    columns = [
        Column("run", left=True),
        Column("ranks"),
        Column("cores"),
        Column("clock", left=True),
        Column("started", left=True),
    ]
    rows = [
        [name, one["environment"]["ranks"], one["environment"]["cores"], one["clock"], one["started"]]
        for name, one in zip(names, results, strict=True)
    ]
    yield Table("", columns, rows)
    of: dict[str, list[tuple[str, list[Row]]]] = {}
    for name, result in zip(names, results, strict=True):
        for pattern, measured in grouped(charts.timed(result), "pattern").items():
            most = max(row["ranks"] for row in measured)
            of.setdefault(pattern, []).append((name, [row for row in measured if row["ranks"] == most]))
    for pattern, sides in of.items():
        if len(sides) > 1:
            curves = [
                charts.medians(those, f"{name}, p = {those[0]['ranks']}", style="joined") for name, those in sides
            ]
            yield Series(f"beside-{pattern}", f"{pattern}: time by size", charts.BYTES, charts.TIME, curves)


def _title(result: common.Result) -> str:
    if drill := result.get("drill"):
        return f"drill of {drill['pattern']} by {drill['recovery']}"
    if sheet := result.get("sheet"):
        return f"design {sheet['job']['name']}"
    kind, _, name = result["demo"].partition(".")
    return f"case study {name}" if name else {"trace": "failure trace", "run": "program"}.get(kind, kind)


def named(results: Sequence[common.Result]) -> list[str]:
    """The name of each result by what ran over which network, numbered if several are equal."""
    plain = [_title(one) + (f" over {one['network']['name']}" if one.get("network") else "") for one in results]
    numbers = {name: count(1) for name in plain}
    return [f"{name} {next(numbers[name])}" if plain.count(name) > 1 else name for name in plain]
