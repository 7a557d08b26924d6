"""Views of campaigns of drills: matrix, alarms, soak, failure trace."""

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
)
from emulator.report.views import common
from emulator.units import format_time


def matrix_finding(result: Mapping[str, Any]) -> str:
    """A sentence on how many drills survived, and on the slowest recovery."""
    cells = result.get("matrix") or []
    ran, survived = _survivors(cells)
    rows = [row for row in _by_job(cells).rows if row[2] is not None]
    job, _, _, took, fault = max(rows, key=lambda row: float(row[3]), default=("", "", None, None, ""))
    slowest = f"; the slowest recovery took {format_time(took)}, {job} after {fault}" if took is not None else ""
    return f"{survived} of {ran} drills survived{slowest}."


def alarms_finding(result: Mapping[str, Any]) -> str | None:
    """A sentence on the fastest detector and on false alarms; None if no detector saw a failure."""
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
    """A sentence on the numbers of kills and failures; None without a soak."""
    one = result.get("soak")
    return (
        None
        if not one
        else f"{_count(len(one['failed']), 'failure')} in {_count(one['kills'], 'kill')} of random ranks."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def trace_finding(result: Mapping[str, Any]) -> str | None:
    """A sentence on the policy with the highest goodput at the shortest MTBF; None without runs with failures."""
    runs = [run for run in (result.get("trace") or {}).get("runs") or [] if run["mtbf_s"] and not run["wrong"]]
    if not runs:
        return None
    least = min(float(run["mtbf_s"]) for run in runs)
    best = max((run for run in runs if run["mtbf_s"] == least), key=lambda run: float(run["goodput"]))
    return (
        f"Where failures come every {format_time(least)}, {best['policy']} has the most goodput: {best['goodput']:.1%}."
    )


def matrix(result: Mapping[str, Any]) -> Iterator[Item]:
    """A row for each fault, a column for each pattern and policy; then what was not run and what failed.

    ``matrix`` is a list of cells; ``scenarios`` says what its faults are, by name.
    """
    cells = result.get("matrix") or []
    title = "From the fault to the next complete step (steps lost), and the ranks that go on"
    rows = [{**cell, "job": f"{cell['pattern']}\n{cell['recovery']}"} for cell in cells]
    jobs = _by_job(cells)
    yield jobs
    tone = lambda cell: _bad(cell["outcome"] == "failed")  # noqa: E731
    yield Detail(Map.pivot(title, rows, "fault", "job", form=_survived, tone=tone))
    for outcome, label in (("refused", "not run (-)"), ("failed", "FAILED")):
        some = [cell for cell in cells if cell["outcome"] == outcome]
        for why, these in grouped(some, "why").items():
            line = Text(f"  {label} {'; '.join(_named(cells, these))}: {why}", _bad(outcome == "failed"))
            yield line if line.tone else Detail(line)
    ran, survived = _survivors(cells)
    yield Text("", lead=f"{survived} of {ran} drills survived")
    yield from common.given(result)
    yield from (Detail(f"  {name}: {about}") for name, about in (result.get("scenarios") or {}).items())
    known = [row for row in jobs.rows if row[2] is not None]
    if known:
        names, axis = [row[0] for row in known], Axis.time("time", (row[3] for row in known), form=format_time)
        bars = [Curve(name, names, [row[at] for row in known], style="bars") for at, name in _RECOVERED.items()]
        yield Series("recoveries", "Recoveries, over all faults", Axis("job"), axis, bars)


_RECOVERED = {2: "median", 3: "slowest"}  # columns of the table of jobs


def _by_job(cells: Sequence[Row]) -> Table:
    """A row for each pattern and policy: how many drills survived, and the recovery times."""
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
    """How many drills ran, and how many of them survived."""
    ran = [cell for cell in cells if cell["drill"] is not None or cell["outcome"] == "failed"]
    return len(ran), sum(cell["outcome"] != "failed" for cell in ran)


def _named(cells: Sequence[Row], some: Sequence[Row]) -> Iterator[str]:
    """Name cells of a matrix by job, with their faults unless these are all of the job's."""
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
    """A row for each detector, a column for each situation; whether a live rank was killed.

    ``alarms`` is a list of ``{"detector", "situation", "limit_seconds", "detection_seconds", "false_alarms",
    "wrong"}``; ``situations`` says by name what they are: ``{"about", "real"}``, real where a rank does die.
    """
    found, situations = result.get("alarms") or [], result.get("situations") or {}
    title = "Time to detection, and live ranks that were killed; -: no rank was suspected"
    yield Map.pivot(title, found, "detector", "situation", form=_sighted, tone=lambda one: _bad(one["wrong"]))
    limits = {one["situation"]: format_time(one["limit_seconds"]) for one in found}
    yield Detail("limits of silence: " + ", ".join(f"{name} {limit}" for name, limit in limits.items()))
    yield from (Detail(f"  {name}: {one['about']}") for name, one in situations.items())
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
    """Counts, recovery times, and the upper bound of the failure rate."""
    one = result.get("soak")
    if not one:
        return
    yield (
        f"{_count(one['kills'], 'kill')} in {one['launches']} launch{'es' * (one['launches'] != 1)}: "
        f"{one['hangs']} hangs, {one['wrong']} wrong results, {one['leftovers']} with leftovers, "
        f"{len(one['failed'])} failed"
    )
    of = grouped(one["recoveries"], _job)
    if of:
        ends = {job: sorted(each["seconds"] for each in these) for job, these in of.items()}
        yield Table("Recoveries", _RECOVERIES, [[job, len(those), *_quantiles(those)] for job, those in ends.items()])
        curves = [
            Curve(job, those, [(i + 1) / len(those) for i in range(len(those))], style="line")
            for job, those in ends.items()
            if len(those) > 1
        ]
        time = Axis("time of a recovery", "s", log=True, form=format_time)
        share = Axis("share of the recoveries")
        if curves:
            yield Series("recoveries", "Share of recoveries within a time", time, share, curves)
    yield from (Text(f"FAILED: {line}", "bad") for line in one["failed"])
    if one["failure_rate_below"] is not None:
        bound = one["failure_rate_below"]
        yield f"0 of {one['kills']} failed: below {bound:.2%} per kill with 95 % confidence"
    yield from common.given(result)


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
    """Goodput, a row for each policy and a column for each MTBF; measured and theoretical checkpoint intervals."""
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
