"""Text and tables that several views share: measurements, fits, predictions, fidelity, warnings."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
    spread,
)
from emulator.report.views import timeline

Result = Mapping[str, Any]

_MOST_WARNINGS = 3  # on one screen

RANKS, SIZE = Column("ranks"), Column("bytes", form=formats.size)
MICROSECONDS = [
    Column("time", "seconds.median", formats.microseconds, "us"),
    Column("formula", "predicted", formats.microseconds, "us"),
    Column("off by", lambda row: error(row), formats.off, priority=1),
]
"""A measured time beside its formula."""
WRONG = Column("#wrong", "wrong", tone=lambda value: "bad" if value else "")


def ranks_of(result: Result) -> str:
    """The number of ranks; for a soak with random sizes, the largest possible."""
    return f"{'up to ' if result.get('soak') else ''}{result['environment']['ranks']}"


def opening(result: Result) -> Iterator[Text]:
    """A line on what ran where and when, by which clock, and one with the command to copy."""
    if only_priced(result):
        yield Text(f"priced, nothing was run: {result['prediction']['origin']}, {result['started']}")
        yield Text(shlex.join(result["command"]), "command")
        return
    seen = result["environment"]
    ranks = f"{ranks_of(result)} rank{'s' * (seen['ranks'] > 1)}"
    where = f"{ranks} on {seen['cores']} cores of {', '.join(seen['hosts'])}"
    if len(seen["hosts"]) > 1:
        where = f"{ranks} on {len(seen['hosts'])} hosts of {seen['cores']} cores"
    network = result.get("network")
    clock = f"emulated network {network['name']}, emulated seconds" if network else "wall clock"
    if result.get("clock") == "simulated":
        where = f"{seen['ranks']} simulated rank{'s' * (seen['ranks'] > 1)}"
        clock = f"network {network['name']}, simulated seconds" if network else "simulated seconds"
    yield Text(f"{where}, {seen['mpi'] or 'without MPI'}, {clock}, {result['started']}")
    yield Text(shlex.join(result["command"]), "command")


def only_priced(result: Result) -> bool:
    """Whether the result is the prediction of a design sheet that was not run."""
    return bool(result.get("prediction")) and not (result.get("design_run") or result.get("drill"))


def closing(result: Result) -> Iterator[Item]:
    """The fidelity of emulated time, warnings, and failed checks."""
    if result.get("fidelity"):
        yield from fidelity(result["fidelity"], result["clock"])
    if result.get("timeline"):
        yield from timeline.brief(result["timeline"])
    if result.get("warnings"):
        yield Text("", lead="Warnings")
        lines = [f"  - {text}" for text in result["warnings"]]
        yield from lines[:_MOST_WARNINGS]
        yield from map(Detail, lines[_MOST_WARNINGS:])
    yield from (Text(f"FAILED: {text}", "bad") for text in result.get("failures") or ())


def given(result: Result) -> Iterator[str]:
    """The given times of simulated jobs, which were not simulated."""
    if result.get("given"):
        yield result["given"]


def finding(result: Result) -> str:
    """A sentence on what was measured, for results without a finding of their own or incomplete ones."""
    rows = result["measurements"]
    if not rows:
        return f"{result['demo']}: nothing was measured."
    patterns = ", ".join(grouped(rows, "pattern"))
    wrong = sum(row.get("wrong") or 0 for row in rows)
    found = f"{wrong} wrong values were found" if wrong else "no value was wrong"
    return f"{len(rows)} measurements of {patterns} on up to {max(row['ranks'] for row in rows)} ranks; {found}."


def fidelity(one: Row, clock: str = "emulated") -> Iterator[Item]:
    """The fidelity of emulated time: late receives and messages served out of order."""
    inversions = one.get("inversions") or 0
    if one.get("pace") is None:
        exact = "exact but for inversions" if inversions else "exact"
        text = "not paced"
        if clock == "simulated":
            varies = "times vary with jitter, loss or --compute measured"
            text = f"{exact}, timed once where nothing varies" if one.get("exact", True) else varies
    else:
        late = " and ".join(
            f"{one[key] * 1e6:.0f} us ({name})"
            for key, name in (("late_p50", "median"), ("late_p99", "p99"))
            if one.get(key) is not None
        )
        text = f"pace {one['pace']:.3g}; {one['overrun_share']:.2%} of the receives late; late by {late} of wall time"
    yield Text(f"{text}; {inversions} inversion{'s' * (inversions != 1)}", lead="fidelity: ")
    if one.get("words"):
        yield Text(one["words"], "warning")


def knee(one: Row) -> str:
    """The end of a sentence on the optimum: how many nodes come close to it; empty for older results."""
    return f" ({one['knee']['p']} nodes come within 5 % of that)" if one.get("knee") else ""


def error(row: Row) -> float | None:
    """Relative error of a measurement's prediction; None without one."""
    return off(row.get("predicted"), row["seconds"]["median"])


