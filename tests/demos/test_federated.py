"""Federated averaging: what is printed is what the result file says, rounds as by the formula, models to the bit."""

from __future__ import annotations

from pathlib import Path

from tests.demos.launched import simulate_demo

NETWORK = ("--net", "10gbe", "--compute", "none", "--rounds", "3")


def test_rounds_liars_and_diloco_are_printed_as_they_are_kept(tmp_path: Path) -> None:
    done = simulate_demo("federated", 5, tmp_path / "run", *NETWORK)
    assert done.status == 0, done.text
    result = done.result
    assert result["check"]["wrong"] == 0
    assert [one["number"] for one in result["rounds"]] == [0, 1, 2]
    assert result["formula_errors"]["federated rounds"]["worst"] <= 0.1
    assert {row["every"] for row in result["diloco"]} == {1, 4, 16, 40}
    assert all(row["same"] for row in result["diloco"])
