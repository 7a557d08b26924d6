"""Federated averaging: what is printed is what the result file says, rounds as by the formula, models to the bit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from demos.federated import GAPS, _affordable
from tests.demos.launched import refuse_simulated, simulate_demo

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


@pytest.mark.parametrize(
    ("clock", "ranks", "kept"),
    [("wall", 512, GAPS), ("simulated", 64, GAPS), ("simulated", 128, (16, 40)), ("simulated", 1024, ())],
)
def test_all_reduces_that_many_simulated_ranks_have_no_time_for_are_named(
    clock: str, ranks: int, kept: tuple[int, ...]
) -> None:
    said: list[str] = []
    run: Any = SimpleNamespace(clock=clock, size=ranks, budget=40.0, warn=said.append)
    assert _affordable(run) == list(kept)
    left = [str(gap) for gap in GAPS if gap not in kept]
    assert said == [f"left out: an all-reduce every {', '.join(left)} steps on {ranks} ranks, for which --budget 40 is "
                    "too short"] * bool(left)  # fmt: skip


def test_more_clients_than_images_are_refused() -> None:
    assert "1437 images to train on, fewer than one for each of 1499 clients" in refuse_simulated("federated", 1500, "")
