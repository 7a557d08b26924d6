"""Predictions of design sheets in run folders, matched with later runs and drills."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from emulator import design, results
from emulator.design.sheets.drawing import draw
from emulator.design.sheets.sheet import Sheet
from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.report import page
from emulator.report.model import Column, Item, Table
from emulator.units import format_time

Row = dict[str, Any]
_RECENT = 200  # entries of a folder that a prediction looks at


def kept(sheet: Sheet, prediction: Row) -> Row:
    """The fields `sheet`, `prediction` and `whiteboard` of a result.

    The whiteboard is the sheet's own: there is none of a prediction with the terms of a benchmark.
    """
    priced = design.predict(sheet)
    own = priced.facts.origin == prediction["origin"]
    board = draw(priced, min(prediction["p"], sheet.job.most)) if own else None
    return {"sheet": sheet.model_dump(mode="json"), "prediction": prediction, "whiteboard": board}


def keep_prediction(sheet: Sheet, prediction: Row, out: str | None = None) -> tuple[Path, Row | None]:
    """Save a prediction in a run folder of its own, with the errors of earlier similar ones.

    Returns the result file's path and the `history`.
    """
    folder = results.run_folder("design", out)
    kind = "+".join(sorted({flow["pattern"] for flow in prediction["design"]["flows"]}))
    past = history(folder.parent, kind)
    record = results.new("design", ["python", *mpirun.this_program()]) | kept(sheet, prediction)
    path = folder / results.RESULT
    record |= {"history": past}
    if problem := results.keep(record, path) or page.keep(folder, record):
        raise problem
    return path, past


def rows(folder: str) -> tuple[list[Row], int, int]:
    """A row for each measured prediction under a folder, oldest first; unrun predictions; other entries.

    A row has ``name``, ``what`` (pattern, or recovery and its policy), ``p``, ``predicted``, ``measured``, ``error``
    (predicted over measured, minus 1), ``asked`` (what `predict` gives, of a run without a cut)
    and ``before`` (whether `predict` was asked before the run).

    Raises
    ------
    UsageError
        The folder holds no run of demos.design.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{folder} is no folder of runs: name one, such as runs/design")
    read = [_read(place) for place in _places(root)]
    found = sorted((one for one in read if one is not None), key=lambda one: str(one["started"]))
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
    return made, sum(count for sheet, count in asked.items() if sheet not in run), len(read) - len(found)


def history(folder: Path, kind: str) -> Row | None:
    """Number of runs of a kind (by patterns) under a folder, with median and worst error; None without any.

    The latest entries are read, and not validated: this is part of every prediction.
    """
    errors = []
    for place in _places(folder)[-_RECENT:] if folder.is_dir() else []:
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # another program's file
            one = json.loads((place / results.RESULT).read_text(encoding="utf-8"))
            if one["demo"] == "design" and one.get("prediction"):
                errors += [row["error"] for row in _measured(one) if row["what"] == kind]
    return {"kind": kind, **_summary(errors)} if errors else None


def _summary(errors: Sequence[float]) -> Row:
    return {"runs": len(errors), "median": median(map(abs, errors)), "worst": max(errors, key=abs)}


def _places(root: Path) -> list[Path]:
    """The run folder itself, or the entries of a folder of runs, except `latest` and empty folders."""
    if (root / results.RESULT).is_file():
        return [root]
    return [place for place in sorted(root.iterdir())
            if not place.is_symlink() and not (place.is_dir() and not any(place.iterdir()))]  # fmt: skip


def _read(place: Path) -> Row | None:
    """The result of a run of a design sheet; None for anything else."""
    try:
        one = results.load(place) if place.is_dir() else None
    except UsageError:
        return None
    ours = one is not None and one["demo"] == "design" and one.get("sheet") and one.get("prediction")
    return one if ours else None


def _measured(one: Row) -> list[Row]:
    made = []
    run, drill = one.get("design_run"), one.get("drill")
    if run and run["rows"]:
        total = run["rows"][-1]
        row = _row("+".join(sorted(set(run["patterns"]))), run["p"], total["predicted"], total["measured"])
        made.append(row | {"asked": one["prediction"]["step"] if run.get("whole") else None})
    if drill and drill["recovery_seconds"]:
        what = f"recovery by {drill['recovery']}"
        made.append(_row(what, drill["ranks"], one["priced_recovery"], drill["recovery_seconds"]))
    return made


def _row(what: str, p: int, predicted: float, measured: float) -> Row:
    return {"what": what, "p": p, "predicted": predicted, "measured": measured, "error": predicted / measured - 1}


def view(made: Sequence[Row], waiting: int, skipped: int) -> Iterator[Item]:
    """The rows, and the median and worst error by pattern."""
    if made:
        columns = [
            Column("design", lambda row: row["name"], left=True),
            Column("what", lambda row: row["what"], left=True),
            Column("p", lambda row: row["p"]),
            Column("predict", lambda row: row.get("asked"), lambda value: format_time(value) if value else "-"),
            Column("predicted", lambda row: row["predicted"], format_time),
            Column("measured", lambda row: row["measured"], format_time),
            Column("off by", lambda row: row["error"], "{:+.1%}".format),
        ]
        yield Table.of("", columns, made)
    for what in dict.fromkeys(row["what"] for row in made):
        yield f"{what}: {told(_summary([row['error'] for row in made if row['what'] == what]))}"
    yield f"predictions that were not run: {waiting}"
    if skipped:
        yield f"entries that are no run of demos.design, skipped: {skipped}"


def told(summary: Row) -> str:
    """A text with number of runs, median and worst error."""
    runs = f"{summary['runs']} run" + "s" * (summary["runs"] > 1)
    return f"{runs}, median error {summary['median']:.1%}, worst {summary['worst']:+.1%}"
