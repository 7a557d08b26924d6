"""The membership demo end to end: the silent rank is declared dead, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.demos.launched import refuse, run_demo, simulate_demo
from tests.ranks import on_ranks


@on_ranks(4)
def test_without_pacing_a_detector_is_refused(comm: Any) -> None:
    assert "--pace auto or --pace K" in refuse(comm, "membership", "--net 10gbe --pace none")


@pytest.mark.parametrize("carrier", [(), ("--net", "10gbe", "--pace", "1")], ids=["bare", "paced"])
def test_the_live_group_finds_the_silent_member(tmp_path: Path, carrier: tuple[str, ...]) -> None:
    done = run_demo("membership", 3, tmp_path / "run", "--period", "300 ms", *carrier)
    assert done.status == 0, done.text
    live = done.result["live"]
    assert live["victim"] == 2
    assert len(live["DEAD"]) == 2
    assert live["SUSPECT"][0] <= live["DEAD"][0]
    assert "live, 3 ranks, period 300 ms: rank 2 suspected after" in done.text


def test_many_simulated_ranks_find_the_silent_member(tmp_path: Path) -> None:
    done = simulate_demo("membership", 96, tmp_path / "run", "--net", "10gbe")
    assert done.status == 0, done.text
    live = done.result["live"]
    assert len(live["DEAD"]) == 95
    assert live["evicted"]
    assert live["living_declared_dead"] == []


@on_ranks(2)
def test_two_ranks_are_no_group(comm: Any) -> None:
    assert "3" in refuse(comm, "membership", "")
