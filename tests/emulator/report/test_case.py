"""The view of a case study's terms: how far off each is, and what has no verdict."""

from __future__ import annotations

import pytest

from emulator.report.model import Table
from emulator.report.views import case


def test_an_error_relative_to_next_to_nothing_is_not_shown() -> None:
    rows = [{"term": "waiting", "measured": 4e-7, "predicted": 2.4e-4, "share": 1.5e-5},
            {"term": "total", "measured": 0.026, "predicted": 0.0273, "share": 1.0}]  # fmt: skip
    (table,) = case.terms({"p": 7, "ranks": 8, "patterns": ["parameter-server"], "rows": rows})
    assert isinstance(table, Table)
    assert [row[3] for row in table.rows] == [None, pytest.approx(0.05)]
    assert any("no verdict" in note for note in table.notes)
