"""The membership demo end to end: the silent rank is declared dead, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.demos.launched import run_demo


def test_without_pacing_a_detector_is_refused(tmp_path: Path) -> None:
    done = run_demo("membership", 4, tmp_path / "run", "--net", "10gbe", "--pace", "none")
    assert done.status == 2
    assert "--pace auto or --pace K" in done.text


@pytest.mark.parametrize("carrier", [(), ("--net", "10gbe", "--pace", "1")], ids=["bare", "paced"])
def test_the_live_group_finds_the_silent_member(tmp_path: Path, carrier: tuple[str, ...]) -> None:
    done = run_demo("membership", 4, tmp_path / "run", "--period", "300 ms", *carrier)
    assert done.status == 0, done.text
    live = done.result["live"]
    assert live["victim"] == 3
    assert len(live["DEAD"]) == 3
    assert live["SUSPECT"][0] <= live["DEAD"][0]
    assert "live, 4 ranks, period 300 ms: rank 3 suspected after" in done.text


def test_two_ranks_are_no_group(tmp_path: Path) -> None:
    done = run_demo("membership", 2, tmp_path / "run")
    assert done.status == 2
    assert "3" in done.text
