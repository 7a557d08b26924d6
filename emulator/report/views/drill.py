"""The view of a drill: its recovery as a timeline, what that cost, and every check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emulator.report import formats
from emulator.report.model import (
    Axis,
    Column,
    Curve,
    Item,
    Row,
    Series,
    Table,
    Text,
    Verdict,
    grouped,
    spread,
)
from emulator.report.views import common
from emulator.units import format_time

_MEANINGS = {
    "detect": "until the first survivor learns of it",
    "agree": "until the survivors agree who is alive",
    "rebuild": "until every rank has its place",
    "restore": "until every rank has the state",
    "replay": "until the interrupted step is complete",
}
"""What the phases of a recovery mean."""

_BAR = 40  # characters of the timeline
_MOST_REPEATS = 24  # in a chart


def finding(result: Mapping[str, Any]) -> str | None:
    """A sentence on what failed, how the job recovered, and how long that took; None without a drill."""
    one = result.get("drill")
    if not one:
        return None
    what = "; ".join(fault["text"] for fault in one["faults"] if fault["fired"]) or "no fault"
    if one["outcome"] != "recovered":
        at = one.get("failed_at") or {}
        return f"{what}: {one['pattern']} did not recover by {one['recovery']}" + (f" ({at['why']})." if at else ".")
    took = "" if one["recovery_seconds"] is None else f" in {format_time(one['recovery_seconds'])}"
    checks = one.get("checks") or {}
    good = sum(check["ok"] for check in checks.values())
    return (
        f"{what}: {one['pattern']} recovered by {one['recovery']}{took}, {_lost(one['lost_steps'])}; "
        f"{one['ranks_after']} of {one['ranks']} ranks go on, and {good} of {len(checks)} checks hold."
    )


def view(result: Mapping[str, Any]) -> Iterator[Item]:
    """Each recovery as a timeline, its cost over all repeats, and every check.

    ``drill`` has, besides the fields of the schema: ``episodes`` (of the first repeat: ``{"deaths": [{"at", "text",
    "place"}], "phases", "lost_steps", "coordinator", "notes"}``, times from the first death of the job in seconds),
    ``recovery_spread``, ``phases_spread`` and ``throughput_spread`` (medians and intervals over the repeats),
    ``checks`` (``{"ok", "seen"}`` by name) and ``failed_at``.
    """
    one = result.get("drill")
    if not one:
        return
    fired = "; ".join(fault["text"] + ("" if fault["fired"] else " (did not fire)") for fault in one["faults"])
    yield f"{fired or 'no fault'}, recovery by {one['recovery']}"
    episodes = one.get("episodes") or ([{"phases": one["phases"]}] if sum((one["phases"] or {}).values()) else [])
    for episode in episodes:
        yield timeline(episode)
        yield from episode.get("notes") or ()
    if one["recovery_seconds"] is not None:
        took = _spread(one.get("recovery_spread"), one["recovery_seconds"])
        yield Text(f"{took}, {_lost(one['lost_steps'])}", lead="recovery: ")
    if len(one["repeats"]) > 1 and one.get("phases_spread"):
        phases = ", ".join(f"{name} {_spread(of)}" for name, of in one["phases_spread"].items())
        yield f"phases over {len(one['repeats'])} repeats: {phases}"
    rates = one.get("throughput_spread") or {}
    if rates.get("before") and rates.get("after"):
        before, after = (_interval(rates[when], "{:.0f}".format) for when in ("before", "after"))
        yield f"steps per second: {before} before, {after} after"
    cost = one.get("overhead") or {}
    if cost.get("fault_free_seconds") and cost.get("drill_seconds"):
        whole, free = format_time(cost["drill_seconds"]), format_time(cost["fault_free_seconds"])
        yield f"whole job: {whole}, without faults {free}"
    yield from common.given(result)
    yield from (Verdict(check["ok"], check["seen"], name) for name, check in (one.get("checks") or {}).items())
    what = f"{one['pattern']} by {one['recovery']}: {one['ranks']} ranks, {one['ranks_after']} after"
    if one["outcome"] == "recovered":
        yield Text(what, lead="recovered ")
    else:
        at = one.get("failed_at") or {}
        yield Text(f"not recovered {what}" + (f"; at phase {at['phase']}: {at['why']}" if at else ""), "bad")
    yield from _pictures(one)


def timeline(episode: Row) -> Table:
    """One recovery: its deaths, then a bar for each phase on the time since the first death."""
    phases = episode["phases"]
    struck = grouped(episode.get("deaths") or (), "text")
    deaths = "; ".join(
        f"{format_time(of[0]['at'])}: {text} ({formats.ranks(one['place'] for one in of)})"
        for text, of in struck.items()
    )
    total, at, rows = sum(phases.values()), 0.0, []
    scale = _BAR / total if total else 0.0
    for phase, seconds in phases.items():
        left, width = round(scale * at), max(1 if seconds else 0, round(scale * seconds))
        rows.append([phase, at, seconds, " " * left + "█" * width, _MEANINGS.get(phase, "")])
        at += seconds
    known = [_lost(episode["lost_steps"])] if "lost_steps" in episode else []
    if episode.get("coordinator") is not None:
        known.append(f"rank {episode['coordinator']} coordinates")
    return Table(deaths, _TIMELINE, [*rows, ["total", None, total, "", ", ".join(known)]])


_TIMELINE = [
    Column("phase", left=True),
    Column("from", form=lambda seconds: "" if seconds is None else format_time(seconds)),
    Column("takes", form=format_time),
    Column("bar", left=True, priority=1),
    Column("meaning", left=True, priority=2),
]


def _lost(steps: int) -> str:
    return f"{steps} more steps done again" if steps else "no committed step lost"


def _ranks(episode: Row, title: str, number: int) -> Iterator[Series]:
    """The phases of each process, end to end from the first death; none for a dead one."""
    rows = episode.get("ranks") or ()
    phases = dict.fromkeys(phase for row in rows for phase in row["phases"])
    if not phases:
        return
    names = [f"process {row['process']}{'' if row['phases'] else ' (dead)'}" for row in rows]
    curves = [Curve(phase, names, [row["phases"].get(phase, 0.0) for row in rows], style="bars") for phase in phases]
    since = Axis.time("time since the first death", (sum(row["phases"].values()) for row in rows))
    deaths = "; ".join(dict.fromkeys(death["text"] for death in episode["deaths"]))
    yield Series(
        f"recovery-{number}", f"{title}{deaths}", Axis("process"), since, curves, stacked=True,
        about="; ".join(f"{phase}: {_MEANINGS[phase]}" for phase in phases if phase in _MEANINGS),
    )  # fmt: skip


def _pictures(one: Row) -> Iterator[Series]:
    phases = one["phases"] or {}
    title = f"{one['pattern']} by {one['recovery']}: "
    for number, episode in enumerate(one.get("episodes") or (), start=1):
        yield from _ranks(episode, title, number)
    if phases:
        bars = Curve("median", list(phases), list(phases.values()), style="bars")
        axis = Axis.time("time", phases.values(), form=format_time)
        yield Series("recovery-phases", f"{title}phases of the recovery", Axis("phase"), axis, [bars])
    repeats = [repeat["phases"] for repeat in one["repeats"] if repeat.get("phases")]
    if len(repeats) > 1:
        shown = {f"repeat {number}": repeats[number] for number in spread(len(repeats), _MOST_REPEATS)}
        curves = [Curve(name, list(shown), [of[name] for of in shown.values()], style="bars") for name in phases]
        axis = Axis.time("time since the first death", (sum(of.values()) for of in shown.values()))
        yield Series("recovery-repeats", f"{title}repeats", Axis("repeat"), axis, curves, stacked=True)


def _spread(of: Row | None, median: float | None = None) -> str:
    """A median with its interval and the number of values, if there are several."""
    if of is None or of.get("n", 1) < 2:
        return format_time(of["median"] if of and median is None else median or 0.0)
    return f"median {_interval(of, format_time)} of {of['n']}"


def _interval(of: Row, form: Any) -> str:
    bounds = f" [{form(of['ci95'][0])}, {form(of['ci95'][1])}]" if of.get("ci95") else ""
    return f"{form(of['median'])}{bounds}"
