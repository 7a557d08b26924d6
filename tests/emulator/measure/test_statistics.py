"""Order-statistic intervals: the textbook's table, and the coverage that they promise on skewed data."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import statistics


@pytest.mark.parametrize(
    ("n", "low", "high"),
    # Le Boudec, table of confidence intervals for the median: ranks count from 1
    [(6, 1, 6), (10, 2, 9), (20, 6, 15), (30, 10, 21), (50, 18, 33), (70, 27, 44), (100, 40, 61)],
)
def test_intervals_are_those_of_the_table(n, low, high):
    assert statistics.interval_of_median(range(1, n + 1)) == (low, high)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_samples_have_no_interval(n):
    assert statistics.interval_of_median([1.0] * n) is None


@pytest.mark.parametrize("n", [6, 13, 30, 101, 400])
def test_the_interval_covers_the_median_of_a_skewed_distribution(n):
    rng = np.random.default_rng(n)
    samples = rng.lognormal(0.0, 1.5, size=(2000, n))  # the median is 1
    intervals = [statistics.interval_of_median(row) for row in samples]
    covered = np.mean([low <= 1 <= high for low, high in intervals])
    assert covered >= 0.94


@given(st.lists(st.floats(1e-9, 1e3), min_size=6, max_size=200))
def test_a_summary_is_ordered(samples):
    result = statistics.summary(samples)
    low, high = result["ci95"]
    assert min(samples) <= low <= result["median"] <= high <= max(samples)
    assert result["p5"] <= result["median"] <= result["p95"] <= result["p99"]
    assert result["n"] == len(samples)


def test_equal_samples_have_an_interval_of_no_width():
    assert statistics.relative_width([2.0] * 6) == 0
    assert statistics.relative_width([2.0] * 5) == math.inf
