"""Results of ``python -m faults`` as they are printed, from the result file alone: drill, matrix, alarms, trace."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emulator.report import tables
from emulator.units import format_time

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Row = Mapping[str, Any]

KEYS = ("drill", "matrix", "alarms", "trace")
"""The fields of a result that are printed here."""

PHASES = {
    "detect": "until the first survivor is told",
    "agree": "until all know who lives",
    "rebuild": "until everybody has a place",
    "restore": "until everybody has the state",
    "replay": "until the interrupted step is complete",
}
"""What the phases of a recovery mean, in their order."""

_BAR = 40
_MANY = 8  # columns; more stand closer


def parts(result: Row) -> Iterator[Any]:
    """Give strings and rich tables of what a result has of drills, matrices, alarms and traces."""
    if result.get("drill"):
        yield from _drill(result["drill"])
    if result.get("matrix"):
        yield from _matrix(result["matrix"])
    if result.get("alarms"):
        yield from _alarms(result["alarms"])
    if result.get("trace"):
        yield from _trace(result["trace"])


def _drill(drill: Row) -> Iterator[Any]:
    """The timeline (of several repeats the medians), what it cost, and every check."""
    several = len(drill["repeats"]) > 1
    yield "; ".join(fault["text"] + ("" if fault["fired"] else " (did not fire)") for fault in drill["faults"])
    if drill["phases"] and sum(drill["phases"].values()):
        if several:
            yield f"medians of {len(drill['repeats'])} repeats"
        yield _timeline(drill["phases"])
    lost = f"{drill['lost_steps']} more steps done again" if drill["lost_steps"] else "no committed step lost"
    if drill["recovery_seconds"] is not None:
        yield f"recovery: {_spread(drill.get('recovery_spread'), drill['recovery_seconds'])}, {lost}"
    rates = drill.get("throughput") or {}
    if rates.get("before") and rates.get("after"):
        yield f"steps per second: {rates['before']:.0f} before, {rates['after']:.0f} after"
    cost = drill.get("overhead") or {}
    if cost.get("fault_free_seconds") and cost.get("drill_seconds"):
        whole, free = format_time(cost["drill_seconds"]), format_time(cost["fault_free_seconds"])
        yield f"whole job: {whole}, without faults {free}"
    for name, check in (drill.get("checks") or {}).items():
        mark = "[green]ok    [/]" if check["ok"] else "[red]FAILED[/]"
        yield f"  {mark} {name:13} {check['seen']}"
    what = f"{drill['pattern']} by {drill['recovery']}: {drill['ranks']} ranks, {drill['ranks_after']} after"
    if drill["outcome"] == "recovered":
        yield f"[bold]recovered[/] {what}"
    else:
        at = drill.get("failed_at") or {}
        yield f"[bold red]not recovered[/] {what}" + (f"; at phase {at['phase']}: {at['why']}" if at else "")


def _timeline(phases: Row) -> "Table":
    """A bar for each phase on the time since the first death."""
    table = _table(("phase", "from", "takes", "", ""), right=(1, 2))
    total, at = sum(phases.values()), 0.0
    for phase in [*(name for name in PHASES if name in phases), *(name for name in phases if name not in PHASES)]:
        seconds = phases[phase]
        left, width = round(_BAR * at / total), max(1 if seconds else 0, round(_BAR * seconds / total))
        bar = " " * left + "█" * width
        table.add_row(phase, format_time(at), format_time(seconds), bar, PHASES.get(phase, ""))
        at += seconds
    table.add_row("total", "", format_time(total), "", "")
    return table


def _spread(of: Row | None, median: float) -> str:
    if of is None or of.get("n", 1) < 2:
        return format_time(median)
    bounds = f" [{format_time(of['ci95'][0])}, {format_time(of['ci95'][1])}]" if of.get("ci95") else ""
    return f"median {format_time(median)}{bounds} of {of['n']}"


def _matrix(cells: Sequence[Row]) -> Iterator[Any]:
    title = "From the fault to the next complete step, and the ranks that go on"
    jobs = [{**cell, "job": f"{cell['pattern']}\n{cell['recovery']}"} for cell in cells]
    yield pivot(jobs, ("fault",), "job", _survived, title)
    for outcome, label in (("refused", "not run (-)"), ("failed", "[red]FAILED[/]")):
        some = [cell for cell in cells if cell["outcome"] == outcome]
        for why in dict.fromkeys(cell["why"] for cell in some):
            yield f"  {label} {'; '.join(_named(cells, [c for c in some if c['why'] == why]))}: {why}"
    ran = [cell for cell in cells if cell["drill"] is not None or cell["outcome"] == "failed"]
    survived = sum(cell["outcome"] != "failed" for cell in ran)
    yield f"[bold]{survived} of {len(ran)} drills survived[/]"


def _named(cells: Sequence[Row], some: Sequence[Row]) -> Iterator[str]:
    """Name some cells of a matrix job by job: with their faults, where these are not all of the job's."""
    of: dict[tuple[str, str], list[str]] = {}
    for cell in some:
        of.setdefault((cell["pattern"], cell["recovery"]), []).append(cell["fault"])
    for (pattern, recovery), faults in of.items():
        every = [c["fault"] for c in cells if (c["pattern"], c["recovery"]) == (pattern, recovery)]
        yield f"{pattern} by {recovery}" + ("" if faults == every else f", {', '.join(faults)}")


