"""The gossip demo end to end: means, contractions, times and rumours against what theory says."""

from __future__ import annotations

from pathlib import Path

import pytest

from demos._lib.gossip_results import measured_contraction
from tests.demos.launched import refuse_simulated, run_demo, simulate_demo

SHORT = ("--sizes", "8,1K", "--rumours", "2", "--budget", "0.6", "--graphs", "ring,exponential,complete")


@pytest.mark.parametrize("ranks", [5, 8])
def test_on_an_emulated_network_every_formula_holds(tmp_path: Path, ranks: int) -> None:
    done = simulate_demo("gossip", ranks, tmp_path / "run", *SHORT, "--net", "10gbe")
    assert done.status == 0, done.text
    assert "formulas hold to 0.0%" in done.text
    result = done.result
    for row in result["measurements"]:
        assert row["wrong"] == 0
        assert row["predicted"] == pytest.approx(row["seconds"]["median"], rel=0.01), row["pattern"]
    for mode in result["rumours"]:
        assert mode["missing"] == 0
        assert mode["predicted"] == pytest.approx(mode["seconds"], rel=0.01), mode["mode"]
    ways = {row["way"]: row for row in result["convergence"]}
    for name in ("ring", "exponential"):
        assert ways[name]["contraction_measured"] == pytest.approx(ways[name]["contraction_predicted"], abs=0.05)
        assert ways[name]["rounds"] <= ways[name]["rounds_predicted"] + 1
    assert ways["complete"]["rounds"] == 1
    assert ways["base graph"]["distances"][-1] < 1e-12


def test_on_the_bare_transport_alpha_and_beta_are_fitted(tmp_path: Path) -> None:
    done = run_demo("gossip", 3, tmp_path / "run", *SHORT)
    assert done.status == 0, done.text
    assert "alpha and beta fitted" in done.text
    result = done.result
    assert result["fits"][0]["pattern"] == "gossip"
    assert all(row["wrong"] == 0 and row["predicted"] > 0 for row in result["measurements"])
    assert result["late"]["drift"] < 1e-9
    assert result["late"]["off"] <= result["late"]["limit"] == 0.05


def test_one_size_alone_is_measured_without_a_formula(tmp_path: Path) -> None:
    done = run_demo("gossip", 2, tmp_path / "run", *SHORT[2:], "--sizes", "64", "--budget", "0.2")
    assert done.status == 0, done.text
    assert "takes two --sizes" in " ".join(done.text.split())
    assert {row["predicted"] for row in done.result["measurements"]} == {None}


REFUSED = {"--graphs moebius": "moebius", "--graphs '0-1;2-3'": "connected", "--ranks 1": "needs at least 2 ranks"}


@pytest.mark.parametrize("options", REFUSED)
def test_bad_input_is_one_line(options: str) -> None:
    assert REFUSED[options] in refuse_simulated("gossip", 4, f"--sizes 8 --rumours 1 --budget 1 {options}")


def test_a_contraction_is_measured_where_the_slowest_mode_rules() -> None:
    geometric = [3.0 * 0.5**k for k in range(9)]
    assert measured_contraction(geometric) == pytest.approx(0.5)
    assert measured_contraction([*geometric, 0.0]) == pytest.approx(0.5)  # exact by chance
    assert measured_contraction([1.0, 1e-16]) == 0.0
