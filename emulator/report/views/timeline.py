"""A timeline: each rank's activities, the critical path by part, and the effect of a faster network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emulator.report import formats
from emulator.report.model import Column, Item, Row, Table, Text, grouped
from emulator.trace import activity
from emulator.trace.summary import sentence
from emulator.units import format_time

_MOST_RANKS = 16
_MOST_PARTS, _LEAST_SHARE = 3, 0.005  # of the critical path, that one screen shows
_LISTED = (activity.COMPUTING, activity.SENDING, activity.RECEIVING, activity.RECOVERY)


def view(timeline: Mapping[str, Any]) -> Iterator[Item]:
    """The timeline on one screen; `timeline` comes from `emulator.trace.summary.summarise`."""
    left = f", after {timeline['dropped']:,} earlier ones that were not kept" if timeline["dropped"] else ""
    if timeline.get("of"):
        yield Text(timeline["of"], lead="Of ")
    yield f"{format_time(timeline['seconds'], 4)} on the {timeline['clock']} clock, {timeline['events']:,} events{left}"
    yield ranks(timeline)
    yield path(timeline)
    yield Text(f"{sentence(dict(timeline))}.", lead="A faster network: ")
    struck = grouped(timeline["faults"], lambda fault: (format_time(fault["at"], 4), fault["text"]))
    for (at, text), faults in list(struck.items())[:_MOST_RANKS]:
        yield f"{at}: {formats.ranks(fault['rank'] for fault in faults)}: {text}"


def brief(timeline: Mapping[str, Any]) -> Iterator[Item]:
    """The timeline in one paragraph, for a screen on another subject."""
    total = timeline["seconds"]
    longest = sorted(timeline["path"].items(), key=lambda item: -item[1])[:_MOST_PARTS] if total else []
    parts = [part for part in longest if part[1] >= _LEAST_SHARE * total]
    told = ", ".join(f"{kind} {formats.percent(seconds / total)}" for kind, seconds in parts)
    last = "the last " if timeline["dropped"] else ""
    of = f"{timeline['of']}, " if timeline.get("of") else ""
    text = f"{of}{last}{format_time(total)}, critical path: {told}; {sentence(dict(timeline))}"
    yield Text(text, lead="timeline: ")
    if timeline.get("unwritten"):
        yield Text(timeline["unwritten"], "bad")


def ranks(timeline: Mapping[str, Any]) -> Table:
    """The share of each activity in each rank's time."""
    rows = timeline["ranks"]
    notes = [f"ranks {_MOST_RANKS} to {len(rows) - 1} are in the result file"] if len(rows) > _MOST_RANKS else []
    seen = {kind for row in rows for kind in row["activities"]}
    others = [kind for kind in activity.KINDS if kind in seen and kind not in _LISTED]
    if others:
        notes.append(f"else: {', '.join(others)}")
    columns = [
        Column("rank", lambda row: f"{row['rank']}{' (killed)' if row['killed'] else ''}"),
        *(Column(_short(kind), _share_of(kind), formats.percent) for kind in _LISTED if kind in seen),
        *([Column("else", _others, formats.percent)] if others else []),
        Column("mostly\nfor rank", _mostly, formats.plain, priority=1),
        Column("messages", "sent", formats.count, priority=2),
    ]
    return Table.of("share of each rank's time", columns, rows[:_MOST_RANKS], notes=notes)


def _short(kind: str) -> str:
    return {activity.RECEIVING: "waiting"}.get(kind, kind)


def _share_of(kind: str) -> Any:
    return lambda row: _share(row, row["activities"].get(kind, 0.0))


def _share(row: Row, seconds: float) -> float | None:
    total = sum(row["activities"].values())
    return seconds / total if total else None


def _others(row: Row) -> float | None:
    return _share(row, sum(seconds for kind, seconds in row["activities"].items() if kind not in _LISTED))


def _mostly(row: Row) -> str | None:
    return next(iter(row["waited_for"]), None)


def path(timeline: Mapping[str, Any]) -> Table:
    """The parts of the critical path, which add up to the run's time."""
    total = timeline["seconds"]
    rows = [[kind, seconds, seconds / total] for kind, seconds in timeline["path"].items()] if total else []
    columns = [Column("part", left=True), Column("time", form=formats.time), Column("share", form=formats.percent)]
    return Table("critical path", columns, [*rows, ["whole run", total, 1.0 if total else None]])