def _survived(cell: Row) -> str:
    drill = cell["drill"]
    if cell["outcome"] == "failed":
        return "[red]FAILED[/]"
    if drill is None:
        return "-"
    seconds, after = drill["recovery_seconds"], drill["ranks_after"]
    lost = f" -{drill['lost_steps']}" if drill["lost_steps"] else ""
    return f"fine ({after})" if seconds is None else f"{format_time(seconds)}{lost} ({after})"


def _alarms(sightings: Sequence[Row]) -> Iterator[Any]:
    title = "Time to detection, and living ranks given up; -: nobody was suspected"
    yield pivot(sightings, ("detector",), "situation", _sighted, title)
    limits = {one["situation"]: format_time(one["limit_seconds"]) for one in sightings}
    yield "limits of silence: " + ", ".join(f"{name} {limit}" for name, limit in limits.items())
    yield from (
        f"  [red]wrong[/] {one['situation']} under {one['detector']}: {one['wrong']}"
        for one in sightings
        if one["wrong"]
    )


def _sighted(one: Row) -> str:
    if one["wrong"]:
        return "[red]wrong[/]"
    seen = [] if one["detection_seconds"] is None else [format_time(one["detection_seconds"])]
    seen += [f"{len(one['false_alarms'])} false"] if one["false_alarms"] else []
    return ", ".join(seen) or "-"


def _trace(trace: Row) -> Iterator[Any]:
    runs = [{**run, "mtbf": _mtbf(run["mtbf_s"])} for run in trace["runs"]]
    yield pivot(runs, ("policy",), "mtbf", _goodput, "Goodput (deaths)")
    for one in trace.get("crossovers") or ():
        yield (
            f"  above an MTBF of {format_time(one['mtbf_s'])} {one['rare']} is ahead of {one['frequent']}, below it "
            f"{one['frequent']}"
        )
    if not trace.get("crossovers"):
        yield "  no two policies change places between these MTBFs"
    yield from (f"  [red]wrong[/] {run['policy']} at {run['mtbf']}: {run['wrong']}" for run in runs if run["wrong"])
    found = trace.get("intervals")
    if not found:
        return
    cost = format_time(found["checkpoint_seconds"])
    title = f"restart, {_mtbf(found['mtbf_seconds'])}, a checkpoint takes {cost}"
    table = _table(("every", "checkpoints take", "steps done again", "lost to both", "goodput"), right=range(5))
    for one in found["tried"]:
        table.add_row(
            f"{one['every']} steps", format_time(one["saving_s"]), str(one["redone_steps"]),
            format_time(one["lost_seconds"]), _goodput(one),
        )  # fmt: skip
    yield tables.titled(title, table)
    best, young, daly = found["best_steps"], found["young_steps"], found["daly_steps"]
    yield f"  best of these: every {best} steps; Young says {young}, Daly {daly}"


def _mtbf(seconds: float | None) -> str:
    return "no failure" if seconds is None else f"MTBF {format_time(seconds)}"


def _goodput(run: Row) -> str:
    return "[red]wrong[/]" if run["wrong"] else f"{run['goodput']:.1%} ({run['failures']})"


def pivot(rows: Sequence[Row], down: Sequence[str], across: str, cell: Callable[[Row], str], title: str) -> "Group":
    """Make a table with a line for each combination of the fields `down` and a column for each value of `across`."""
    columns = list(dict.fromkeys(row[across] for row in rows))
    start = len(down)
    table = _table((*down, *columns), right=range(start, start + len(columns)))
    for line in dict.fromkeys(tuple(row[name] for name in down) for row in rows):
        these = {row[across]: row for row in rows if tuple(row[name] for name in down) == line}
        table.add_row(*line, *(cell(these[name]) if name in these else "" for name in columns))
    return tables.titled(title, table)


def _table(columns: Sequence[str], right: Sequence[int]) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 1 if len(columns) > _MANY else 2, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index in right else "left", no_wrap=True)
    return table
