"""The view of a case study's terms: how far off each is, and what has no verdict."""

from __future__ import annotations

import pytest

from emulator.report.model import Series, Table
from emulator.report.views import case


def test_an_error_relative_to_next_to_nothing_is_not_shown() -> None:
    rows = [{"term": "waiting", "measured": 4e-7, "predicted": 2.4e-4, "share": 1.5e-5},
            {"term": "total", "measured": 0.026, "predicted": 0.0273, "share": 1.0}]  # fmt: skip
    table, chart = case.terms({"p": 7, "ranks": 8, "patterns": ["parameter-server"], "rows": rows})
    assert isinstance(table, Table)
    assert isinstance(chart, Series)
    assert [(curve.name, curve.x, curve.y) for curve in chart.curves] == [
        ("measured", ["waiting"], [4e-7]), ("predicted", ["waiting"], [2.4e-4]),
    ]  # fmt: skip
    assert [row[3] for row in table.rows] == [None, pytest.approx(0.05)]
    assert any("no verdict" in note for note in table.notes)


def test_waiting_below_zero_is_explained() -> None:
    def notes(waiting: float) -> str:
        rows = [{"term": "waiting", "measured": waiting, "predicted": waiting, "share": waiting / 0.1},
                {"term": "total", "measured": 0.1, "predicted": 0.1, "share": 1.0}]  # fmt: skip
        return " ".join(next(iter(case.terms({"p": 7, "ranks": 8, "patterns": ["gossip"], "rows": rows}))).notes)

    assert "waiting below 0 s: unequal computing times keep nodes from meeting" in notes(-4.2e-3)
    assert "below 0 s" not in notes(-1e-9)
    assert "below 0 s" not in notes(4.2e-3)


def test_the_sentence_of_a_case_says_whether_its_checks_hold() -> None:
    good, bad = ({"passed": passed, "text": text} for passed, text in ((True, "equal bits"), (False, "3 differ")))
    total = {"term": "total", "measured": 0.1, "predicted": 0.12, "share": 1.0}
    assert case.finding({"case": [good, {"terms": {"rows": [total]}}]}) == (
        "Its check holds (equal bits); its step was priced +20 % off."
    )
    assert case.finding({"case": [good, bad]}) == "1 of 2 checks failed: 3 differ."
    assert case.finding({"case": []}) is None
