"""Views of the results of ``python -m faults``: drill, matrix, alarms, soak, trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from emulator.report import formats
from emulator.report.model import (
    Axis,
    Column,
    Curve,
    Detail,
    Item,
    Map,
    Row,
    Series,
    Table,
    Text,
    Verdict,
    grouped,
    spread,
)
from emulator.units import format_time

PHASES = {
    "detect": "until the first survivor learns of it",
    "agree": "until the survivors agree who is alive",
    "rebuild": "until every rank has its place",
    "restore": "until every rank has the state",
    "replay": "until the interrupted step is complete",
}
"""What the phases of a recovery mean, in their order."""

_BAR = 40  # characters of the timeline
_MOST_REPEATS = 24  # in a chart


def drill_finding(result: Mapping[str, Any]) -> str | None:
    """What failed, how the job recovered, and what it took."""
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


def matrix_finding(result: Mapping[str, Any]) -> str:
    """How many drills survived."""
    ran, survived = _survivors(result.get("matrix") or [])
    return f"{survived} of {ran} drills survived."


def alarms_finding(result: Mapping[str, Any]) -> str | None:
    """The quickest detector, and false alarms."""
    found = [one for one in result.get("alarms") or [] if one["detection_seconds"] is not None]
    if not found:
        return None
    best = min(found, key=lambda one: float(one["detection_seconds"]))
    false = sum(len(one["false_alarms"]) for one in result["alarms"])
    took = format_time(best["detection_seconds"])
    return (
        f"{best['detector']} is the quickest: {took} in {best['situation']}; {false} live ranks were suspected in all."
    )


def soak_finding(result: Mapping[str, Any]) -> str | None:
    """Kills and failures."""
    one = result.get("soak")
    return None if not one else f"{len(one['failed'])} failures in {one['kills']} kills of random ranks."


def trace_finding(result: Mapping[str, Any]) -> str | None:
    """The policy with the most goodput at the shortest mean time between failures."""
    runs = [run for run in (result.get("trace") or {}).get("runs") or [] if run["mtbf_s"] and not run["wrong"]]
    if not runs:
        return None
    least = min(float(run["mtbf_s"]) for run in runs)
    best = max((run for run in runs if run["mtbf_s"] == least), key=lambda run: float(run["goodput"]))
    return (
        f"Where failures come every {format_time(least)}, {best['policy']} has the most goodput: {best['goodput']:.1%}."
    )


def drill(result: Mapping[str, Any]) -> Iterator[Item]:
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
    deaths = "; ".join(
        f"{format_time(one['at'])}: {one['text']} (rank {one['place']})" for one in episode.get("deaths") or ()
    )
    total, at, rows = sum(phases.values()), 0.0, []
    scale = _BAR / total if total else 0.0
    for phase, seconds in phases.items():
        left, width = round(scale * at), max(1 if seconds else 0, round(scale * seconds))
        rows.append([phase, at, seconds, " " * left + "█" * width, PHASES.get(phase, "")])
        at += seconds
    known = [_lost(episode["lost_steps"])] if "lost_steps" in episode else []
    if episode.get("coordinator") is not None:
        known.append(f"rank {episode['coordinator']} coordinates")
    return Table(deaths, _TIMELINE, [*rows, ["total", None, total, "", ", ".join(known)]])


_TIMELINE = [
    Column("phase", left=True),
    Column("from", form=lambda seconds: "" if seconds is None else format_time(seconds)),
    Column("takes", form=format_time),
    Column("", left=True, priority=1),
    Column("meaning", left=True, priority=2),
]


def _lost(steps: int) -> str:
    return f"{steps} more steps done again" if steps else "no committed step lost"


def _ranks(episode: Row, title: str, number: int) -> Iterator[Series]:
    """The phases of each process, end to end from the first death; a dead one has none."""
    rows = episode.get("ranks") or ()
    phases = dict.fromkeys(phase for row in rows for phase in row["phases"])
    if not phases:
        return
    names = [f"process {row['process']}{'' if row['phases'] else ' (dead)'}" for row in rows]
    curves = [Curve(phase, names, [row["phases"].get(phase, 0.0) for row in rows], style="bars") for phase in phases]
    since = Axis.time("time since the first death", (sum(row["phases"].values()) for row in rows))
    deaths = "; ".join(death["text"] for death in episode["deaths"])
    yield Series(
        f"recovery-{number}", f"{title}{deaths}", Axis("process"), since, curves, stacked=True,
        about="; ".join(f"{phase}: {PHASES[phase]}" for phase in phases if phase in PHASES),
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
    """A median with its interval, and of how many, where there are several."""
    if of is None or of.get("n", 1) < 2:
        return format_time(of["median"] if of and median is None else median or 0.0)
    return f"median {_interval(of, format_time)} of {of['n']}"


def _interval(of: Row, form: Any) -> str:
    bounds = f" [{form(of['ci95'][0])}, {form(of['ci95'][1])}]" if of.get("ci95") else ""
    return f"{form(of['median'])}{bounds}"


def matrix(result: Mapping[str, Any]) -> Iterator[Item]:
    """A row for each fault, a column for each pattern and policy; then what was not run and what failed.

    ``matrix`` is a list of cells; ``scenarios`` says what its faults are, by name.
    """
    cells = result.get("matrix") or []
    title = "From the fault to the next complete step (steps lost), and the ranks that go on"
    jobs = [{**cell, "job": f"{cell['pattern']}\n{cell['recovery']}"} for cell in cells]
    yield _by_job(cells)
    tone = lambda cell: _bad(cell["outcome"] == "failed")  # noqa: E731
    yield Detail(Map.pivot(title, jobs, "fault", "job", form=_survived, tone=tone))
    for outcome, label in (("refused", "not run (-)"), ("failed", "FAILED")):
        some = [cell for cell in cells if cell["outcome"] == outcome]
        for why, these in grouped(some, "why").items():
            line = Text(f"  {label} {'; '.join(_named(cells, these))}: {why}", _bad(outcome == "failed"))
            yield line if line.tone else Detail(line)
    ran, survived = _survivors(cells)
    yield Text("", lead=f"{survived} of {ran} drills survived")
    yield from (Detail(f"  {name:9} {about}") for name, about in (result.get("scenarios") or {}).items())


def _by_job(cells: Sequence[Row]) -> Table:
    """A row for each pattern and policy: how many of its drills survived, and what recovery took."""
    rows = []
    for job, these in grouped(cells, _job).items():
        ran, survived = _survivors(these)
        took = sorted(
            (cell["drill"]["recovery_seconds"], cell["fault"])
            for cell in these
            if cell["drill"] is not None and cell["drill"]["recovery_seconds"] is not None
        )
        middle, (slowest, fault) = (took[len(took) // 2][0], took[-1]) if took else (None, (None, ""))
        rows.append([job, f"{survived} of {ran}", middle, slowest, fault])
    columns = [
        Column("job", left=True),
        Column("survived"),
        Column("median recovery", form=formats.time),
        Column("slowest", form=formats.time),
        Column("of", left=True),
    ]
    return Table("Recoveries, over all faults", columns, rows)


def _survivors(cells: Sequence[Row]) -> tuple[int, int]:
    """Drills that ran, and those of them that survived."""
    ran = [cell for cell in cells if cell["drill"] is not None or cell["outcome"] == "failed"]
    return len(ran), sum(cell["outcome"] != "failed" for cell in ran)


def _named(cells: Sequence[Row], some: Sequence[Row]) -> Iterator[str]:
    """Name some cells of a matrix job by job: with their faults, where these are not all of the job's."""
    every = grouped(cells, _job)
    for job, these in grouped(some, _job).items():
        faults = ", ".join(cell["fault"] for cell in these)
        yield job + ("" if len(these) == len(every[job]) else f", {faults}")


