"""The membership demo end to end: the dead are found, nobody else is, the figures are the formulas'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from primitives.membership import Settings
from primitives.membership.simulation import false_probe_rate, periods_to_first_ping
from tests.demos.launched import run_demo


def test_the_simulated_groups_agree_with_the_formulas(tmp_path: Path) -> None:
    done = run_demo("membership", 4, tmp_path / "run", "--net", "10gbe", "--pace", "none", "--groups", "24")
    assert done.status == 0, done.text
    assert "No live group" in done.text
    result = done.result
    for row in result["deaths"]:
        assert len(row["figures"]) == 24
        suspected = np.mean([figures["suspected"] for figures in row["figures"]])
        assert 0.5 * periods_to_first_ping(row["members"]) < suspected < 3.0
        assert all(figures["false_deaths"] == 0 for figures in row["figures"])
    for row in result["losses"]:
        probes = sum(figures["probes"] for figures in row["figures"])
        failed = sum(figures["failed_probes"] for figures in row["figures"])
        expected = false_probe_rate(row["loss"], Settings().indirect) * probes
        assert failed == pytest.approx(expected, abs=5 * expected**0.5 + 3)


@pytest.mark.parametrize("carrier", [(), ("--net", "10gbe", "--pace", "1")], ids=["bare", "paced"])
def test_the_live_group_finds_the_silent_member(tmp_path: Path, carrier: tuple[str, ...]) -> None:
    done = run_demo("membership", 4, tmp_path / "run", "--groups", "2", "--period", "300 ms", *carrier)
    assert done.status == 0, done.text
    live = done.result["live"]
    assert live["victim"] == 3
    assert len(live["DEAD"]) == 3
    assert live["SUSPECT"][0] <= live["DEAD"][0]
    assert "live, 4 ranks, period 300 ms: rank 3 suspected after" in done.text


def test_two_ranks_are_no_group(tmp_path: Path) -> None:
    done = run_demo("membership", 2, tmp_path / "run", "--groups", "2")
    assert done.status == 2
    assert "3" in done.text
