"""Tables and sentences on fits: terms, misfits, held-out predictions, configured terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from emulator.report import formats
from emulator.report.model import (
    Column,
    Detail,
    Item,
    Row,
    Table,
    Text,
    Verdict,
    grouped,
)
from emulator.report.views import common
from emulator.units import format_size

_MOST_CHECKS = 8  # that failed, on one screen


def fits(
    result: common.Result, rows: Sequence[Row] | None = None, title: str = "Fitted terms", key: Sequence[str] = ()
) -> Iterator[Table]:
    """The table of fits: a line for each, and one for each of its segments.

    `key` are the patterns whose lines one screen shows; without any, all.
    """
    rows = result["fits"] if rows is None else rows
    if not rows:
        return
    claimed = any((row.get("alpha") or {}).get("ci95") for row in rows)
    title += (
        f", with 95 % intervals{sampled(result)}" if claimed else ", without intervals: too few repetitions or points"
    )
    terms = [("alpha", "us", 1e6), ("beta", "ns/B", 1e9)]
    terms += [("gamma", "ns/B", 1e9)] * any(row.get("gamma") for row in rows)

    def interval_of(factor: float) -> Callable[[Any], str]:
        return lambda pair: "" if pair is None else formats.interval(pair, factor)

    def value_of(factor: float) -> Callable[[Any], str]:
        return formats.or_dash(lambda value: formats.figure(value * factor))

    columns = [Column("fit", "name", left=True)]
    for priority, (name, unit, factor) in enumerate(terms):
        columns.append(Column(name, f"{name}.value", value_of(factor), unit, priority=2 * (name == "gamma")))
        if claimed:
            columns.append(Column(f"95 % of {name}", f"{name}.ci95", interval_of(factor), priority=3 + priority))
    columns.append(Column("bandwidth", _bandwidth, formats.or_dash(lambda rate: f"{rate / 1e9:.3g} GB/s"), priority=2))
    columns.append(Column("median error", "median_relative_error", lambda v: "" if v is None else formats.percent(v)))
    shown: list[tuple[str, Row]] = []
    for row in rows:
        shown.append(("", {**row, "name": row["pattern"]}))
        if len(row["segments"]) > 1:
            for one in row["segments"]:
                sizes = f"  {format_size(one['first'])} to {format_size(one['last'])}"
                shown.append(("dim", {**one, "name": sizes}))
            shown.append(
                ("dim", {"name": "  in segments", "median_relative_error": row.get("segmented_relative_error")})
            )
    tones = [tone for tone, _ in shown]
    on_screen = [number for number, (tone, row) in enumerate(shown) if not tone and (not key or row["pattern"] in key)]
    yield Table.of(title, columns, [row for _, row in shown], tones=tones, key=on_screen)


_POOR = 0.1
"""Median relative error above which a fit is said to miss its points."""


def misfits(rows: Sequence[Row], most: int = 4) -> Iterator[Text | Detail]:
    """Name the fits that miss their own points, and the range of the quoted terms of segmented fits.

    One screen has the first `most` of the misses; where terms hold is a detail.
    """
    for number, row in enumerate(rows):
        worst, typical = row.get("worst"), row.get("segmented_relative_error")
        if worst and typical is not None and typical > _POOR:
            where = f"{formats.off(worst['relative_error'])} at {format_size(worst['bytes'])}, p = {worst['ranks']}"
            told = f"{row['pattern']} misses its own points by {formats.percent(typical)} (median), {where}"
            missed = Text(told, "warning")
            yield missed if number < most else Detail(missed)
        if len(parts := row["segments"]) > 1:
            short, long = (
                f"{format_size(one['first'])} to {format_size(one['last'])}" for one in (parts[0], parts[-1])
            )
            told = f"{row['pattern']}: alpha of {short}, beta of {long}; between them segments count"
            yield Detail(Text(told, "dim"))


def sampled(result: common.Result) -> str:
    """What a result's intervals are valid for: a further launch, or the measured launch."""
    count = result.get("launches")
    if not count:
        return ""
    return " (this launch only)" if count == 1 else f" (of a further launch, from {count})"


def earlier(result: common.Result) -> Iterator[Text]:
    """Name the earlier runs that count as launches of this result."""
    names = [folder.rpartition("/")[2] for folder in result.get("earlier") or ()]
    if names:
        which = names[0] if len(names) == 1 else f"{len(names)} earlier runs of this command, {names[0]} to {names[-1]}"
        yield Text(f"with {which} (--alone leaves them out)", "dim")


def _bandwidth(row: Row) -> float | None:
    beta = (row.get("beta") or {}).get("value")
    return 1 / beta if beta else None


def held_out(result: common.Result) -> Iterator[Item]:
    """The errors at points left out of the fits, and a table of these if one pattern alone has any."""
    of = grouped(result["held_out"], lambda row: row.get("pattern", ""))
    for pattern, rows in of.items():
        errors = sorted(abs(row["relative_error"]) for row in rows)
        known = f"fitted on p <= {result['fitted_up_to']} " if result.get("fitted_up_to") else ""
        typical, worst = formats.percent(errors[len(errors) // 2]), formats.percent(errors[-1])
        told = f"{pattern} {known}predicts p = {rows[0]['ranks']}: median error {typical}, worst {worst}"
        line = Text(told, lead="Held out: ")
        yield line if len(of) == 1 else Detail(line)
        if len(of) == 1:
            times = (Column(name, form=formats.microseconds, unit="us") for name in ("measured", "predicted"))
            columns = [common.RANKS, common.SIZE, *times, Column("error", "relative_error", formats.off)]
            yield Detail(Table.of("Held-out points", columns, rows))


def checks(rows: Sequence[Row]) -> Iterator[Item]:
    """How many terms were recovered, after a table of configured and recovered values (one screen: only failures)."""
    if not rows:
        return
    columns = [
        Column("what", left=True),
        Column("term", left=True),
        Column("configured", lambda row: f"{row['configured']:.6g} {row['unit']}"),
        Column("recovered", lambda row: f"{row['recovered']:.6g} {row['unit']}"),
        Column("off by", _off, lambda share: f"{share * 100:+.3f} %" if abs(share) >= 5e-6 else "0.000 %", priority=1),
        Column("", "passed", lambda passed: "PASS" if passed else "FAIL", tone=lambda p: "good" if p else "bad"),
    ]
    failed = [number for number, row in enumerate(rows) if not row["passed"]]
    table = Table.of("Configured and recovered (PASS within 1 %)", columns, rows, key=failed[:_MOST_CHECKS])
    yield table if failed else Detail(table)
    good = len(rows) - len(failed)
    yield Verdict(not failed, f"{good} of {len(rows)} configured terms recovered within 1 %")


def _off(row: Row) -> float:
    configured, recovered = row["configured"], row["recovered"]
    return recovered / configured - 1 if configured else float(recovered != configured)


def unknown(result: common.Result) -> Iterator[Item]:
    """The view of a result whose command has none of its own: measurements, fits, and the names of all other fields."""
    yield from common.measurements(result)
    yield from fits(result)
    yield from common.formula_errors(result)
    told = {"schema", "demo", "command", "started", "environment", "network", "clock", "pace", "fidelity",
            "measurements", "fits", "held_out", "warnings", "failures", "formula_errors", "timeline"}  # fmt: skip
    others = [name for name, value in result.items() if name not in told and value not in (None, [], {})]
    if others:
        yield Text(f"only in the result file: {', '.join(others)}", "dim")
