"""Curves that several views share: times and bandwidths over sizes, predictions against measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from emulator.report.model import Axis, Curve, Mark, Row, Series, grouped
from emulator.report.views.common import PARTS, Result
from emulator.units import format_size, format_time

BYTES = Axis("size", "bytes", log=True, binary=True, form=lambda size: format_size(round(size)))
TIME = Axis("time", "us", 1e6, log=True, form=format_time)
NODES = Axis("nodes p", log=True, binary=True, form=lambda p: f"{p:.0f}")
SPEEDUP = Axis("S(p)", log=True, binary=True, form=lambda value: f"{value:.4g}")
BANDWIDTH = Axis("bus bandwidth", "GB/s", 1e-9, log=True)

_MOST_PLOTS = 4


def plots(result: Result) -> Iterator[Series]:
    """Plots of time, and of bus bandwidth if known, over size: one for each pattern, a curve for each number of ranks.

    Link and reduction have nothing to do with a native collective on as many ranks. Many patterns share one plot, on
    the most ranks.
    """
    by_pattern = grouped(timed(result), "pattern")
    if len(by_pattern) > _MOST_PLOTS:
        yield _beside(result, by_pattern)
        by_pattern = {name: rows for name, rows in by_pattern.items() if name in PARTS}
    for pattern, rows in by_pattern.items():
        if len(rows) < 2:
            continue
        name = pattern.replace(" ", "-").replace(",", "")
        groups = grouped(sorted(rows, key=lambda row: (row["ranks"], row["bytes"])), "ranks")
        native = pattern not in PARTS
        curves = [one for p, group in groups.items() for one in times(group, f"p = {p}", p, native)]
        marks = switches([fit for fit in result["fits"] if fit["pattern"] == pattern])
        yield Series(f"time-{name}", f"{pattern}: time by size ({result['clock']} clock)", BYTES, TIME, curves, marks)
        if all(row.get("busbw") for row in rows):
            speeds = [Curve.line(f"p = {p}", group, "bytes", "busbw", p) for p, group in groups.items()]
            yield Series(f"busbw-{name}", f"{pattern}: bus bandwidth by size", BYTES, BANDWIDTH, speeds)


def _beside(result: Result, by_pattern: Mapping[str, Sequence[Row]]) -> Series:
    """A plot of all patterns on the most ranks, a curve for each."""
    most = max(row["ranks"] for rows in by_pattern.values() for row in rows)
    curves = []
    for pattern, rows in by_pattern.items():
        these = [row for row in rows if row["ranks"] == most]
        if these and pattern not in PARTS:
            curves.append(medians(these, pattern, style="joined"))
    return Series("time-patterns", f"Time by size on {most} ranks ({result['clock']} clock)", BYTES, TIME, curves)


def predictions(result: Result) -> Iterator[Series]:
    """A plot of predicted against measured times: correct predictions lie on the diagonal."""
    rows = [row for row in timed(result) if row.get("predicted")]
    if len(rows) < 2:
        return
    ends = [pick(row["seconds"]["median"] for row in rows) for pick in (min, max)]
    curves = [Curve("right", ends, ends, style="dotted", group="diagonal")]
    told = {False: "in the fit" if any("held_out" in row for row in rows) else "by formula", True: "held out"}
    for held, these in sorted(grouped(rows, lambda row: bool(row.get("held_out"))).items()):
        points = [(row["seconds"]["median"], row["predicted"]) for row in these]
        curves.append(Curve(told[held], [x for x, _ in points], [y for _, y in points]))
    measured, predicted = replace(TIME, name="measured"), replace(TIME, name="predicted")
    yield Series("predicted", "Predicted against measured times", measured, predicted, curves)


def segment(fit: Row, size: int) -> Row:
    """The terms of a fit for a size: those of its segment, if it has several."""
    segments = fit.get("segments") or [fit]
    return next((one for one in segments if "last" not in one or size <= one["last"]), segments[-1])


def switches(fits: Sequence[Row]) -> list[Mark]:
    """The sizes at which segments of fits meet: a switch of the transport's protocol or of the algorithm."""
    found = [left["last"] for fit in fits for left, _ in pairwise(fit.get("segments") or ())]
    return [Mark(size, f"switch at {format_size(size)}") for size in sorted(set(found))]


def timed(result: Result) -> list[Row]:
    """The measurements that can be drawn on logarithmic axes."""
    return [row for row in result["measurements"] if row["bytes"] > 0 and row["seconds"]["median"] > 0]


def medians(rows: Sequence[Row], name: str, group: Any = None, style: str = "points") -> Curve:
    """Median times over sizes, with their intervals."""
    rows = sorted(rows, key=lambda row: row["bytes"])
    seconds = [row["seconds"] for row in rows]
    values, intervals = [one["median"] for one in seconds], [one.get("ci95") for one in seconds]
    return Curve(name, [row["bytes"] for row in rows], values, intervals, style, group)


def times(rows: Sequence[Row], name: str, group: Any, native: bool = True) -> Iterator[Curve]:
    """Medians with intervals; predicted times as a line, native ones dotted, if all have them."""
    rows = sorted(rows, key=lambda row: row["bytes"])
    sizes = [row["bytes"] for row in rows]
    yield medians(rows, name, group)
    if all(row.get("predicted") for row in rows):
        yield Curve.line("fit", rows, "bytes", "predicted", group)
    if native and all(row.get("native") for row in rows):
        yield Curve("native", sizes, [row["native"]["median"] for row in rows], style="dotted", group=group)
