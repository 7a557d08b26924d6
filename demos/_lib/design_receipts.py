"""Predictions of design sheets as run folders, joined with the runs and drills that came later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from emulator import results
from emulator.design.sheet import Sheet
from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.units import format_time

Row = dict[str, Any]


def kept(sheet: Sheet, prediction: Row) -> Row:
    """The fields `sheet` and `prediction` of a result."""
    return {"sheet": sheet.model_dump(mode="json"), "prediction": prediction}


def keep_prediction(sheet: Sheet, prediction: Row, out: str | None = None) -> Path:
    """Leave a prediction in a run folder of its own; returns the result file's path."""
    folder = results.run_folder("design", out)
    record = results.new("design", ["python", *mpirun.this_program()]) | kept(sheet, prediction)
    path = folder / results.RESULT
    if problem := results.keep(record, path):
        raise problem
    return path


def rows(folder: str) -> tuple[list[Row], int]:
    """A row for each measured prediction under a folder, oldest first, and the predictions that nobody has run.

    A row has ``name``, ``what`` (pattern, or recovery and its policy), ``p``, ``predicted``, ``measured``, ``error``
    (predicted over measured, minus 1) and ``before`` (whether `predict` was asked before the run).

    Raises
    ------
    UsageError
        The folder holds something else than runs of demos.design.
    """
    found = sorted((_read(place) for place in _runs(folder)), key=lambda one: str(one["started"]))
    if not found:
        raise UsageError(f"{folder} holds no run of demos.design: name the folder of its runs, such as runs/design")
    asked: dict[str, int] = {}
    made: list[Row] = []
    run: set[str] = set()
    for one in found:
        sheet = json.dumps(one["sheet"], sort_keys=True)
        measured = _measured(one)
        if not measured:
            asked[sheet] = asked.get(sheet, 0) + 1
            continue
        run.add(sheet)
        made += [{"name": one["sheet"]["job"]["name"], "before": sheet in asked, **row} for row in measured]
    return made, sum(count for sheet, count in asked.items() if sheet not in run)


def _runs(folder: str) -> Iterator[Path]:
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{folder} is no folder of runs: name one, such as runs/design")
    if (root / results.RESULT).is_file():
        yield root
        return
    for place in sorted(root.iterdir()):
        if place.is_symlink() or (place.is_dir() and not any(place.iterdir())):
            continue  # `latest`, and a run that was refused
        if not (place / results.RESULT).is_file():
            raise UsageError(f"{place} is no run folder of demos.design: name a folder that holds nothing else")
        yield place


def _read(place: Path) -> Row:
    one = results.load(place)
    if one["demo"] != "design" or not one.get("sheet") or not one.get("prediction"):
        raise UsageError(f"{place} is a run of demos.{one['demo']} and no design sheet's: name runs/design or the like")
    return one


def _measured(one: Row) -> list[Row]:
    made = []
    run, drill = one.get("design_run"), one.get("drill")
    if run and run["rows"]:
        total = run["rows"][-1]
        made.append(_row("+".join(run["patterns"]), run["p"], total["predicted"], total["measured"]))
    if drill and drill["recovery_seconds"]:
        what = f"recovery by {drill['recovery']}"
        made.append(_row(what, drill["ranks"], one["priced_recovery"], drill["recovery_seconds"]))
    return made


def _row(what: str, p: int, predicted: float, measured: float) -> Row:
    return {"what": what, "p": p, "predicted": predicted, "measured": measured, "error": predicted / measured - 1}


def lines(made: Sequence[Row], waiting: int) -> Iterator[str]:
    """The rows, and median and worst error of each pattern."""
    if made:
        yield f"{'design':<24} {'what':<36} {'p':>4} {'predicted':>12} {'measured':>12} {'off by':>8}"
    for row in made:
        yield (f"{row['name'][:24]:<24} {row['what'][:36]:<36} {row['p']:>4} {format_time(row['predicted']):>12} "
               f"{format_time(row['measured']):>12} {row['error']:>+8.1%}")  # fmt: skip
    for what in dict.fromkeys(row["what"] for row in made):
        errors = [row["error"] for row in made if row["what"] == what]
        worst = max(errors, key=abs)
        yield f"{what}: {len(errors)} run{'s' * (len(errors) > 1)}, median error " + (
            f"{median(map(abs, errors)):.1%}, worst {worst:+.1%}"
        )
    yield f"predictions that were not run: {waiting}"
