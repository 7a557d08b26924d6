"""Links between ranks: fits, protocol switches, maps of all pairs, checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from emulator.measure import protocol_limits
from emulator.report import formats
from emulator.report.model import Column, Detail, Item, Map, Row, Series, Table, Text, grouped
from emulator.report.views import charts, common, fits
from emulator.units import format_rate, format_size, format_time

_WIDEST_MAP = 10  # ranks, on one screen


def finding(result: common.Result) -> str | None:
    """A sentence on the latencies and bandwidths of all pairs, and on protocol switches; None without fits."""
    alphas = [one["alpha"]["value"] for one in result["fits"]]
    betas = [one["beta"]["value"] for one in result["fits"] if (one.get("beta") or {}).get("value")]
    if not alphas:
        return None
    told = f"Over {len(alphas)} links a message starts after {_range(alphas, format_time)}"
    if betas:
        told += f" and then moves at {_range([1 / beta for beta in betas], format_rate)}"
    switches = charts.switches([one for one in result["fits"] if one.get("fine")])
    return told + (f"; sizes at which the protocol changes: {len(switches)}." if switches else ".")


def _range(values: Sequence[float], form: Callable[[float], str]) -> str:
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"


def view(result: common.Result) -> Iterator[Item]:
    """The whole result of a measurement of links."""
    fine = [one | {"pattern": _name(one)} for one in result["fits"] if one.get("fine")]
    yield from fits.fits(result, fine, "Links")
    yield from fits.misfits(fine)
    if result.get("saved"):
        yield f"network file, for --net: {result['saved']}"
        yield from (Text(f"  {text}", "dim") for text in result["left_out"])
    yield from fits.earlier(result)
    yield from _switches(fine, result)
    yield from _maps(result)
    yield from fits.checks(result.get("checks") or ())
    yield from _plots(result, {one["pattern"] for one in fine})


def _name(one: Row) -> str:
    return f"{one['source']} -> {one['destination']}"


def _switches(fits: Sequence[Row], result: Mapping[str, Any]) -> Iterator[Item]:
    known = result.get("limits") or {}
    for one in fits:
        for left, right in pairwise(one["segments"]):
            names = protocol_limits.near(left["last"], right["first"], known, one.get("transport") or "")
            where = f"between {format_size(left['last'])} and {format_size(right['first'])}"
            over = f" over {one['transport']}" if one.get("transport") else ""
            meant = f"the library's {', '.join(names)}" if names else f"at no known limit of the library{over}"
            yield f"switch of {one['pattern']} {where}: {meant}"
    if known:
        limits = ", ".join(f"{name} {format_size(limit)}" for name, limit in known.items())
        yield Detail(Text(f"limits of the library ({result['limits_from']}): {limits}", "dim"))


def _maps(result: Mapping[str, Any]) -> Iterator[Item]:
    if not result["measurements"]:
        return
    largest = max(row["bytes"] for row in result["measurements"])
    alpha = {(one["source"], one["destination"]): one["alpha"]["value"] for one in result["fits"]}
    yield from _extremes(alpha)
    first = _map("alpha from rank (down) to rank (across)", result, alpha)
    yield first if result["environment"]["ranks"] <= _WIDEST_MAP else Detail(first)
    rows = [row for row in result["measurements"] if row["bytes"] == largest]
    took = {(row["source"], row["destination"]): row["seconds"]["median"] for row in rows}
    yield Detail(_map(f"time of {format_size(largest)} from rank (down) to rank (across)", result, took))


def _extremes(alpha: Mapping[tuple[int, int], float]) -> Iterator[str]:
    """The pairs of ranks with the least and the greatest alpha."""
    if len(alpha) > 1:
        ends = [(name, pick(alpha, key=alpha.__getitem__)) for name, pick in (("least", min), ("greatest", max))]
        yield "; ".join(f"{name} alpha: {format_time(alpha[a, b])} from {a} to {b}" for name, (a, b) in ends)


def _map(title: str, result: Mapping[str, Any], values: Mapping[tuple[int, int], float]) -> Map:
    """A map with a value for each two ranks, in both directions if one round trip measured both."""
    ranks = result["environment"]["ranks"]
    matrix: list[list[float | None]] = [[None] * ranks for _ in range(ranks)]
    for (source, destination), value in values.items():
        matrix[source][destination] = value
        if result["clock"] == "wall":
            matrix[destination][source] = value
    names = [str(rank) for rank in range(ranks)]
    return Map(title, names, names, matrix, form=lambda t: format_time(t).replace(" ", ""), scale=charts.TIME)


def _plots(result: Mapping[str, Any], fine: set[str]) -> Iterator[Series]:
    """Plots of the pairs that were measured at all sizes, a curve for each; others have too few sizes."""
    rows = [row for row in charts.timed(result) if _name(row) in fine]
    curves = [
        curve for name, group in grouped(rows, _name).items() for curve in charts.times(group, name, name, native=False)
    ]
    if curves:
        title = f"links: time by size ({result['clock']} clock)"
        fits = [one for one in result["fits"] if one.get("fine")]
        yield Series("time-link", title, charts.BYTES, charts.TIME, curves, charts.switches(fits))


def launches(found: Sequence[Mapping[str, Any]]) -> Table:
    """A table of the terms that each launch has fitted."""
    fits = [{"launch": number, **fit} for number, result in enumerate(found, start=1) for fit in result["fits"]]
    columns = [
        Column("launch"),
        Column("fit", "pattern", left=True),
        Column("alpha", "alpha.value", formats.microseconds, "us"),
        Column("beta", "beta.value", formats.or_dash(lambda beta: formats.figure(beta * 1e9)), "ns/B"),
    ]
    return Table.of("Each launch by itself", columns, fits)