def _job(cell: Row) -> str:
    return f"{cell['pattern']} by {cell['recovery']}"


def _survived(cell: Row) -> str:
    if cell["outcome"] == "failed":
        return "FAILED"
    one = cell["drill"]
    if one is None:
        return "-"
    seconds, after = one["recovery_seconds"], one["ranks_after"]
    lost = f" -{one['lost_steps']}" if one["lost_steps"] else ""
    return f"fine ({after})" if seconds is None else f"{format_time(seconds)}{lost} ({after})"


def _bad(wrong: object) -> str:
    return "bad" if wrong else ""


def alarms(result: Mapping[str, Any]) -> Iterator[Item]:
    """A row for each detector, a column for each situation; whether a live rank was ended.

    ``alarms`` is a list of ``{"detector", "situation", "limit_seconds", "detection_seconds", "false_alarms",
    "wrong"}``; ``situations`` says by name what they are: ``{"about", "real"}``, real where a rank does die.
    """
    found, situations = result.get("alarms") or [], result.get("situations") or {}
    title = "Time to detection, and live ranks that were killed; -: no rank was suspected"
    yield Map.pivot(title, found, "detector", "situation", form=_sighted, tone=lambda one: _bad(one["wrong"]))
    limits = {one["situation"]: format_time(one["limit_seconds"]) for one in found}
    yield Detail("limits of silence: " + ", ".join(f"{name} {limit}" for name, limit in limits.items()))
    yield from (Detail(f"  {name:9} {one['about']}") for name, one in situations.items())
    yield from (
        Text(f"  wrong     {one['situation']} under {one['detector']}: {one['wrong']}", "bad")
        for one in found
        if one["wrong"]
    )
    harmless = [one for one in found if not situations.get(one["situation"], {"real": True})["real"]]
    if harmless:
        ended = sum(len(one["false_alarms"]) for one in harmless)
        yield Verdict(not ended, f"{ended} live ranks were ended in {len(harmless)} jobs without a failure")


