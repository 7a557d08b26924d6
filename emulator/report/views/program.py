"""A user's program that survives rank failures: each recovery, and how each rank ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emulator.report.model import Axis, Column, Curve, Detail, Item, Row, Series, Table, Verdict
from emulator.units import format_time

_BARS = 40  # recoveries in the chart, the last ones


def finding(result: Mapping[str, Any]) -> str | None:
    """A sentence on whether the program reached its end, and after how many recoveries; None without a program."""
    one = result.get("program")
    return one and f"T{_ended(one)[1:]}."


def view(result: Mapping[str, Any]) -> Iterator[Item]:
    """Each recovery in words, how ranks ended, and whether the program came to its end.

    ``program`` is ``{"policy", "status", "launches", "recoveries": [{"told", "at", "seconds", ...}], "ends": [{"rank",
    "launch", "at", "how"}]}``: times in seconds since the start; a rank of -1 is a spawned process.
    """
    one = result.get("program")
    if not one:
        return
    yield from (Detail(recovery["told"]) for recovery in one["recoveries"])  # the launcher has printed them
    early = [end for end in one["ends"] if not end["how"].endswith("exit status 0")]
    if early:
        yield Table.of("Ranks that did not end with status 0", _ENDS, early, key=range(min(len(early), 8)))
    yield Verdict(not one["status"], _ended(one))
    timed = [recovery for recovery in one["recoveries"] if "seconds" in recovery][-_BARS:]
    if timed:
        names = [f"{_who(recovery)}{format_time(recovery['at'])}" for recovery in timed]
        seconds = [recovery["seconds"] for recovery in timed]
        bars = [Curve("recovery", names, seconds, style="bars")]
        yield Series(
            "recoveries",
            "Time of each recovery",
            Axis("rank, and when after the start"),
            Axis.time("time", seconds),
            bars,
        )


def _who(recovery: Row) -> str:
    ranks = recovery.get("dead") or recovery.get("joined") or []
    return f"{', '.join(map(str, ranks))}: " if ranks else ""


def _ended(one: Row) -> str:
    came = "the program came to its end" if not one["status"] else f"the program failed with status {one['status']}"
    recoveries, launches = len(one["recoveries"]), one["launches"]
    told = f"{recoveries} recover{'y' if recoveries == 1 else 'ies'}"
    return f"{came}: {told}, {launches} launch{'' if launches == 1 else 'es'}"


_ENDS = [
    Column("rank", lambda end: end["rank"] if end["rank"] >= 0 else "spawned", left=True),
    Column("launch", priority=2),
    Column("after", "at", format_time),
    Column("how it ended", "how", left=True),
]
