"""Closed forms against the published table, against each other, and against a replay of their own messages."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emulator import costs
from emulator.errors import UsageError

ALPHA, BETA, GAMMA = 50e-6, 0.8e-9, 0.1e-9

RANKS = st.integers(2, 200)
BYTES = st.integers(0, 1 << 24)


@pytest.mark.parametrize(
    ("name", "p", "expected"),
    [
        # S, V, R from the table of Thakur, Rabenseifner and Gropp, worked out by hand
        ("ring", 4, (6, 1.5, 0.75)),
        ("ring", 5, (8, 1.6, 0.8)),
        ("ring_reduce_scatter", 4, (3, 0.75, 0.75)),
        ("ring_all_gather", 4, (3, 0.75, 0)),
        ("recursive_doubling", 8, (3, 3, 3)),
        ("recursive_doubling", 6, (4, 4, 3)),
        ("rabenseifner", 8, (6, 1.75, 0.875)),
        ("rabenseifner", 5, (6, 3.6, 1.8)),
        ("tree", 8, (6, 6, 3)),
        ("tree", 5, (6, 6, 3)),
        ("binomial_scatter", 8, (3, 0.875, 0)),
        ("binomial_gather", 5, (3, 0.8, 0)),
        ("linear_scatter", 5, (4, 0.8, 0)),
        ("binomial_broadcast", 5, (3, 3, 0)),
        ("binomial_reduce", 5, (3, 3, 3)),
    ],
)
def test_terms_are_those_of_the_table(name, p, expected):
    terms = costs.terms(name, p)
    assert (terms.steps, terms.volume, terms.reduced) == pytest.approx(expected)


@given(st.sampled_from(sorted(costs.COLLECTIVES)), BYTES)
def test_one_rank_costs_nothing(name, n):
    assert costs.seconds(name, 1, n, ALPHA, BETA, GAMMA) == 0
    assert costs.exact(name, 1, n, 1, ALPHA, BETA, GAMMA) == 0


@given(RANKS, BYTES)
def test_a_ring_is_its_two_halves(p, n):
    halves = sum(costs.seconds(name, p, n, ALPHA, BETA, GAMMA) for name in ("ring_reduce_scatter", "ring_all_gather"))
    assert costs.seconds("ring", p, n, ALPHA, BETA, GAMMA) == pytest.approx(halves)


@given(RANKS, BYTES)
def test_no_all_reduce_moves_less_than_the_bandwidth_bound(p, n):
    for name in ("ring", "rabenseifner", "recursive_doubling", "tree"):
        assert costs.terms(name, p).volume >= 2 * (p - 1) / p - 1e-12
    assert costs.seconds("ring", p, n, 0, BETA) == pytest.approx(2 * (p - 1) / p * n * BETA)


@given(st.integers(2, 16), st.integers(0, 300), st.sampled_from([1, 4, 8]))
def test_the_exact_ring_is_the_replay_of_its_messages(p, count, itemsize):
    """Replay reduce-scatter and all-gather step by step on logical clocks, with ports that carry one at a time."""
    blocks = [(count * (r + 1) // p - count * r // p) * itemsize for r in range(p)]
    clock, egress, ingress = [0.0] * p, [0.0] * p, [0.0] * p
    for step in range(2 * (p - 1)):
        reducing = step < p - 1
        arrived = [0.0] * p
        for source in range(p):
            size = blocks[(source - step) % p]
            start = max(clock[source], egress[source])
            egress[source] = start + size * BETA
            target = (source + 1) % p
            begin = max(start + ALPHA, ingress[target])
            arrived[target] = ingress[target] = begin + size * BETA
        for rank in range(p):
            work = GAMMA * blocks[(rank - 1 - step) % p] if reducing else 0.0
            clock[rank] = max(clock[rank], arrived[rank]) + work
    assert costs.exact("ring", p, count, itemsize, ALPHA, BETA, GAMMA) == pytest.approx(max(clock), rel=1e-12)


@given(RANKS, st.integers(1, 1000))
def test_the_exact_ring_equals_the_terms_where_p_divides_the_count(p, share):
    n = p * share * 4
    form = costs.seconds("ring", p, n, ALPHA, BETA, GAMMA)
    assert costs.exact("ring", p, n // 4, 4, ALPHA, BETA, GAMMA) == pytest.approx(form)


@given(st.sampled_from(sorted(costs.COLLECTIVES)), st.integers(1, 40), st.integers(1, 1000), st.sampled_from([1, 8]))
def test_where_it_is_linear_the_exact_time_is_the_closed_form(name, p, share, itemsize):
    assume(costs.collective(name).is_linear(p))
    count = p * share if name in ("binomial_scatter", "binomial_gather") else share
    form = costs.collective(name).block_terms(p, count, itemsize).seconds(count * itemsize, ALPHA, BETA, GAMMA)
    assert costs.exact(name, p, count, itemsize, ALPHA, BETA, GAMMA) == pytest.approx(form)


@given(st.sampled_from(["recursive_doubling", "rabenseifner", "binomial_broadcast"]), RANKS, st.integers(1, 1 << 24))
def test_elsewhere_it_is_within_two_messages_of_it(name, p, n):
    form = costs.collective(name).block_terms(p, n, 1).seconds(n, ALPHA, BETA, GAMMA)
    assert abs(costs.exact(name, p, n, 1, ALPHA, BETA, GAMMA) - form) <= 2 * (ALPHA + n * (BETA + GAMMA))


@given(st.sampled_from(["recursive_doubling", "rabenseifner", "tree", "k_ary_tree"]), RANKS)
def test_of_nothing_trees_and_folds_send_nothing(name, p):
    assert costs.exact(name, p, 0, 8, ALPHA, BETA, GAMMA) == 0


@pytest.mark.parametrize("k", range(1, 11))
@settings(max_examples=5)
@given(share=st.integers(1, 1 << 20))
def test_rabenseifner_is_exact_where_every_half_is_even(k, share):
    n = share << k
    form = costs.seconds("rabenseifner", 2**k, n, ALPHA, BETA, GAMMA)
    assert costs.exact("rabenseifner", 2**k, n, 1, ALPHA, BETA, GAMMA) == pytest.approx(form)


@given(RANKS, st.integers(0, 1000))
def test_a_linear_scatter_on_the_network_pays_its_latency_once(p, share):
    n = p * share
    assert costs.exact("linear_scatter", p, n, 1, ALPHA, BETA) == pytest.approx(
        costs.seconds("linear_scatter", p, n, ALPHA, BETA) - (p - 2) * ALPHA
    )


@given(st.integers(1, 64), BYTES)
def test_a_single_server_serves_one_worker_after_the_other(workers, n):
    assert costs.seconds("serial_parameter_server", workers, n, ALPHA, BETA, GAMMA) == pytest.approx(
        2 * workers * (ALPHA + n * BETA) + workers * n * GAMMA
    )


@given(st.integers(1, 64), st.integers(1, 64), BYTES)
def test_sharding_never_beats_the_workers_own_port(workers, shards, n):
    floor = 2 * (shards * ALPHA + n * BETA)
    assert costs.seconds("serial_parameter_server", workers, n, ALPHA, BETA, servers=shards) >= floor


def test_a_rumour_takes_log_rounds():
    low, high = costs.rumour_rounds(16)
    assert low == pytest.approx(4 + math.log(16) - 1.116)
    assert high == pytest.approx(4 + math.log(16) + 2.765)
    assert costs.rumour_rounds(1)[0] == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: costs.terms("ring", 0),
        lambda: costs.terms("rign", 4),
        lambda: costs.seconds("parameter_server", 0, 8, ALPHA, BETA),
        lambda: costs.rumour_rounds(0),
    ],
)
def test_bad_arguments_are_named(call):
    with pytest.raises(UsageError, match=r"got (0|'rign')"):
        call()


def test_bus_factors_are_those_of_nccl_tests():
    assert costs.collective("ring").bus(4) == 1.5
    assert costs.collective("ring_all_gather").bus(4) == 0.75
    assert costs.collective("binomial_broadcast").bus(4) == 1


@given(st.integers(1, 50), BYTES)
def test_incast_of_equal_senders_queues_at_the_receivers_port(k, n):
    assert costs.incast(n, [(ALPHA, BETA)] * k) == pytest.approx(ALPHA + k * n * BETA, rel=1e-12)


def test_incast_takes_senders_in_order_of_arrival_and_waits_for_late_ones():
    assert costs.incast(100, [(5.0, 0.01), (1.0, 0.02), (2.0, 0.01)]) == 5.0 + 1.0
    assert costs.incast(1000, [(5.0, 0.01), (1.0, 0.02), (2.0, 0.01)]) == 1.0 + 20.0 + 10.0 + 10.0
    assert costs.incast(100, []) == 0.0
