"""A design sheet: its prediction, its skeleton's run, and its drill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emulator.report import formats
from emulator.report.model import Axis, Curve, Drawing, Item, Mark, Scenario, Series, Text
from emulator.report.views import case, charts, common, drill, speedup
from emulator.units import format_time

_FAR = 0.15  # error of a prediction that a run points out


def finding(result: common.Result) -> str | None:
    """A sentence on the prediction, the error of its run and the recovery of its drill; None without a prediction."""
    prediction = result.get("prediction")
    if not prediction:
        return None
    name = (result.get("sheet") or {}).get("job", {}).get("name", "The design")
    step, p = format_time(prediction["step"]), prediction["p"]
    told = f"{name}: a step of {p} nodes takes {step}, S({p}) = {prediction['speedup']:.2f}"
    told += f", p* = {prediction['p_star']}" if prediction.get("p_star") else ""
    rows = (result.get("design_run") or {}).get("rows") or []
    if rows:
        last = rows[-1]
        off = common.off(last["predicted"], last["measured"])
        told += f"; run on {result['environment']['ranks']} ranks, the predicted time is off by {formats.off(off)}"
        told += f" (not judged: {result['design_run']['unjudged']})" if result["design_run"].get("unjudged") else ""
    one = result.get("drill")
    if one and one.get("recovery_seconds") is not None:
        told += f"; the drill recovered in {format_time(one['recovery_seconds'])}"
    return told + "."


def view(result: common.Result) -> Iterator[Item]:
    """The sheet's own prediction, then its run or drill."""
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
        errors = f"median error {formats.percent(past['median'])}, worst {formats.off(past['worst'])}"
        yield f"earlier predictions of {past['kind']}: {runs}, {errors}"
    if result.get("whiteboard"):
        yield Drawing("The design on a whiteboard", result["whiteboard"])
    yield from _speedup(prediction)
    yield from _by_term(result)
    run = result.get("design_run")
    if run:
        yield from (f"cut: {note}" for note in run["notes"])
        if run.get("inversions"):
            yield (f"approximate: {run['inversions']} messages of the run passed a shared card or link out of order, "
                   "which no price covers (without --simulate, --pace auto keeps the order)")  # fmt: skip
        if run["rows"]:
            yield from case.terms(run)
            if run.get("formula") and not run.get("whole"):
                first = format_time(run["formula"]["total"])
                yield f"formulas for the nodes of this run with all bytes, to first order: {first}"
            yield from _asked(prediction, run)
            if run.get("unjudged"):
                yield Text(run["unjudged"], lead="not judged: ")
    if result.get("drill"):
        yield from drill.view(result)
        priced, seen = result["priced_recovery"], result["drill"].get("recovery_seconds")
        measured = format_time(seen) if seen is not None else "none"
        yield f"recovery: measured {measured}, priced {format_time(priced)} ({result['priced_by']})"


def _speedup(prediction: common.Row) -> Iterator[Series | Scenario]:
    """S(p) by the sheet's own price; with adjustable terms if a speedup model gives the same price."""
    if one := prediction.get("model"):
        yield speedup.scenario("S(p)", one["form"], one["pattern"], one["t_comp"], one, one["bytes"], (), one)
    elif one := prediction.get("curve"):
        most, dominated = one["p"][-1], one["dominated"]
        marks = [Mark(prediction["p_star"], f"p* = {prediction['p_star']}")] if prediction["p_star"] else []
        marks += [Mark(dominated, "communication dominates", most)] if dominated else []
        curves = [Curve("S(p)", one["p"], one["speedup"], style="line"),
                  Curve("S = p", [1, most], [1, most], style="dotted")]  # fmt: skip
        about = f"As the sheet is priced: {prediction['origin']}. Dotted: S = p, without communication."
        yield Series("speedup", "S(p)", charts.NODES, charts.SPEEDUP, curves, marks, about=about)


def _asked(prediction: dict[str, Any], run: dict[str, Any]) -> Iterator[Item]:
    """The step that predict gives, and its error against a run from which nothing was cut, if that is large."""
    text = f"predict gives {format_time(prediction['step'])} for a step of {prediction['p']} nodes of the whole sheet"
    error = prediction["step"] / run["rows"][-1]["measured"] - 1
    if run.get("whole") and abs(error) > _FAR:
        text += f": {formats.off(error)} off the measured, more than {formats.percent(_FAR)}"
    yield text


def _by_term(result: common.Result) -> Iterator[Series]:
    """The predicted time of a step by term."""
    terms = {name: value for name, value in result["prediction"]["terms"].items() if value}
    if terms:
        bars = Curve("predicted", list(terms), list(terms.values()), style="bars")
        title = f"A step of {result['prediction']['p']} nodes by term, as predicted"
        yield Series("predicted-terms", title, Axis("term"), case.SECONDS, [bars])
