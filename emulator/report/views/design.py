"""A design sheet: its prediction, the run of its skeleton beside it, and its drill."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.report.model import Item
from emulator.report.views import case, common
from emulator.units import format_time


def view(result: common.Result) -> Iterator[Item]:
    """The sheet's own prediction, then what was run or drilled of it."""
    prediction, job = result.get("prediction"), (result.get("sheet") or {}).get("job", {})
    if not prediction:
        return
    yield f"{job.get('name', 'design')}: {job.get('sentence', '')}"
    knee = prediction.get("knee") or "none"
    yield (
        f"the sheet: S({prediction['p']}) = {prediction['speedup']:.2f}, a step {format_time(prediction['step'])}, "
        f"p* = {prediction.get('p_star') or 'infeasible'}, nodes to ask for {knee}; {prediction['origin']}"
    )
    if past := result.get("history"):
        runs = f"{past['runs']} run" + "s" * (past["runs"] > 1)
        errors = f"median error {past['median']:.1%}, worst {past['worst']:+.1%}"
        yield f"earlier predictions of {past['kind']}: {runs}, {errors}"
    run = result.get("design_run")
    if run:
        yield from (f"cut: {note}" for note in run["notes"])
        if run["rows"]:
            yield from case.terms(run)
            if run.get("formula"):
                first = run["formula"]["total"]
                yield f"formula of predict for the uncut bytes at this p, to first order: {format_time(first)}"
    if result.get("drill"):
        from emulator.report import drills

        yield from drills.drill(result)
        priced, seen = result["priced_recovery"], result["drill"].get("recovery_seconds")
        measured = format_time(seen) if seen is not None else "none"
        yield f"recovery: measured {measured}, priced {format_time(priced)} ({result['priced_by']})"
