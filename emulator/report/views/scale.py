"""S(p) of the four patterns from 2 nodes to thousands: closed forms as lines, simulated ranks as points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from emulator.report.model import Axis, Column, Curve, Detail, Item, Row, Series, Table, grouped, spread
from emulator.report.views import charts, common
from emulator.units import format_size, format_time

_APART = 0.01  # share by which closed form and simulation part


def _speedup(one: Row, row: Row, key: str) -> float | None:
    took, t_comp = row[key], one["t_comp"]
    return None if took is None else t_comp / (t_comp / row["ranks"] + took)


def finding(result: common.Result) -> str | None:
    """A sentence on the largest simulated speedup and its pattern; None if nothing was simulated."""
    one = result["scale"]
    best = max((row for row in one["rows"] if row["simulated"]), key=lambda row: _speedup(one, row, "simulated") or 0.0,
               default=None)  # fmt: skip
    if best is None:
        return None
    return (
        f"The largest simulated speedup is {_speedup(one, best, 'simulated'):.2f}, by {best['pattern']} on "
        f"{best['ranks']} nodes."
    )


def view(result: common.Result) -> Iterator[Item]:
    """A row for each number of nodes, where form and simulation differ, and the curves."""
    one = result["scale"]
    patterns = grouped(one["rows"], "pattern")
    if not patterns:
        return
    of = {(row["ranks"], row["pattern"]): row for row in one["rows"]}
    nodes = sorted({row["ranks"] for row in one["rows"]})

    def seconds(name: str, key: str) -> Callable[[int], Any]:
        return lambda p: of[p, name][key] if (p, name) in of else None

    def best(name: str) -> Callable[[int], Any]:
        return lambda p: _best(of[p, name]) if (p, name) in of else None

    def time(value: Any) -> str:
        return "-" if value is None else format_time(value)

    def shown(row: Row | None) -> str:
        return "-" if row is None else f"{'' if row['simulated'] else '~'}{format_time(row[_known(row)])}"

    def figure(row: Row | None) -> str:
        return "-" if row is None else f"{_speedup(one, row, _known(row)):.2f}"

    columns = [Column("p", lambda p: p)]
    for number, name in enumerate(patterns, start=1):  # where there is no room, the last pattern loses its S(p) first
        columns += [Column(name, best(name), shown), Column("formula", seconds(name, "predicted"), time,
                    priority=len(patterns) + 1), Column("S(p)", best(name), figure, priority=number)]  # fmt: skip
    title = f"A mean of p vectors of {format_size(one['bytes'])} in each step, {format_time(one['t_comp'])} on one node"
    yield Table.of(title, columns, nodes, key=spread(len(nodes), 12))
    if "live" in one and any(row["simulated"] is None and row["ranks"] > one["live"] for row in one["rows"]):
        yield (f"~: by its closed form; beyond --live {one['live']} nodes only all-reduces are simulated, by replay of "
               "their schedules")  # fmt: skip
    yield from (f"{name}: {text}" for name, rows in patterns.items() if (text := _parted(rows)))
    if any(_parted(rows) for rows in patterns.values()):
        yield "why: " + ("; ".join(one["causes"]) or "nothing of this network: the closed form itself is approximate")
    replayed = [row["ranks"] for row in one["rows"] if row["how"] == "replayed"]
    if replayed:
        yield Detail(f"all-reduces on up to {max(replayed)} nodes are replayed from their recorded schedules")
    title = "S(p): closed form (line) and simulated ranks (points)"
    yield Series("speedup", title, charts.NODES, Axis("S(p)", log=True),
                 [curve for name, rows in patterns.items() for curve in _curves(one, name, rows)])  # fmt: skip


def _known(row: Row) -> str:
    """The key of the time to show in a row: the simulated one if known, else the closed form's."""
    return "simulated" if row["simulated"] is not None else "predicted"


def _best(row: Row) -> Row | None:
    """The row, if its time to show is known; else None."""
    return None if row[_known(row)] is None else row


def _parted(rows: Sequence[Row]) -> str | None:
    """A sentence on where closed form and simulation differ; None where they do not."""
    off = [(row["ranks"], row["predicted"] / row["simulated"] - 1) for row in rows
           if row["simulated"] and row["predicted"]]  # fmt: skip
    apart = [(p, error) for p, error in off if abs(error) > _APART]
    if not apart:
        return None
    worst = max(apart, key=lambda one: abs(one[1]))
    return f"closed form and simulation part from p = {apart[0][0]}, at most {worst[1]:+.1%} at p = {worst[0]}"


def _curves(one: Row, name: str, rows: Sequence[Row]) -> Iterator[Curve]:
    for key, style, told in (("predicted", "line", "by formula"), ("simulated", "points", "simulated")):
        these = [row for row in rows if row[key]]
        if these:
            yield Curve(f"{name}, {told}", [row["ranks"] for row in these],
                        [_speedup(one, row, key) or 0.0 for row in these], style=style, group=name)  # fmt: skip
