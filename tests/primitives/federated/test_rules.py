"""Aggregation: each robust rule within its proven bound, whatever the liars send."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import UsageError
from primitives.federated import rules
from primitives.federated.rules import weighted_mean

ROBUST = [rule for rule in rules.RULES.values() if rule.tolerates]


@st.composite
def attacked(draw, spare=0):
    """(all updates, honest ones, f): m >= 2 f + 1 + spare updates, f of them arbitrary, in any order."""
    f = draw(st.integers(0, 4))
    m = 2 * f + 1 + spare + draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 6))
    honest = rng.normal(size=(m - f, n)) + rng.normal(size=n)
    lies = draw(st.sampled_from(["far", "near", "same", "nan", "inf"]))
    liars = {
        "far": rng.normal(size=(f, n)) * 1e6,
        "near": honest.mean(axis=0) + 3 * honest.std(axis=0) * rng.choice([-1, 1], (f, n)),
        "same": np.tile(honest.mean(axis=0) + 5, (f, 1)),
        "nan": np.full((f, n), np.nan),
        "inf": np.full((f, n), np.inf),
    }[lies]
    rows = np.vstack([honest, liars])
    return rows[rng.permutation(m)], honest, f


@given(attacked())
def test_median_lies_within_the_honest_values(case):
    rows, honest, f = case
    value = rules.median(rows, f)
    assert (value >= honest.min(axis=0) - 1e-12).all()
    assert (value <= honest.max(axis=0) + 1e-12).all()


@given(attacked())
def test_trimmed_mean_lies_between_two_honest_means(case):
    rows, honest, f = case
    value, ordered, kept = rules.trimmed_mean(rows, f), np.sort(honest, axis=0), len(rows) - 2 * f
    assert (value >= ordered[:kept].mean(axis=0) - 1e-9).all()
    assert (value <= ordered[-kept:].mean(axis=0) + 1e-9).all()


@given(attacked())
@settings(deadline=None)
def test_geometric_median_stays_within_its_radius(case):
    rows, honest, f = case
    value, m = rules.geometric_median(rows, f), len(rows)
    centre = honest.mean(axis=0)
    radius = np.linalg.norm(honest - centre, axis=1).max()
    # A thousandth for an iteration that stops short of the minimum.
    assert np.linalg.norm(value - centre) <= 2 * (m - f) / (m - 2 * f) * radius * 1.001 + 1e-6


@given(attacked(spare=2))
def test_krum_chooses_an_update_near_the_honest(case):
    rows, honest, f = case
    m = len(rows)
    diameter = max(np.linalg.norm(a - b) for a in honest for b in honest)
    bound = (1 + np.sqrt((m - f - 2) / (m - 2 * f - 1))) * diameter + 1e-9
    chosen = rules.krum(rows, f)
    assert any((chosen == row).all() for row in rows)
    assert np.linalg.norm(chosen - honest.mean(axis=0)) <= bound
    assert np.isfinite(rules.multi_krum(rows, f)).all()


@given(st.integers(3, 9), st.integers(0, 99))
def test_without_liars_the_linear_rules_are_the_mean(m, seed):
    rows = np.random.default_rng(seed).normal(size=(m, 4))
    np.testing.assert_allclose(rules.trimmed_mean(rows, 0), rows.mean(axis=0))
    np.testing.assert_allclose(weighted_mean(rows, np.ones(m)), rows.mean(axis=0))


def test_geometric_median_of_known_points():
    """The corners of a square: its centre; three points, one doubled: the doubled one; a line: its median."""
    square = [[0, 0], [0, 2], [2, 0], [2, 2]]
    np.testing.assert_allclose(rules.geometric_median(square, 1), [1, 1], atol=1e-6)
    np.testing.assert_allclose(rules.geometric_median([[0, 0], [0, 0], [3, 4]], 1), [0, 0], atol=1e-6)
    np.testing.assert_allclose(rules.geometric_median([[0.0], [1.0], [50.0]], 1), [1], atol=1e-4)


@pytest.mark.parametrize("rule", ROBUST, ids=lambda rule: rule.name)
def test_an_impossible_number_of_liars_is_refused_with_the_reason(rule):
    for m in (3, 4, 5, 8):
        most, examples = rule.most_liars(m), np.ones(m)
        rows = np.random.default_rng(m).normal(size=(m, 3))
        if most >= 0:
            rule.tolerating(most)(rows, examples)
        with pytest.raises(UsageError, match=r"2 f \+ ") as caught:
            rule.tolerating(most + 1)(rows, examples)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda rows: rules.median(rows, -1), "at least 0"),
        (lambda rows: rules.of("mean").tolerating(1), "tolerates no liars"),
        (lambda rows: rules.median(rows[0], 0), "shape"),
        (lambda rows: rules.of("vote"), "a rule is one of"),
        (lambda rows: rules.median(np.where(rows > -9, np.nan, 0), 1), "5 of 5 updates hold NaN"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(UsageError, match=words):
        call(np.random.default_rng(0).normal(size=(5, 3)))


def test_one_liar_ruins_a_mean_and_no_other_rule():
    honest = np.ones((8, 2))
    rows = np.vstack([honest, [[1e9, -1e9]]])
    assert abs(weighted_mean(rows, np.ones(9))).max() > 1e6
    for rule in ROBUST:
        np.testing.assert_allclose(rule.tolerating(1)(rows, np.ones(9)), [1, 1], atol=1e-3)
