"""The screen of a case study: lines, tables and verdicts that rank 0 adds to the result and prints at once.

Values stay raw in the result file; `emulator.report.views.case` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emulator.run.demo_run import Run


def text(run: Run, words: str) -> None:
    """Add a line or paragraph."""
    _add(run, {"text": words})


def table(
    run: Run, title: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]], notes: Sequence[str] = ()
) -> None:
    """Add a table; `columns` maps each heading to its format, one of `emulator.report.views.case.FORMS`."""
    _add(run, {"title": title, "columns": dict(columns), "rows": [list(row) for row in rows], "notes": list(notes)})


def verdict(run: Run, passed: bool, words: str) -> None:
    """Add whether something holds; if not, the run fails."""
    _add(run, {"passed": bool(passed), "text": words})
    if not passed and run.rank == 0:
        run.fail(words)


def terms(run: Run, comparison: dict[str, Any] | None) -> None:
    """Add the result of `demos._lib.cases.terms.compare`: measured and predicted terms of a step, and bytes."""
    if comparison is not None:
        _add(run, {"terms": comparison})


def _add(run: Run, part: dict[str, Any]) -> None:
    if run.rank == 0:
        run.extra.setdefault("case", []).append(part)
        run.show()
