"""What differs between two results, or between two sets of launches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emulator.report import formats
from emulator.report.model import Column, Item, Row, Table, Text, Verdict
from emulator.units import format_size

_MOST_ROWS = 20
_TONES = {"slower": "bad", "faster": "good", "unknown": "dim"}


def view(found: Mapping[str, Any], full: bool = False) -> Iterator[Item]:
    """The significant differences, largest first; with `full` all measurements in the result's order."""
    rows = found["measurements"]
    for name, side in found["sides"].items():
        launches = f"{side['launches']} launches" if side["launches"] > 1 else "1 launch"
        yield f"{name}: {side['path']} ({launches}, {side['started']})"
        yield Text(side["command"], "command")
    yield from (Text(f"not alike: {text}", "warning") for text in found["unlike"])
    shown = rows if full else sorted(_apart(rows), key=lambda row: -abs(row["log_ratio"] or 0.0))[:_MOST_ROWS]
    if shown:
        columns = [
            Column("measurement", left=True),
            *[Column("ranks")] * any(row["ranks"] is not None for row in shown),
            *[Column("bytes", form=formats.or_dash(format_size))] * any(row["bytes"] is not None for row in shown),
            Column("A", form=formats.time),
            Column("B", form=formats.time),
            Column("B/A", "ratio", formats.fixed(".3f")),
            Column("p", form=formats.or_dash(lambda p: f"{p:.2g}"), priority=1),
            Column("B is", "outcome", tone=lambda outcome: _TONES.get(outcome, "")),
            Column("by", "test", priority=2),
        ]
        yield Table.of("", columns, shown)
        if not full and len(_apart(rows)) > len(shown):
            yield Text(f"{len(_apart(rows)) - len(shown)} more: --full", "dim")
    yield from _summary(found)


def _apart(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["outcome"] in ("slower", "faster")]


def _summary(found: Mapping[str, Any]) -> Iterator[Item]:
    rows = found["measurements"]
    count = {word: sum(row["outcome"] == word for row in rows) for word in ("slower", "faster", "unknown")}
    beyond = f" by more than {formats.percent(found['margin'])}" if found["margin"] else ""
    yield Verdict(
        not count["slower"],
        f"B is significantly slower{beyond} in {count['slower']} of {len(rows)} measurements, "
        f"faster in {count['faster']} (5 % chance of any false difference, Holm's correction)",
    )
    if count["unknown"]:
        yield Text(f"{count['unknown']} have too few repetitions to be compared: a larger --budget, or launches", "dim")
    alone = [f"{number} only in {name}" for name, number in found["only_in"].items() if number]
    if alone:
        yield Text(f"not compared: {', '.join(alone)}", "dim")
    if found["one_launch"]:
        yield Text(
            "one launch on each side: launches of the same command differ as well. Give folders that hold several "
            "runs for a comparison of launches, and a smaller --margin",
            "dim",
        )
