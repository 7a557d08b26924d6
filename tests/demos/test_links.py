"""The links demo: every pair is met, a heterogeneous network comes back out of it, a real one gets its figures."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.links import tournament
from emulator import network
from tests.demos.launched import refuse, run_demo
from tests.ranks import on_ranks

HETEROGENEOUS = """
[link]
latency = "50 us"
bandwidth = "10 Gbit/s"

[[host]]
name = "quick"

[[host]]
name = "far"
latency = "200 us"

[[host]]
name = "slow"
egress = "1 Gbit/s"
ingress = "2 Gbit/s"
"""


@given(st.integers(2, 40))
def test_a_tournament_meets_every_pair_once_in_rounds_without_conflict(ranks):
    rounds = list(tournament(ranks))
    assert sorted(itertools.chain.from_iterable(rounds)) == list(itertools.combinations(range(ranks), 2))
    for pairs in rounds:
        busy = list(itertools.chain.from_iterable(pairs))
        assert len(busy) == len(set(busy))


@pytest.fixture(scope="module")
def heterogeneous(tmp_path_factory):
    folder = tmp_path_factory.mktemp("links")
    file = folder / "net.toml"
    file.write_text(HETEROGENEOUS)
    return file, run_demo("links", 3, folder / "run", "--net", str(file), "--sizes", "8,1K,64K,1M", "--budget", "2")


def test_a_heterogeneous_matrix_comes_back_in_both_directions(heterogeneous):
    file, done = heterogeneous
    assert done.status == 0, done.text
    paths = network.load(str(file)).sized(3)
    fits = {(fit["source"], fit["destination"]): fit for fit in done.result["fits"]}
    assert len(fits) == 6
    for (source, destination), fit in fits.items():
        path = paths.between(source, destination)
        assert fit["alpha"]["value"] == pytest.approx(path.alpha, rel=1e-4)
        assert fit["beta"]["value"] == pytest.approx(path.beta, rel=1e-4)
    assert fits[0, 2]["beta"]["value"] < 0.6 * fits[2, 0]["beta"]["value"]
    assert "12 of 12 terms of configured paths recovered within 1 %: PASS" in done.text


def test_maps_show_every_direction(heterogeneous):
    _, done = heterogeneous
    lines = done.text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("alpha from rank"))
    assert lines[start + 2].split() == ["0", ".", "250us", "50.0us"]


def test_the_machines_own_links_get_figures(tmp_path):
    done = run_demo("links", 3, tmp_path, "--sizes", "8:64K", "--budget", "1")
    assert done.status == 0, done.text
    result = done.result
    assert {(fit["source"], fit["destination"]) for fit in result["fits"]} == {(0, 1), (0, 2), (1, 2)}
    assert all(row["wrong"] == 0 for row in result["measurements"])
    alphas = [fit["alpha"]["value"] for fit in result["fits"]]
    assert max(alphas) < 20 * min(alphas)  # one machine: a pair that were divided by too few trips would be 100 x off


def test_a_sample_holds_the_headline_pair(tmp_path):
    done = run_demo("links", 4, tmp_path, "--net", "10gbe", "--sizes", "8,64K", "--pairs", "1", "--budget", "1")
    assert done.status == 0, done.text
    ends = {(fit["source"], fit["destination"]) for fit in done.result["fits"]}
    assert ends == {(0, 1), (1, 0), (2, 3), (3, 2)}  # one round of the tournament


@on_ranks(2)
def test_one_size_is_refused(comm):
    assert "at least 2 sizes" in refuse(comm, "links", "--sizes 8")
