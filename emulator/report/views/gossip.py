"""Gossip: how fast each graph converges and what it costs, late averages, and rumours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import mean, median, stdev

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Detail, Item, Row, Series, Table, spread
from emulator.report.views import charts, common

_MOST_TIMES = 4  # rows of times on one screen


def finding(result: common.Result) -> str | None:
    """A sentence on the graphs with the fewest rounds and with the fewest bytes; None if none converged."""
    ways = [way for way in result.get("convergence") or [] if way["reached"]]
    if not ways:
        return None
    soonest = min(ways, key=lambda way: int(way["rounds"]))
    cheapest = min(ways, key=lambda way: float(way["bytes_sent_per_rank"]))
    return (
        f"Of {len(ways)} graphs, {soonest['way']} comes to the mean in the fewest rounds ({soonest['rounds']}) and "
        f"{cheapest['way']} with the fewest bytes ({cheapest['bytes_sent_per_rank'] / 1024:.1f} KiB per rank)."
    )


def view(result: common.Result) -> Iterator[Item]:
    """Convergence, late averages, times and rumours."""
    ranks = result["environment"]["ranks"]
    ways = result.get("convergence") or []
    if ways:
        title = f"the mean of 30 columns among {ranks} ranks, to {ways[0]['error']:g} of the first distance"
        yield Table.of(title, _CONVERGENCE, ways)
    if late := result.get("late"):
        yield Detail(
            f"push-sum, messages up to {late['bound']} rounds late: {late['messages']} messages per rank, sums "
            f"conserved to {late['drift']:.0e}, mean of the table to {late['off']:.0e} (limit {late['limit']:.0%})"
        )
    if result.get("formula"):
        rows = result["measurements"]
        key = common.largest(rows)
        yield Table.of(
            f"time of an average ({result['formula']})",
            _TIMES,
            rows,
            key=[key[at] for at in spread(len(key), _MOST_TIMES)],
        )
    rumours = result.get("rumours") or []
    if rumours:
        yield Table.of(f"rumours of 1 KiB among {ranks} ranks: rounds until all know", _RUMOURS, rumours)
        yield from common.formula_errors(result, "averages", "rumours")
    curves = [Curve(way["way"], range(len(way["distances"])), way["distances"], style="line") for way in ways]
    if curves:
        distance = Axis("distance to the mean", log=True)
        yield Series("convergence", "Convergence of each graph", Axis("round"), distance, curves)
    yield from charts.plots(result)


_CONVERGENCE = [
    Column("graph", "way", left=True),
    Column("degree", form=formats.fixed(".2g"), priority=2),
    Column("gap", "spectral_gap", formats.fixed(".3f"), priority=3),
    Column("contraction", "contraction_predicted", formats.fixed(".3f"), priority=1),
    Column("measured", "contraction_measured", formats.fixed(".3f"), priority=1),
    Column("rounds", "rounds_predicted"),
    Column("taken", lambda row: f"{'' if row['reached'] else '> '}{row['rounds']}"),
    Column("sent per rank", "bytes_sent_per_rank", lambda sent: f"{sent / 1024:.1f} KiB"),
    Column("wrong"),
]

_TIMES = [
    Column("gossip", lambda row: row["pattern"].removeprefix("gossip "), left=True),
    common.RANKS,
    common.SIZE,
    *common.MICROSECONDS,
    common.WRONG,
]


def _rounds(row: Row) -> str:
    rounds = row["rounds"]
    within = f" ± {1.96 * stdev(rounds) / math.sqrt(len(rounds)):.2f}" if len(rounds) > 1 else ""
    return f"{mean(rounds):.2f}{within}"


def _followed(row: Row) -> float | None:
    return row["predicted"] and median(row["predicted"])


_RUMOURS = [
    Column("mode", left=True),
    Column("rounds", _rounds),
    Column("expected", form=formats.fixed(".2f")),
    Column("bounds (push)", "bounds", formats.or_dash(lambda ends: f"{ends[0]:.2f} .. {ends[1]:.2f}"), priority=4),
    Column("rounds given", "rounds_given", priority=5),
    Column("messages", form=formats.fixed(".0f"), priority=2),
    Column("with rumour", "informative", formats.fixed(".0f"), priority=3),
    Column("time", lambda row: median(row["seconds"]), formats.microseconds, "us"),
    Column("followed", _followed, formats.microseconds, "us"),
    Column("off by", lambda row: common.off(_followed(row), median(row["seconds"])), formats.off, priority=1),
]
