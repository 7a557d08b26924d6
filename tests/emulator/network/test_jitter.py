"""Jitter distributions: never negative, pure, with the mean of their closed form."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.network.draws import key
from emulator.network.jitter import Constant, Empirical, Exponential, Normal, Pareto, Uniform

unit = st.floats(0, 1, exclude_max=True)
seconds = st.floats(0, 10, allow_subnormal=False)
jitters = st.one_of(
    st.builds(Constant, seconds),
    st.tuples(seconds, seconds).map(sorted).map(lambda ends: Uniform(*ends)),
    st.builds(Normal, seconds, seconds),
    st.builds(Exponential, seconds),
    st.builds(Pareto, seconds, st.floats(0.1, 20)),
    st.lists(seconds, min_size=1, max_size=20).map(sorted).map(tuple).map(Empirical),
)
MEANS = [
    (Constant(2e-3), 2e-3),
    (Uniform(1e-3, 3e-3), 2e-3),
    (Normal(2e-3, 1e-3), 2.008491e-3),  # m Phi(m/s) + s phi(m/s), since it is cut off at 0
    (Normal(0.0, 1e-3), 0.398942e-3),
    (Normal(2e-3, 0.0), 2e-3),
    (Exponential(2e-3), 2e-3),
    (Pareto(4e-3, 5.0), 1e-3),
    (Empirical((0.0, 1e-3, 5e-3)), 1.75e-3),
    (Empirical((2e-3,)), 2e-3),
]


@given(jitters, unit, unit)
def test_a_sample_is_finite_and_not_negative(jitter, first, second):
    sample = jitter.sample(first, second)
    assert sample >= 0
    assert math.isfinite(sample)


@pytest.mark.parametrize(("jitter", "mean"), MEANS, ids=repr)
def test_draws_have_the_mean_of_the_distribution(jitter, mean):
    draws = [jitter.draw(key(11, sequence)) for sequence in range(20_000)]
    assert math.fsum(draws) / len(draws) == pytest.approx(mean, rel=0.03)


@given(jitters, st.integers(0, 2**64 - 1))
def test_a_draw_depends_on_the_key_alone(jitter, word):
    assert jitter.draw(word) == jitter.draw(word)


@given(st.lists(seconds, min_size=2, max_size=9).map(sorted).map(tuple), unit)
def test_an_empirical_sample_stays_between_the_extremes(table, first):
    sample = Empirical(table).sample(first, 0.0)
    assert table[0] * (1 - 1e-12) <= sample <= table[-1] * (1 + 1e-12)


def test_an_empirical_table_is_its_own_quantiles():
    jitter = Empirical((0.0, 1.0, 10.0))
    assert [jitter.sample(u, 0.0) for u in (0.0, 0.25, 0.5, 0.75)] == [0.0, 0.5, 1.0, 5.5]
