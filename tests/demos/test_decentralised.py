"""Training over gossip end to end: the all-reduced model is the one-process one, the times are the formulas'."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from demos.decentralised import _when
from tests.demos.launched import run_demo


def test_on_an_emulated_network(tmp_path: Path) -> None:
    done = run_demo("decentralised", 5, tmp_path / "run", "--net", "10gbe", "--steps", "24")
    assert done.status == 0, done.text
    result = done.result
    for row in result["measurements"]:
        assert row["predicted"] == pytest.approx(row["seconds"]["median"], rel=0.01), row["pattern"]
    curves, common = result["curves"], result["common_loss"]
    for name, curve in curves.items():
        assert [look["step"] for look in curve] == list(range(2, 25, 2)), name
        assert curve[-1]["loss"] < curve[0]["loss"] < math.log(10)
        assert curve[-1]["loss"] <= common["loss"] + 1e-12
        assert 0 < common["seconds"][name] <= curve[-1]["seconds"] * (1 + 1e-9)
    assert curves["all-reduce"][-1]["apart"] < 1e-12 < curves["ring"][-1]["apart"]
    # the best average per step, and the dearest
    assert min(curves, key=lambda name: curves[name][-1]["loss"]) == "all-reduce"
    assert max(curves, key=lambda name: curves[name][-1]["seconds"]) == "all-reduce"
    assert "soonest at loss" in done.text


@pytest.mark.parametrize("data", ["--even", "--skew"])
def test_on_the_bare_transport(tmp_path: Path, data: str) -> None:
    done = run_demo("decentralised", 4, tmp_path / "run", "--steps", "20", data)
    assert done.status == 0, done.text
    assert "all-reduce against one process: models differ by" in done.text
    assert all(curve[-1]["loss"] < 2.0 for curve in done.result["curves"].values())


def test_too_few_steps_are_refused(tmp_path: Path) -> None:
    done = run_demo("decentralised", 2, tmp_path / "run", "--steps", "3")
    assert done.status == 2
    assert "--steps" in done.text


def test_when_a_loss_is_reached_lies_between_two_looks() -> None:
    curve = [{"seconds": 1.0, "loss": 2.0}, {"seconds": 3.0, "loss": 1.0}]
    assert _when(curve, 1.5) == pytest.approx(2.0)
    assert _when(curve, 1.0) == pytest.approx(3.0)
    assert _when(curve, 0.5) == math.inf
    assert 0 < _when(curve, 2.1) < 1
