"""Membership: SWIM's detection times, false alarms and load in simulated groups, and one live group."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Item, Row, Series, Table
from emulator.report.views import common


def view(result: common.Result) -> Iterator[Item]:
    """Deaths, lost messages, and what the ranks themselves did."""
    deaths, losses, live = result.get("deaths") or [], result.get("losses") or [], result.get("live")
    if deaths:
        yield Table.of("a member dies: periods until ...", _DEATHS, deaths)
    if losses:
        yield Table.of(f"{result['members']} members, nobody dies, messages get lost", _LOSSES, losses)
    if result.get("no_live_group"):
        yield f"No live group: {result['no_live_group']}."
    if live:
        yield (
            f"live, {result['environment']['ranks']} ranks, period {live['period_s'] * 1e3:g} ms: rank "
            f"{live['victim']} suspected after {live['SUSPECT'][0] * 1e3:.0f} ms, dead to the first after "
            f"{live['DEAD'][0] * 1e3:.0f} ms and to all after {live['DEAD'][-1] * 1e3:.0f} ms; awake again it finds "
            f"itself {'evicted' if live['evicted'] else 'welcome'}"
        )
    if deaths:
        members = [row["members"] for row in deaths]
        curves = [
            Curve(name.replace("_", " "), members, [float(np.mean(_of(row, name))) for row in deaths], style="line")
            for name in ("suspected", "declared", "known_to_all")
        ]
        title = "Periods until a dead member is suspected, declared dead, known to all"
        yield Series("detection", title, Axis("members", log=True), Axis("periods"), curves)


def _of(row: Row, name: str) -> list[float]:
    return [figures[name] for figures in row["figures"] if figures[name] is not None]


def _sum(name: str) -> Callable[[Row], int]:
    return lambda row: sum(figures[name] for figures in row["figures"])


def _mean_and_p95(name: str) -> Callable[[Row], str | None]:
    def form(row: Row) -> str | None:
        values = _of(row, name)
        return f"{np.mean(values):.2f} ({np.percentile(values, 95):.1f})" if values else None

    return form


_DEATHS = [
    Column("members"),
    Column("first suspected (p95)", _mean_and_p95("suspected")),
    Column("formula", lambda row: f"{row['expected']:.2f} .. 2", priority=1),
    Column("declared dead", lambda row: float(np.mean(_of(row, "declared"))), formats.fixed(".2f")),
    Column("known to all (p95)", _mean_and_p95("known_to_all")),
    Column("false deaths", _sum("false_deaths")),
    Column(
        "messages per member and period",
        lambda row: _sum("messages")(row) / _sum("probes")(row),
        formats.fixed(".2f"),
        priority=2,
    ),
]

_LOSSES = [
    Column("lost", "loss", formats.fixed(".0%")),
    Column("probes", _sum("probes")),
    Column("failed", _sum("failed_probes")),
    Column("formula", "expected", formats.fixed(".1f")),
    Column("false deaths", _sum("false_deaths")),
]