def off(predicted: float | None, measured: float) -> float | None:
    """Relative error of a prediction; None without one."""
    return None if predicted is None or not measured else predicted / measured - 1


def emulated(result: Result) -> str:
    """The part of a title on the clock."""
    return "" if result["clock"] == "wall" else f", {result['clock']} time"


PARTS = ("link", "reduction")
"""Measured beside a pattern, for its formula: a message between two ranks, and the sum of two vectors on one."""


def patterns(result: Result) -> list[Row]:
    """The measurements without those of `PARTS`."""
    return [row for row in result["measurements"] if row["pattern"] not in PARTS]


def largest(rows: Sequence[Row]) -> list[int]:
    """Indices of the measurements with the most ranks and, of these, the most bytes."""
    most = max(((row["ranks"], row["bytes"]) for row in rows), default=None)
    return [number for number, row in enumerate(rows) if (row["ranks"], row["bytes"]) == most]


def measurements(result: Result) -> Iterator[Item]:
    """Tables of all measurements but those of `PARTS`, one for each number of ranks."""
    rows = patterns(result)
    names = list(grouped(rows, "pattern"))
    most = max((row["ranks"] for row in rows), default=0)
    for ranks, these in grouped(rows, "ranks").items():
        if len(names) == 1:
            table = measured(these, f"{names[0]}, {ranks} ranks{emulated(result)}")
        else:
            table = comparison(these, f"{ranks} ranks{emulated(result)}, microseconds")
        yield replace(table, key=spread(len(table.rows))) if ranks == most else Detail(table)
    if len(names) == 1 and any("held_out" in row for row in rows):
        held = any(row.get("held_out") for row in rows)
        unseen = "; predicted: by a fit on fewer ranks, which has not seen these" if held else ""
        several = result.get("launches") or 1
        how = "median over n repetitions" if several == 1 else (
            f"median of the medians of {several} launches, n repetitions in all, and its interval that of a further "
            "launch's median"
        )  # fmt: skip
        meaning = (
            f"time: {how}, of the whole operation, from the first rank's start to the last one's "
            f"end; fitted: by the fit below, to these very times{unseen}; error: against time"
        )
        yield Detail(Text(meaning, "dim"))


def measured(rows: Sequence[Row], title: str) -> Table:
    """A table of the measurements of one pattern on one number of ranks: a line for each size."""
    native = any(row.get("native") for row in rows)
    seen = any(row.get("held_out") is False for row in rows)
    columns = [
        Column("bytes", form=formats.size),
        *[Column("algorithm")] * any(row.get("algorithm") for row in rows),
        Column("time", "seconds.median", formats.microseconds, "us"),
        Column("95 % interval", "seconds.ci95", formats.interval, priority=3),
        Column("p99", "seconds.p99", formats.microseconds, priority=5),
        Column("algbw", "algbw", formats.gigabytes, "GB/s", priority=4),
        Column("busbw", "busbw", formats.gigabytes, "GB/s", priority=1),
        *[
            Column("native", "native.median", formats.microseconds, "us"),
            Column("ratio", ratio, formats.fixed(".2f")),
        ] * native,
        # What a fit says of the points it was fitted to is no prediction.
        Column("fitted" if seen else "predicted", "predicted", formats.microseconds, "us", priority=2),
        Column("fit error" if seen else "error", error, formats.off, priority=2),
        WRONG,
        Column("n", "seconds.n", priority=6),
    ]  # fmt: skip
    return Table.of(title, columns, rows)


