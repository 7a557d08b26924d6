"""Waiting under a bound and among neighbours, against the recursion of the ranks' times; graphs against their edges."""

import numpy as np
import pytest

from emulator.costs import graphs, waiting

NAMES = ("one-peer", "ring", "torus", "exponential", "complete")


def followed(p, spread, bound, sources, steps=1500):
    """Seconds of a step where rank i begins step k when all of its sources have ended step k - 1 - bound."""
    rng = np.random.default_rng(5)
    ends = [np.zeros(p)]
    for k in range(steps):
        begins = ends[-1]
        if k > bound:
            begins = np.maximum(begins, ends[k - bound][sources[k % len(sources)]].max(axis=1))
        ends.append(begins + waiting.lognormal(rng.standard_normal(p), spread))
    warm = steps // 3
    return (ends[-1].mean() - ends[warm].mean()) / (steps - warm)


def sources_of(graph, p):
    """For each round and rank: itself and who sends to it, as often as makes the lists equally long."""
    found = []
    for sends in graphs.targets(graph, p):
        into = [[i, *(j for j in range(p) if i in sends[j])] for i in range(p)]
        most = max(map(len, into))
        found.append(np.array([row + row[:1] * (most - len(row)) for row in into]))
    return found


@pytest.mark.parametrize(("p", "bound"), [(2, 3), (7, 1), (16, 3), (64, 1), (64, 4), (200, 8)])
@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_waiting_under_a_bound_is_that_of_ranks_that_were_followed(p, bound, spread):
    everyone = [np.tile(np.arange(p), (p, 1))]
    assert waiting.bounded(p, spread, bound) == pytest.approx(followed(p, spread, bound, everyone), rel=0.025)


@pytest.mark.parametrize("graph", NAMES)
@pytest.mark.parametrize("p", [2, 6, 13, 16, 64])
def test_neighbours_wait_as_long_as_a_barrier_among_the_awaited(graph, p):
    group = graphs.awaited(graph, np.array([p]))[0]
    assert waiting.slowest(group, 0.3) == pytest.approx(followed(p, 0.3, 0, sources_of(graph, p)), rel=0.03)


@pytest.mark.parametrize("graph", NAMES)
def test_degrees_and_diameters_are_those_of_the_edges(graph):
    p = np.arange(1, 40)
    degrees, diameters = graphs.degrees(graph, p), graphs.diameters(graph, p)
    for ranks, degree, diameter in zip(p.tolist(), degrees, diameters, strict=True):
        rounds = graphs.targets(graph, ranks)
        assert {len(row) for sends in rounds for row in sends} == {degree}
        known = np.eye(ranks, dtype=bool)
        needed = 0
        while not known.all():
            known = known | known[:, sources_of(graph, ranks)[needed % len(rounds)]].any(axis=2)
            needed += 1
        assert diameter - (graph == "exponential" and ranks & (ranks - 1) > 0) <= max(1, needed) <= diameter
