"""Incast: the formula comes out to the digit, and a demo says so in its result."""

import numpy as np
import pytest

from demos._lib.formulas import uniform
from demos.incast import EXACT, job, on_network
from emulator.network import load
from tests.demos.launched import refuse, run_demo, simulate_demo
from tests.emulator.trace.perfetto_format import checked
from tests.ranks import on_ranks


def test_the_formula_holds_on_an_emulated_network(tmp_path):
    done = simulate_demo("incast", 3, tmp_path, "--net", "25gbe", "--sizes", "0,8,1000,64K", "--trace")
    assert done.status == 0, done.text
    assert "PASS" in done.text
    result = done.result
    assert result["formula_errors"]["alpha + k n beta"]["worst"] <= EXACT
    assert result["formula_errors"]["alpha + k n beta"]["limit"] == EXACT
    alpha, beta = 12e-6, 8 / 23.5e9
    assert [row["senders"] for row in result["measurements"]] == [1, 2] * 4
    for row in result["measurements"]:
        expected = alpha + row["senders"] * row["bytes"] * beta
        assert row["seconds"]["median"] == pytest.approx(expected, rel=EXACT)
        assert row["wrong"] == 0
    timeline = result["timeline"]
    assert sum(timeline["path"].values()) == pytest.approx(timeline["seconds"], rel=1e-9)
    assert timeline["path"]["waiting for a card"] > 0
    assert len(checked(tmp_path / "trace.json.gz")["s"]) > 0
    assert "timeline: " in done.text


def test_without_a_network_one_queue_is_fitted(tmp_path):
    done = run_demo("incast", 3, tmp_path, "--sizes", "8,64K", "--budget", "0.3", "--trace")
    assert done.status == 0, done.text
    result = done.result
    assert result["timeline"]["path"]["transfer"] > 0
    assert [row["rank"] for row in result["timeline"]["ranks"]] == [0, 1, 2]
    (fit,) = result["fits"]
    assert (fit["level"], fit["pattern"]) == ("collective", "incast")
    assert all(row["predicted"] > 0 and row["wrong"] == 0 for row in result["measurements"])


REFUSED = {
    "--sizes 8": "alpha and beta need at least 2 sizes above 0 to be told apart, got 1",
    "--ranks 1": "incast needs a receiver and a sender, got --ranks 1",
    "--ranks 4": "--ranks must lie between 1 and this job's 2 ranks, got 4",
}


@on_ranks(2, options=list(REFUSED))
def test_what_cannot_be_measured_is_refused_in_one_line(comm, options):
    assert REFUSED[options] in refuse(comm, "incast", options)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smallest", True),
        ("multicore", False),
        ("racks", False),
        ("jittery", False),
        ("asymmetric", True),
        ("heterogeneous", False),
    ],
)
def test_a_verdict_needs_equal_steady_unshared_paths(name, expected):
    assert uniform(load(f"examples/networks/{name}.toml").sized(5), into=0) is expected


def test_unequal_paths_are_predicted_in_order_of_arrival():
    formula = on_network(load("examples/networks/heterogeneous.toml").sized(5))
    # Two new machines over 25 Gbit/s, the old one over 10, then the far one that arrives 200 us late.
    fast, slow = 8 / 25e9, 8 / 10e9
    assert formula("incast", 5, 1000) == pytest.approx(220e-6 + 1000 * fast)
    assert formula("incast", 5, 10**6) == pytest.approx(20e-6 + 1e6 * (3 * fast + slow))


@on_ranks(4, size=[0, 1, 70_000], ranks=[2, 4])
def test_every_sender_is_heard_and_a_missing_one_shows(comm, size, ranks):
    part = comm.Split(0 if comm.rank < ranks else 1, comm.rank)
    prepared = job(part if comm.rank < ranks else None, ranks, size)
    if comm.rank >= ranks:
        assert prepared.once is None
        return
    prepared.once()
    if comm.rank == 0:
        assert prepared.check() == 0
        assert prepared.check() == size * (ranks - 1)  # the buffers were spoilt: nothing has arrived since


@on_ranks(5, net="examples/networks/smallest.toml", size=[0, 8, 100_001])
def test_emulated_time_is_alpha_plus_k_n_beta(comm, size):
    prepared = job(comm, 5, size)
    start = comm.align()
    prepared.once()
    took = comm.now() - start
    expected = 50e-6 + 4 * size * 0.8e-9 if comm.rank == 0 else size * 0.8e-9
    assert np.isclose(took, expected, rtol=EXACT, atol=0)
