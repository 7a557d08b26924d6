"""Prices of the registry's patterns, against figures worked out by hand and against each other."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import costs
from emulator.costs import waiting
from emulator.errors import UsageError

A, B, G = 1.0, 0.01, 0.001  # a message of 100 bytes takes 1 s of latency and 1 s of bandwidth, and is reduced in 0.1 s


def parts(name, p, n, **options):
    price = costs.price(name, A, B, G, p, n, **options)
    return price.latency, price.bandwidth, price.reduction, price.waiting


@pytest.mark.parametrize(
    ("name", "p", "options", "expected"),
    [
        ("ring", 4, {}, (6, 1.5, 0.075, 0)),
        ("recursive_doubling", 8, {}, (3, 3, 0.3, 0)),
        # all work on one core: 24 messages of the ring, 6 n sent, 3 n reduced
        ("ring", 4, {"cores": 1}, (6, 1.5, 0.075, 24 + 6 + 0.3 - 7.575)),
        ("gossip", 9, {"degrees": (3, 0, 1)}, (2, 4, 0, 0)),
        ("gossip", 9, {"degrees": (3,), "waits": False}, (0, 3, 0, 0)),
        ("one_peer_gossip", 16, {}, (4, 4, 0, 0)),
        ("push_sum", 5, {"rounds": 7}, (7, 7, 0, 0)),
        ("federated", 5, {}, (2, 6, 0, 0)),
        ("incast", 5, {}, (1, 5, 0, 0)),
        ("parameter_server", 4, {"servers": 2}, (2, 3, 0.2, 0)),
        ("parameter_server", 4, {"servers": 2, "touched": 0.1}, (2, 0.3, 0.02, 0)),
        ("parameter_server", 4, {"servers": 2, "replicas": 1}, (3, 5, 0.2, 0)),
        # of its own 2 + 1.5 s, behind 8 pushes of half a second each
        ("parameter_server", 8, {"servers": 2, "consistency": "asynchronous"}, (2, 1.5, 0.05, 4 - 3.55)),
        ("parameter_server", 8, {"servers": 2, "consistency": "bounded", "compute": 1}, (2, 1.5, 0.05, 0)),
        ("serial_parameter_server", 3, {"servers": 1}, (6, 6, 0.3, 0)),
        ("serial_parameter_server", 1, {"servers": 4}, (2, 0.5, 0.025, 8 + 2 - 2.525)),
        ("scatter_gather", 4, {"request": 0.1}, (2, 4.1, 0, 0)),
        ("scatter_gather", 4, {"request": 2.0}, (2, 9, 0, 0)),
        # 8 batches on 4 ranks: the second round after 2 s of work, half a cycle of 6 s, or 4 n at the port
        ("tasks", 4, {"batches": 8, "compute": 2.0}, (2, 2, 0, 4 + 6 + 3 - 4 - 4)),
    ],
)  # fmt: skip
def test_prices_worked_out_by_hand(name, p, options, expected):
    assert parts(name, p, 100, **options) == pytest.approx(expected)


def test_bytes_of_a_worker_and_of_the_busiest_card():
    server = costs.price("parameter_server", A, B, G, 8, 100, servers=2)
    assert (server.sent, server.port) == (100, 400)
    ring = costs.price("ring", A, B, G, 4, 100)
    assert (ring.sent, ring.port) == (150, 150)
    tree = costs.price("tree", A, B, G, 8, 100)
    assert tree.port == 300


@given(st.sampled_from(sorted(costs.PATTERNS)), st.integers(0, 1 << 20))
def test_the_price_over_an_array_of_ranks_is_that_of_each(name, n):
    counts = np.array([1, 2, 3, 8, 30, 64])
    at_once = costs.price(name, A, B, G, counts, n)
    for index, p in enumerate(counts.tolist()):
        alone = costs.price(name, A, B, G, p, n)
        for term in ("latency", "bandwidth", "reduction", "waiting", "sent", "port", "seconds"):
            assert np.broadcast_to(getattr(at_once, term), counts.shape)[index] == pytest.approx(getattr(alone, term))


@pytest.mark.parametrize("entry", costs.PATTERNS.values(), ids=lambda entry: entry.name)
def test_every_entry_says_formula_and_source(entry):
    assert entry.formula
    assert entry.source
    assert entry.price(A, B, G, 2, 10).seconds > 0


def test_unknown_options_and_rules_are_refused():
    with pytest.raises(UsageError, match="options of ring are cores, got servers"):
        costs.price("ring", A, B, G, 4, 10, servers=2)
    with pytest.raises(UsageError, match="one of synchronous, bounded, asynchronous, got 'bsp'"):
        costs.price("parameter_server", A, B, G, 4, 10, consistency="bsp")


def test_the_slowest_of_two_is_known_in_closed_form():
    """E[max of 2 log-normals of mean 1] = 2 Phi(sigma / sqrt 2)."""
    for spread in (0.1, 0.5, 1.0):
        sigma = math.sqrt(math.log1p(spread**2))
        expected = 1 + math.erf(sigma / 2)
        assert waiting.slowest(2, spread) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("p", "quorum", "backup"), [(16, 1.0, False), (16, 0.75, False), (16, 1.0, True), (3, 1.0, True)]
)
def test_the_slowest_rank_against_a_million_draws(p, quorum, backup):
    rng = np.random.default_rng(7)
    sigma = math.sqrt(math.log1p(0.3**2))
    draws = np.sort(np.exp(sigma * rng.standard_normal((200_000, p)) - sigma**2 / 2), axis=1)
    seen = draws[:, math.ceil(quorum * p) - 1]
    if backup:
        late = 1.5 * np.median(draws)
        for _ in range(20):  # the turnarounds that are known when a request is late are the earlier ones
            late = 1.5 * np.median(draws[draws <= late])
        copies = np.exp(sigma * rng.standard_normal(draws.shape) - sigma**2 / 2)
        seen = np.minimum(draws, late + copies).max(axis=1)
    assert waiting.slowest(p, 0.3, quorum=quorum, backup=backup) == pytest.approx(seen.mean(), rel=0.003)
    late = waiting.slowest(p, 0.3, share=0.99, quorum=quorum, backup=backup)
    assert late == pytest.approx(np.quantile(seen, 0.99), rel=0.01)


@pytest.mark.parametrize(("quorum", "within"), [(1.0, 0.002), (0.75, 0.02), (0.5, 0.02)])
def test_unequal_ranks_against_draws(quorum, within):
    slowdowns = np.array([1.0, 2.0, 1.0, 4.0] * 4)
    times = waiting.lognormal(np.random.default_rng(7).standard_normal((100_000, 16)), 0.3) * slowdowns
    seen = np.sort(times, axis=1)[:, math.ceil(quorum * 16) - 1].mean()
    assert waiting.unequal(slowdowns, 0.3, quorum) == pytest.approx(seen, rel=within)
    assert waiting.unequal(slowdowns, 0.0, quorum) == {1.0: 4, 0.75: 2, 0.5: 1}[quorum]
    assert waiting.unequal(np.ones(16), 0.3) == pytest.approx(waiting.slowest(16, 0.3), rel=1e-3)


@given(st.integers(2, 500), st.floats(0.01, 1.0))
def test_what_lowers_the_wait(p, spread):
    barrier = waiting.slowest(p, spread)
    assert barrier > 1
    assert waiting.slowest(p + 1, spread) >= barrier
    assert 1 < waiting.bounded(p, spread, 3) <= waiting.slowest(p, spread, steps=4) < barrier
    assert waiting.slowest(p, spread, backup=True) <= barrier * (1 + 1e-6)
    assert waiting.slowest(p, 1.0, backup=True) < waiting.slowest(p, 1.0)
    assert waiting.slowest(p, spread, quorum=0.5) < barrier
    assert waiting.slowest(p, 0.0) == 1


def test_stratified_values_fill_every_part_of_the_distribution_in_every_column() -> None:
    drawn = waiting.stratified_normals(np.random.default_rng(0), (50, 3, 4))
    parts = np.floor(50 * np.array([NormalDist().cdf(z) for z in drawn.ravel()])).reshape(drawn.shape)
    assert np.array_equal(np.sort(parts, axis=0), np.broadcast_to(np.arange(50)[:, None, None], drawn.shape))
    assert abs(np.corrcoef(drawn[:, 0, 0], drawn[:, 1, 2])[0, 1]) < 0.4  # columns are shuffled apart


def test_80_stratified_rows_tell_a_mean_wait_as_well_as_240_independent_ones() -> None:
    def error(draw: Callable[[np.random.Generator], Any]) -> float:
        times = (waiting.lognormal(draw(np.random.default_rng(seed)), 0.3) for seed in range(200))
        waits = np.array([(one / one.mean()).max(axis=1).mean() for one in times]) - 1
        assert waits.mean() == pytest.approx(waiting.slowest(7, 0.3) - 1, rel=0.01)
        return float(waits.std() / waits.mean())

    independent = error(lambda rng: rng.standard_normal((240, 7)))
    assert error(lambda rng: waiting.stratified_normals(rng, (80, 7))) < 1.1 * independent < 0.04