def _sighted(one: Row) -> str:
    if one["wrong"]:
        return "wrong"
    seen = [] if one["detection_seconds"] is None else [format_time(one["detection_seconds"])]
    seen += [f"{len(one['false_alarms'])} false"] if one["false_alarms"] else []
    return ", ".join(seen) or "-"


def soak(result: Mapping[str, Any]) -> Iterator[Item]:
    """Counts, how long recoveries took, and what no failure in so many kills says about the failure rate."""
    one = result.get("soak")
    if not one:
        return
    yield (
        f"{one['kills']} kills in {one['launches']} launches: {one['hangs']} hangs, {one['wrong']} wrong results, "
        f"{one['leftovers']} with leftovers, {len(one['failed'])} failed"
    )
    of = grouped(one["recoveries"], _job)
    if of:
        ends = {job: sorted(each["seconds"] for each in these) for job, these in of.items()}
        yield Table("Recoveries", _RECOVERIES, [[job, len(those), *_quantiles(those)] for job, those in ends.items()])
        curves = [
            Curve(job, those, [(i + 1) / len(those) for i in range(len(those))], style="line")
            for job, those in ends.items()
        ]
        time = Axis("time of a recovery", "s", log=True, form=format_time)
        share = Axis("share of the recoveries")
        yield Series("recoveries", "Recoveries that took no longer", time, share, curves)
    yield from (Text(f"FAILED: {line}", "bad") for line in one["failed"])
    if one["failure_rate_below"] is not None:
        bound = one["failure_rate_below"]
        yield f"0 of {one['kills']} failed: below {bound:.2%} per kill with 95 % confidence"


_RECOVERIES = [
    Column("job", left=True),
    Column("recoveries", form=formats.count),
    *(Column(name, form=formats.time) for name in ("median", "p95", "worst")),
]


def _quantiles(seconds: Sequence[float]) -> list[float]:
    from emulator.measure import statistics

    of = statistics.summary(seconds)
    return [of["median"], of["p95"], max(seconds)]


def trace(result: Mapping[str, Any]) -> Iterator[Item]:
    """Goodput, a row for each policy and a column for each MTBF; the checkpoint intervals beside theory's."""
    one = result.get("trace")
    if not one:
        return
    runs = [{**run, "mtbf": _mtbf(run["mtbf_s"])} for run in one["runs"]]
    tone = lambda run: _bad(run["wrong"])  # noqa: E731
    yield Map.pivot("Goodput (deaths)", runs, "policy", "mtbf", form=_goodput, tone=tone)
    for crossing in one.get("crossovers") or ():
        rare, frequent = crossing["rare"], crossing["frequent"]
        yield f"  above an MTBF of {format_time(crossing['mtbf_s'])} {rare} is ahead of {frequent}, below it {frequent}"
    if not one.get("crossovers"):
        yield "  no two policies change places between these MTBFs"
    yield from (
        Text(f"  wrong {run['policy']} at {run['mtbf']}: {run['wrong']}", "bad") for run in runs if run["wrong"]
    )
    yield from _goodput_curves(runs)
    found = one.get("intervals")
    if not found:
        return
    cost = format_time(found["checkpoint_seconds"])
    columns = [
        Column("every", form=lambda steps: f"{steps} steps"),
        Column("checkpoints take", "saving_s", formats.time),
        Column("steps done again", "redone_steps"),
        Column("lost to both", "lost_seconds", formats.time),
        Column("goodput", _goodput),
    ]
    title = f"restart, {_mtbf(found['mtbf_seconds'])}, a checkpoint takes {cost}"
    yield Table.of(title, columns, found["tried"])
    best, young, daly = found["best_steps"], found["young_steps"], found["daly_steps"]
    yield f"  best of these: every {best} steps; Young says {young}, Daly {daly}"


def _goodput_curves(runs: Sequence[Row]) -> Iterator[Series]:
    failing = sorted((run for run in runs if run["mtbf_s"]), key=lambda run: float(run["mtbf_s"]))
    curves = [
        replace(Curve.line(name, those, "mtbf_s", "goodput"), style="joined")
        for name, those in grouped(failing, "policy").items()
    ]
    if curves:
        mtbf = Axis("mean time between failures", "s", log=True, form=format_time)
        yield Series("goodput", "Goodput of each policy", mtbf, Axis("goodput", "%", 100), curves)


def _mtbf(seconds: float | None) -> str:
    return "no failure" if seconds is None else f"MTBF {format_time(seconds)}"


def _goodput(run: Row) -> str:
    return "wrong" if run["wrong"] else f"{run['goodput']:.1%} ({run['failures']})"
