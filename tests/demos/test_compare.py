"""One job under four patterns: right answers, and formulas that hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from demos.compare import PATTERNS, _own_terms, price
from tests.demos.launched import refuse_simulated, run_demo, simulate_demo


def test_on_an_emulated_network_the_formulas_hold(tmp_path: Path) -> None:
    options = ("--net", "10gbe", "--sizes", "64,256K", "--ranks", "4,8", "--budget", "2")
    done = simulate_demo("compare", 8, tmp_path, *options)
    assert done.status == 0, done.text
    rows = done.result["measurements"]
    assert {(row["pattern"], row["ranks"], row["bytes"]) for row in rows} == {
        (name, p, size) for name in PATTERNS for p in (4, 8) for size in (64, 262144)
    }
    for row in rows:
        assert row["wrong"] == 0
        assert row["predicted"] == pytest.approx(row["seconds"]["median"], rel=0.1)
    winners = {(one["ranks"], one["bytes"]): one["measured"] for one in done.result["winners"]}
    assert winners[8, 262144] == ["all-reduce"]
    assert winners[8, 64] == ["parameter server", "scatter-gather"]


def test_on_many_simulated_ranks_all_reduces_are_replayed(tmp_path: Path) -> None:
    options = ("--net", "10gbe", "--sizes", "64,64K", "--ranks", "128", "--budget", "120")
    done = simulate_demo("compare", 128, tmp_path, *options)
    assert done.status == 0, done.text
    rows = done.result["measurements"]
    assert [row["wrong"] for row in rows if row["pattern"] == "all-reduce"] == [None, None]
    assert len(done.result["winners"]) == 2
    for row in rows:
        assert row["predicted"] == pytest.approx(row["seconds"]["median"], rel=0.1)


def test_on_the_bare_transport_the_answers_are_right(tmp_path: Path) -> None:
    done = run_demo("compare", 3, tmp_path, "--sizes", "64,1K,8K", "--budget", "0.3")
    assert done.status == 0, done.text
    assert [row["wrong"] for row in done.result["measurements"]] == [0] * 12
    # of the shortest and the longest the terms are made, so that they fit there whatever was measured
    assert done.result["formula_errors"]["sizes between the shortest and the longest"]["points"] == 4
    # alpha and beta of each pattern are those that explain its two extreme sizes
    assert all(terms["alpha"] >= 0 <= terms["beta"] for terms in done.result["own_terms"])


def test_on_a_network_whose_cards_are_quicker_than_its_paths(tmp_path: Path) -> None:
    """A coordinator's answers leave by the card, and only the last one's path counts."""
    done = simulate_demo("compare", 4, tmp_path, "--net", "wan", "--sizes", "64,4M", "--budget", "1")
    assert done.status == 0, done.text
    for row in done.result["measurements"]:
        assert row["predicted"] == pytest.approx(row["seconds"]["median"], rel=0.01), row["pattern"]


def test_own_terms_explain_the_shortest_and_the_longest_vector() -> None:
    rows = [
        {"pattern": name, "ranks": 4, "bytes": size, "seconds": {"median": price(name, 4, size, 3e-6, 2e-9, "ring")}}
        for name in PATTERNS
        for size in (64, 1 << 20)
    ]
    for name in ("parameter server", "gossip", "scatter-gather"):
        assert _own_terms(rows, name, 4) == pytest.approx((3e-6, 2e-9), rel=1e-3)


REFUSED = {"--ranks 2": "at least 3", "--sizes 12": "whole numbers of float64"}


@pytest.mark.parametrize("options", REFUSED)
def test_bad_input(options: str) -> None:
    assert REFUSED[options] in refuse_simulated("compare", 4, options)


def test_prices() -> None:
    """Four ranks, 1 us and 1 ns/B, 1000 bytes: by hand."""
    alpha, beta, size = 1e-6, 1e-9, 1000
    assert price("scatter-gather", 4, size, alpha, beta, "") == pytest.approx(2 * (1e-6 + 3e-6))
    assert price("gossip", 4, size, alpha, beta, "") == pytest.approx(2 * (1e-6 + 1e-6))
    assert price("all-reduce", 4, size, alpha, beta, "recursive_doubling") == pytest.approx(2 * (1e-6 + 1e-6))