def ratio(row: Row) -> float | None:
    """A measured time over the native one; None without one."""
    native = row.get("native")
    return row["seconds"]["median"] / native["median"] if native else None


def _wrong(rows: Iterable[Row]) -> int | None:
    """Number of wrong elements of some measurements; None if one of them computed nothing and none was wrong."""
    found = [row.get("wrong") for row in rows]
    return sum(one or 0 for one in found) or (None if None in found else 0)


def comparison(rows: Sequence[Row], title: str) -> Table:
    """A table of several patterns on the same ranks: a column for each, and the fastest."""
    of = {size: {row["pattern"]: row for row in these} for size, these in grouped(rows, "bytes").items()}
    best = {size: min(these.values(), key=lambda row: row["seconds"]["median"]) for size, these in of.items()}

    def time_of(name: str) -> Callable[[int], float | None]:
        return lambda size: of[size][name]["seconds"]["median"] if name in of[size] else None

    patterns = grouped(rows, "pattern")
    columns = [
        Column("bytes", lambda size: size, formats.size),
        *(Column(name.replace("_", " "), time_of(name), formats.microseconds) for name in patterns),
        *[
            Column("native", lambda size: (best[size].get("native") or {}).get("median"), formats.microseconds),
            Column("best/native", lambda size: ratio(best[size]), formats.fixed(".2f"), priority=1),
        ] * any(row.get("native") for row in rows),
        Column("quickest", lambda size: best[size]["pattern"], priority=2),
        *[
            Column("#wrong", lambda size: _wrong(of[size].values()), tone=WRONG.tone)
        ] * any(row.get("wrong") is not None for row in rows),
    ]  # fmt: skip
    return Table.of(title, columns, of)


_CROWDED = "{ranks} ranks share {cores} cores, so that a rank waits for its turn on one as well as for a message"
_ROOMY = "caches, queues and protocols of a real transport change with size and load"


def formula_errors(result: Result, *names: str) -> Iterator[Item]:
    """Errors of formulas against measurements: judged on an idle emulated network, explained elsewhere.

    ``formula_errors`` are ``{"median", "worst", "points", "limit"}`` by what was measured; the limit is None where
    there is no verdict. `names` are those to give; absent: all.
    """
    seen = result["environment"]
    for what, one in (result.get("formula_errors") or {}).items():
        if names and what not in names:
            continue
        worst, limit = one["worst"], one["limit"]
        if limit is not None:
            form = "{:.1%}" if limit >= 1e-4 else "{:.1e}"
            most = form.replace(".1", ".0").format(limit)
            yield Verdict(worst <= limit, f"{what}: formulas hold to {form.format(worst)} (at most {most})")
            continue
        apart = (
            f"{what}: formula and measurement {formats.percent(one['median'])} apart (median of {one['points']}), "
            f"{formats.percent(worst)} at worst"
        )
        yield apart
        if result["clock"] != "wall":
            why = "the formula is for steady, equal paths without shared links, and --compute none"
            yield Detail(f"  no verdict: {why}")
            continue
        crowded = seen["oversubscription"] > 1
        why = _CROWDED.format(ranks=seen["ranks"], cores=seen["cores"]) if crowded else _ROOMY
        yield Detail(f"  {why}, which no alpha and beta describe; with --net they are checked")
