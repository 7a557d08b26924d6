"""The parameter-server demo end to end: what it prints is what the arithmetic says."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from demos._lib import digits
from demos.parameter_server import TOLERANCE, parse_slow
from emulator.errors import UsageError
from emulator.report import page
from tests.demos import launched


def run_demo(folder: Path, name: str, ranks: int, *options: str) -> tuple[int | None, str, Any]:
    done = launched.run_demo(name, ranks, folder, *options, timeout=300)
    return done.status, done.text, done.result if done.status == 0 else None


def test_on_an_emulated_network_the_closed_form_holds_and_bsp_is_bit_equal(tmp_path: Path) -> None:
    options = ("--net", "10gbe", "--sizes", "64,64K", "--steps", "24", "--slow", "3 x4")
    done = launched.simulate_demo("parameter_server", 4, tmp_path, *options)
    result, text = done.result, done.text
    assert done.status == 0, text
    assert [row["ranks"] for row in result["measurements"]] == [2, 2, 4, 4]
    for row in result["measurements"]:
        assert row["wrong"] == 0
        assert row["predicted"] == pytest.approx(row["seconds"]["median"], rel=TOLERANCE)
    assert "0 of 650 weights differ" in text
    training, trade = result["training"], {row["rule"]: row for row in result["trade"]}
    assert training["staleness"] == {"0": 3 * 25}
    assert training["final_loss"] == training["one_process_loss"]
    # The straggler sets the pace of bsp; without waiting the others are four times as fast.
    assert trade["bsp"]["staleness_max"] == 0
    assert trade["ssp s=1"]["staleness_max"] == 1
    assert trade["async"]["staleness_max"] > 3
    rates = [trade[name]["steps_per_second"] for name in ("bsp", "ssp s=1", "ssp s=3", "async")]
    assert rates == sorted(rates)
    assert trade["async"]["waiting"] < 0.1 < trade["bsp"]["waiting"]


REPLICATED = ("--sizes", "64,8K", "--steps", "24", "--servers", "2", "--replicas", "2", "--placement", "consistent")


def reads_of(result: Any) -> dict[int, int]:
    """How many reads were so many steps stale; two workers read once before and after each of 24 steps."""
    reads = {int(value): count for value, count in result["training"]["staleness"].items()}
    assert sum(reads.values()) == 2 * 25
    return reads


def test_without_a_bound_every_read_is_counted(tmp_path: Path) -> None:
    done = launched.simulate_demo(
        "parameter_server", 4, tmp_path, *REPLICATED, "--consistency", "async", "--net", "10gbe"
    )
    assert done.status == 0, done.text
    reads_of(done.result)


def test_on_the_bare_transport(tmp_path: Path) -> None:
    status, text, result = run_demo(tmp_path, "parameter_server", 4, *REPLICATED, "--consistency", "ssp")
    assert status == 0, text
    assert result["fits"][0]["pattern"] == "parameter_server"
    assert max(reads_of(result)) <= 3
    off = [abs(row["predicted"] / row["seconds"]["median"] - 1) for row in result["measurements"]]
    said = result["formula_errors"]["synchronous steps"]
    assert said == {"median": pytest.approx(median(off)), "worst": pytest.approx(max(off)), "points": len(off),
                    "limit": None}  # fmt: skip
    assert "synchronous steps: formula and measurement" in text
    assert "which no alpha and beta describe" in (tmp_path / page.PAGE).read_text()


REFUSED = {
    "--consistency eventual": "--consistency must be one of bsp, ssp, async, got 'eventual'",
    "--staleness -1": "staleness must be a whole number >= 0, got -1",
    "--servers 3": "--servers must leave a rank to work, got 3 of 3 ranks",
    "--slow 1": "--slow is 'RANK xFACTOR'",
    "--slow '1 x1.2.3'": "--slow is 'RANK xFACTOR'",
    "--servers 2 --ranks 2": "--ranks must leave a rank to work beside 2 server(s), got 2",
    "--slow '0 x4'": "--slow names a worker, ranks 1 to 2, got 0",
    "--replicas 2": "replicas must lie between 1 and the 1 servers, got 2",
    "--compression zip": "compression must be none, fp16 or topk:SHARE",
    "--sizes 64G": "3 ranks need 6 buffers each of the largest size, 1179648 MiB in all",
    "--placement here": "placement must be one of",
}


@pytest.mark.parametrize("options", REFUSED)
def test_bad_input_is_one_line(options: str) -> None:
    assert REFUSED[options] in launched.refuse_simulated("parameter_server", 3, f"--sizes 64 --steps 2 {options}")


def test_slow_reads_ranks_and_factors() -> None:
    assert parse_slow(("3 x4", "2x1.5"), 1, 4) == {3: 4.0, 2: 1.5}
    with pytest.raises(UsageError, match="factor >= 1"):
        parse_slow(("3 x0.5",), 1, 4)


def test_softmax_gradient_is_that_of_finite_differences() -> None:
    images, labels = (part[:20] for part in digits.load())
    weights = np.random.default_rng(0).normal(size=(digits.FEATURES, digits.CLASSES))
    gradient = digits.gradient(weights, images, labels)
    for row, column in [(3, 0), (20, 5), (64, 9)]:
        up, down = weights.copy(), weights.copy()
        up[row, column] += 1e-5
        down[row, column] -= 1e-5
        slope = (digits.loss(up, images, labels) - digits.loss(down, images, labels)) / 2e-5
        assert gradient[row, column] == pytest.approx(slope, rel=1e-4, abs=1e-9)
