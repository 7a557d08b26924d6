"""Graphs, mixing matrices and schedules: no ranks needed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import costs
from emulator.errors import UsageError
from primitives.gossip import graphs, mixing, schedules
from tests.primitives.matrices import of_matrix

sizes = st.integers(1, 40)


@given(p=st.integers(2, 40), name=st.sampled_from(sorted(graphs.NAMED)))
def test_named_graphs_are_connected_and_mix(p, name):
    graph = graphs.named(name, p)
    assert graph.size == p
    assert graph.connected
    w = mixing.of_graph(graph).matrix()
    np.testing.assert_allclose(w.sum(axis=0), 1)
    np.testing.assert_allclose(w.sum(axis=1), 1)
    assert w.min() >= 0


@given(p=st.integers(3, 40), name=st.sampled_from(["ring", "torus", "exponential", "complete", "random-regular"]))
def test_regular_graphs_never_queue(p, name):
    assert graphs.named(name, p).regular


def test_degrees():
    degrees = {name: graphs.named(name, 16).degree for name in graphs.NAMED}
    assert degrees == {
        "ring": 2, "torus": 4, "star": 15, "complete": 15, "exponential": 4, "random-regular": 4,
    }  # fmt: skip


def test_known_spectra():
    """Gaps in closed form: ring (1 - cos)/1.5, complete 1, exponential 2/(1 + lg p), star 1/p."""
    p = 16
    gap = {name: mixing.spectral_gap(mixing.of_graph(graphs.named(name, p))) for name in graphs.NAMED}
    assert gap["ring"] == pytest.approx(2 / 3 * (1 - np.cos(2 * np.pi / p)))
    assert gap["complete"] == pytest.approx(1)
    assert gap["exponential"] == pytest.approx(2 / 5)
    assert gap["star"] == pytest.approx(1 / p)


def test_sources_come_in_the_order_of_arrival():
    assert graphs.ring(5).sources(0) == (4, 1)
    assert graphs.star(4).sources(0) == (1, 2, 3)


@given(p=sizes)
@settings(deadline=None)
def test_base_graph_is_exact_with_one_message_a_round(p):
    product = np.eye(p)
    schedule = schedules.base_graph(p)
    for m in schedule:
        assert m.graph.degree <= 1
        product = mixing.check(m).matrix() @ product
    np.testing.assert_allclose(product, 1 / p, atol=1e-12)
    if p > 1:
        assert len(schedule) <= 2 * np.log2(p) + 2


def test_base_graph_lengths():
    """Lg p for powers of two, twice the digits and a meeting round else (Takezawa et al., figure 1)."""
    assert [len(schedules.base_graph(p)) for p in range(1, 10)] == [0, 1, 3, 2, 5, 4, 5, 3, 7]


@given(p=st.integers(1, 64))
def test_one_peer_exponential_is_exact_for_powers_of_two_only(p):
    schedule = schedules.one_peer_exponential(p)
    assert len(schedule) == (p - 1).bit_length()
    if p > 1:
        assert (mixing.contraction(schedule) == 0) == (p & (p - 1) == 0)


@given(p=st.integers(2, 12), seed=st.integers(0, 5), number=st.integers(0, 5))
def test_matchings_are_maximal_matchings(p, seed, number):
    graph = graphs.ring(p)
    m = schedules.random_matching(graph, seed, number)
    mixing.check(m)
    free = {i for i in range(p) if not m.graph.neighbours[i]}
    assert m.graph.degree == 1
    assert not any(j in free for i in free for j in graph.neighbours[i])


@given(p=st.integers(2, 12), seed=st.integers(0, 5))
def test_contacts_are_the_same_in_whatever_order_rounds_are_drawn(p, seed):
    graph, other = graphs.ring(p), graphs.ring(p)
    drawn = [graph.contacts(seed, k) for k in range(80)]
    assert [other.contacts(seed, k) for k in reversed(range(80))] == drawn[::-1]
    for one in drawn:
        assert all(one.targets[i] in graph.neighbours[i] for i in range(p))
        assert one.callers == [[i for i in range(p) if one.targets[i] == j] for j in range(p)]


@given(p=st.integers(2, 12), seed=st.integers(0, 5))
def test_a_matching_takes_edges_in_a_random_order(p, seed):
    graph = graphs.complete(p)
    free, pairs = set(range(p)), set()
    for index in np.random.default_rng((seed, 0)).permutation(len(graph.pairs)):
        i, j = graph.pairs[index].tolist()
        if {i, j} <= free:
            free -= {i, j}
            pairs.add((i, j))
    neighbours = schedules.random_matching(graph, seed, 0).graph.neighbours
    assert {(i, j) for i, targets in enumerate(neighbours) for j in targets if i < j} == pairs


@pytest.mark.parametrize("p", [2, 3, 7, 8])
def test_the_contraction_of_random_pairs_is_that_of_their_mean_matrix(p):
    draws = [schedules.random_matching(graphs.complete(p), 0, k).matrix() for k in range(2000)]
    estimated = max(0.0, float(np.linalg.eigvalsh(np.mean(draws, axis=0))[-2]))
    assert schedules.pairwise_contraction(p) == pytest.approx(np.sqrt(estimated), rel=0.03, abs=1e-7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: graphs.named("0-1,2-3", 4), "connected"),
        (lambda: graphs.named("nonsense", 4), "a graph is one of"),
        (lambda: graphs.from_edges(3, [(0, 7)]), "between 0 and 2"),
        (lambda: graphs.from_edges(3, [(1, 1)]), "self-loop"),
        (lambda: graphs.random_regular(5, 3), "must be even"),
        (lambda: graphs.random_regular(4, 4), "between 2 and p - 1"),
        (lambda: of_matrix([[0.5, 0.5], [0.4, 0.6]]), "column 0 .* sums to 0.9"),
        (lambda: of_matrix([[0.5, 0.4], [0.5, 0.6]]), "row 0 .* sums to 0.9"),
        (lambda: of_matrix([[1.5, -0.5], [-0.5, 1.5]]), ">= 0"),
        (lambda: of_matrix(np.eye(3)), "connected"),
        (lambda: mixing.metropolis(graphs.exponential(8)), "one-way"),
        (lambda: mixing.rounds_to(0.1, 1.0), "never converges"),
    ],
)
def test_bad_input_is_one_clear_line(make, words):
    with pytest.raises(UsageError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


@given(p=st.integers(3, 16), n=st.integers(1, 9**6), name=st.sampled_from(["ring", "torus", "exponential", "complete"]))
def test_the_timeline_of_a_regular_round_is_its_closed_form(p, n, name):
    graph = graphs.named(name, p)
    sends = [[(j, n) for j in to] for to in graph.neighbours]
    assert costs.timeline([sends], 1e-5, 1e-9) == pytest.approx(
        costs.seconds("gossip", p, n, 1e-5, 1e-9, degrees=(graph.degree,))
    )


@given(m=st.integers(1, 20), n=st.integers(1, 10**6))
def test_the_timeline_of_a_federated_round_is_its_closed_form(m, n):
    down = [[(c, n) for c in range(1, m + 1)], *[[] for _ in range(m)]]
    up = [[], *[[(0, n)] for _ in range(m)]]
    assert costs.timeline([down, up], 1e-5, 1e-9) == pytest.approx(costs.seconds("federated", m, n, 1e-5, 1e-9))
