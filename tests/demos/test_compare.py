"""One job under four patterns: right answers, and formulas that hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from demos.compare import PATTERNS, price
from tests.demos.launched import run_demo


def test_on_an_emulated_network_the_formulas_hold(tmp_path: Path) -> None:
    options = ("--net", "10gbe", "--sizes", "64,256K", "--ranks", "4,8", "--budget", "2")
    done = run_demo("compare", 8, tmp_path, *options)
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


def test_on_the_bare_transport_the_answers_are_right(tmp_path: Path) -> None:
    done = run_demo("compare", 3, tmp_path, "--sizes", "64,8K", "--budget", "1")
    assert done.status == 0, done.text
    assert [row["wrong"] for row in done.result["measurements"]] == [0] * 8


@pytest.mark.parametrize(
    ("options", "rule"), [(("--ranks", "2"), "at least 3"), (("--sizes", "12"), "whole numbers of float64")]
)
def test_bad_input(options: tuple[str, ...], rule: str, tmp_path: Path) -> None:
    done = run_demo("compare", 4, tmp_path, *options)
    assert done.status == 2
    assert rule in done.text


def test_prices() -> None:
    """Four ranks, 1 us and 1 ns/B, 1000 bytes: by hand."""
    alpha, beta, size = 1e-6, 1e-9, 1000
    assert price("scatter-gather", 4, size, alpha, beta, "") == pytest.approx(2 * (1e-6 + 3e-6))
    assert price("gossip", 4, size, alpha, beta, "") == pytest.approx(2 * (1e-6 + 1e-6))
    assert price("all-reduce", 4, size, alpha, beta, "recursive_doubling") == pytest.approx(2 * (1e-6 + 1e-6))
