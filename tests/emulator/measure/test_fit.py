"""Fits of synthetic data with known terms: recovered through noise and outliers, with intervals that cover."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import costs, speedup
from emulator.errors import UsageError
from emulator.measure import regression
from emulator.measure.fit import fit
from emulator.measure.model import MESSAGE, Point
from emulator.measure.terms import contention, held_out, textbook_terms

ALPHA, BETA, GAMMA = 3e-6, 2e-10, 1e-10
SIZES = [0, *(2**k for k in range(24))]


def repetitions(truth, rng, *, noise=0.1, outliers=0.1, n=15):
    """Times around a true median: multiplicative noise, and now and then a sample that is many times too long."""
    times = truth * np.exp(noise * rng.standard_normal(n))
    return np.where(rng.random(n) < outliers, times * rng.uniform(5, 500, n), times)


# One outlier in ten, all of them too long, moves the median itself: by that much, and no statistic can tell.
MEDIAN_SHIFT = math.exp(0.1 * NormalDist().inv_cdf(0.5 / 0.9))


def messages(alpha, beta, rng, sizes=SIZES, **how):
    return [Point(n, MESSAGE, repetitions(alpha + beta * n, rng, **how)) for n in sizes]


def collective(names, rng, ranks=(2, 3, 4, 8), sizes=(8, 512, 4096, 65536, 1 << 20, 1 << 23), gamma=GAMMA, **how):
    points = []
    for name, p, n in itertools.product(names, ranks, sizes):
        terms = costs.terms(name, p)
        points.append(Point(n, terms, repetitions(terms.seconds(n, ALPHA, BETA, gamma), rng, **how), ranks=p))
    return points


def test_exact_data_gives_exact_terms_in_one_segment():
    found = fit([Point(n, MESSAGE, [ALPHA + BETA * n] * 6) for n in SIZES])
    assert found.headline.alpha == pytest.approx(ALPHA, rel=1e-6)
    assert found.headline.beta == pytest.approx(BETA, rel=1e-6)
    assert found.headline.interval(0) == pytest.approx((ALPHA, ALPHA), rel=1e-6)
    assert len(found.segments) == 1
    assert found.error < 1e-6


def test_a_link_is_recovered_through_noise_and_outliers():
    found = fit(messages(ALPHA, BETA, np.random.default_rng(1)))
    assert found.headline.alpha == pytest.approx(ALPHA, rel=0.05)
    assert found.headline.beta == pytest.approx(BETA, rel=0.05)
    assert found.error < 0.06


@pytest.mark.parametrize("names", [("ring", "recursive_doubling"), ("ring_reduce_scatter", "ring_all_gather")])
def test_alpha_beta_and_gamma_of_patterns_that_tell_them_apart(names):
    found = fit(collective(names, np.random.default_rng(2)))
    assert found.gamma_known
    assert found.headline.alpha == pytest.approx(ALPHA, rel=0.05)
    assert found.headline.beta == pytest.approx(BETA, rel=0.1)
    assert found.headline.gamma == pytest.approx(GAMMA, rel=0.3)


def test_a_ring_alone_cannot_tell_gamma_from_beta_and_says_so():
    found = fit(collective(["ring"], np.random.default_rng(3)))
    assert not found.gamma_known
    assert found.headline.beta == pytest.approx(BETA + GAMMA / 2, rel=0.05)
    assert found.record("collective", "ring")["gamma"] is None


def test_a_gamma_measured_by_itself_is_kept_and_its_doubt_passed_on():
    draws = GAMMA * np.exp(0.3 * np.random.default_rng(0).standard_normal(100))
    points = collective(["ring"], np.random.default_rng(4))
    found, sure = fit(points, gamma=GAMMA, gamma_draws=draws), fit(points, gamma=GAMMA)
    assert found.headline.gamma == GAMMA
    assert found.headline.beta == pytest.approx(BETA, rel=0.1)
    assert found.headline.interval(2) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), rel=1e-6)
    assert np.ptp(found.headline.interval(1)) > np.ptp(sure.headline.interval(1))


def test_the_intervals_cover_the_truth():
    """95 % intervals over 60 data sets: at least 85 % of them hold the true value, and none is absurdly wide."""
    inside = {"alpha": 0, "beta": 0, "gamma": 0}
    sets = 60
    for seed in range(sets):
        points = collective(("ring", "recursive_doubling"), np.random.default_rng(1000 + seed), ranks=(2, 4, 8))
        found = fit(points, most_segments=1, resamples=100, seed=seed)
        for column, (name, truth) in enumerate(zip(inside, (ALPHA, BETA, GAMMA), strict=True)):
            low, high = found.headline.interval(column)
            inside[name] += low <= truth * MEDIAN_SHIFT <= high
            assert high - low < 1.2 * truth, name
    assert min(inside.values()) >= 0.85 * sets, inside


def test_a_link_interval_covers_the_truth():
    inside = np.zeros(2)
    sets = 80
    for seed in range(sets):
        found = fit(messages(ALPHA, BETA, np.random.default_rng(seed)), most_segments=1, resamples=100, seed=seed)
        for column, truth in enumerate((ALPHA, BETA)):
            low, high = found.headline.interval(column)
            inside[column] += low <= truth * MEDIAN_SHIFT <= high
    assert (inside >= 0.87 * sets).all(), inside


@pytest.mark.parametrize(("by_ranks", "by_size"), [(0.15, 0.0), (0.0, 0.15), (0.1, 0.1)])
def test_the_intervals_cover_the_truth_of_a_model_that_is_wrong_itself(by_ranks, by_size):
    """Each number of ranks, or each size, is slower or faster as a whole: repetitions are sure of the wrong terms."""
    ranks, sizes, sets = (2, 4, 8, 16), (8, 512, 4096, 65536, 1 << 20, 1 << 23), 40
    best = speedup.measured(0.1, "ring", 1 << 23, ALPHA, BETA).best().p
    inside = np.zeros(3)
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        slow = dict(zip(ranks, np.exp(by_ranks * rng.standard_normal(len(ranks))), strict=True))
        dear = dict(zip(sizes, np.exp(by_size * rng.standard_normal(len(sizes))), strict=True))
        points = []
        for p, n in itertools.product(ranks, sizes):
            terms = costs.terms("ring", p)
            truth = terms.seconds(n, ALPHA, BETA, 0.0) * slow[p] * dear[n]
            points.append(Point(n, terms, repetitions(truth, rng, noise=0.05, outliers=0), ranks=p))
        found = fit(points, gamma=0.0, most_segments=1, resamples=100, seed=seed).headline
        bounds = [found.interval(0), found.interval(1), speedup.best_interval(0.1, "ring", 1 << 23, found.draws)]
        inside += [low <= truth <= high for (low, high), truth in zip(bounds, (ALPHA, BETA, best), strict=True)]
        assert np.ptp(bounds[0]) < 2 * ALPHA
    assert (inside >= 0.85 * sets).all(), inside


@pytest.mark.parametrize(
    "points",
    [
        [Point(n, MESSAGE, [ALPHA + BETA * n] * (5 if n == 8 else 30)) for n in SIZES],  # one point of few repetitions
        [Point(n, MESSAGE, [ALPHA + BETA * n] * 30) for n in (8, 1 << 20)],  # a line through two points misses nothing
    ],
)
def test_no_interval_is_claimed_where_there_is_none(points):
    record = fit(points).record("link", "link")
    assert record["alpha"] == {"value": pytest.approx(ALPHA, rel=1e-6), "ci95": None}
    assert record["beta"]["ci95"] is None
    assert record["draws"] is None
    assert all(segment["alpha"]["ci95"] is None for segment in record["segments"])


def test_a_doubt_that_is_not_known_is_not_passed_on_as_none():
    points = collective(["ring"], np.random.default_rng(4))
    assert fit(points, gamma=GAMMA, gamma_draws=[]).headline.interval(0) is None


def test_a_protocol_switch_is_found_and_improves_the_prediction():
    rng = np.random.default_rng(5)
    sizes = sorted({0, *(2**k for k in range(21)), *(3 * 2**k for k in range(19))})
    points = []
    for n in sizes:
        truth = 1e-6 + 1e-10 * n if n <= 4096 else 8e-6 + 3e-10 * n
        points.append(Point(n, MESSAGE, repetitions(truth, rng, noise=0.03)))
    found = fit(points)
    assert [one.last for one in found.segments][:-1] == [4096]
    assert found.segmented_error < 0.03 < found.error
    assert found.at(4096) is found.segments[0]
    assert found.at(4097) is found.segments[1]
    assert found.at(1 << 40) is found.segments[-1]


def test_the_quoted_terms_are_what_short_and_what_long_messages_pay():
    """A line of 50 Mbit/s behind a bucket that lets short messages pass: one line through all would quote 124 ns/B."""
    rng = np.random.default_rng(5)
    sizes = sorted({0, *(2**k for k in range(23)), *(3 * 2**k for k in range(21))})
    truth = {n: 2e-4 + 1e-8 * n if n <= 65536 else 1.5e-3 + 168e-9 * n for n in sizes}
    found = fit([Point(n, MESSAGE, repetitions(truth[n], rng, noise=0.03, outliers=0)) for n in sizes])
    assert found.headline.alpha == pytest.approx(2e-4, rel=0.05)
    assert found.headline.beta == pytest.approx(168e-9, rel=0.05)
    assert (found.headline.first, found.headline.last) == (0, sizes[-1])
    assert found.headline.interval(0) == found.segments[0].interval(0)
    assert found.headline.interval(1) == found.segments[-1].interval(1)
    assert found.segmented_error < 0.05
    assert abs(found.worst["relative_error"]) < 0.2
    record = found.record("link", "link")
    assert (record["first"], record["last"], record["worst"]["ranks"]) == (0, sizes[-1], 2)


def test_a_straight_line_through_noise_is_not_broken():
    broken = sum(
        len(fit(messages(ALPHA, BETA, np.random.default_rng(seed)), resamples=2).segments) > 1 for seed in range(20)
    )
    assert broken <= 2


def test_launches_that_differ_widen_the_interval():
    rng = np.random.default_rng(6)
    points = []
    launches = np.repeat(range(6), 10)
    speed = np.exp(0.5 * rng.standard_normal(6))[launches]  # a launch is slow or fast as a whole
    for n in SIZES:
        points.append((n, (ALPHA + BETA * n) * speed * np.exp(0.02 * rng.standard_normal(60))))
    blind = fit([Point(n, MESSAGE, times) for n, times in points]).headline.interval(0)
    aware = fit([Point(n, MESSAGE, times, launches) for n, times in points]).headline.interval(0)
    assert np.ptp(aware) > 2 * np.ptp(blind)


def test_a_fit_on_few_ranks_predicts_many():
    rng = np.random.default_rng(7)
    names = ("ring",)
    fitted = fit(collective(names, rng, ranks=(2, 4, 8)))
    rows = held_out(fitted, collective(names, rng, ranks=(16,)))
    assert {row["ranks"] for row in rows} == {16}
    assert max(abs(row["relative_error"]) for row in rows) < 0.2


def test_contention_is_the_ratio_of_the_terms():
    rng = np.random.default_rng(8)
    link = fit(messages(ALPHA, BETA, rng), most_segments=1)
    crowded = []
    for p, n in itertools.product((2, 4, 8), (8, 1024, 65536, 1 << 22)):
        terms = costs.terms("ring_all_gather", p)
        crowded.append(Point(n, terms, repetitions(terms.seconds(n, 3 * ALPHA, 2 * BETA), rng)))
    factors = contention(fit(crowded, most_segments=1), link)
    assert factors["alpha"]["value"] == pytest.approx(3, rel=0.1)
    assert factors["beta"]["value"] == pytest.approx(2, rel=0.1)
    for one in factors.values():
        assert one["ci95"][0] < one["value"] < one["ci95"][1]


@given(st.integers(2, 100), st.integers(1, 1 << 24))
def test_the_textbook_form_is_the_same_time(p, n):
    ring = fit([Point(size, MESSAGE, [ALPHA + BETA * size] * 6) for size in (0, 8, 1 << 20)], resamples=2).headline
    terms = textbook_terms(ring, n)
    textbook = terms["alpha"] * (p - 1) + 2 * terms["beta"] * (p - 1) / p
    assert textbook == pytest.approx(costs.seconds("ring", p, n, ring.alpha, ring.beta, ring.gamma))


@settings(deadline=None)
@given(st.lists(st.floats(1e-7, 1e-2), min_size=6, max_size=6))
def test_terms_are_never_negative(times):
    found = fit(
        [Point(n, MESSAGE, [t] * 6) for n, t in zip((0, 8, 64, 512, 4096, 1 << 15), times, strict=True)], resamples=3
    )
    for one in (found.headline, *found.segments):
        assert one.alpha >= 0
        assert one.beta >= 0


def test_scatter_over_a_decade_does_not_drag_the_terms_down():
    sizes, terms = [2**k for k in range(24)] * 6, []
    for seed in range(10):
        noise = 10 ** np.random.default_rng(seed).normal(0, 0.5, len(sizes))
        points = [Point(n, MESSAGE, [(ALPHA + BETA * n) * wild]) for n, wild in zip(sizes, noise, strict=True)]
        headline = fit(points, most_segments=1, resamples=2).headline
        terms.append((headline.alpha, headline.beta))
    assert np.median(terms, axis=0) == pytest.approx((ALPHA, BETA), rel=0.15)


def test_one_wild_point_does_not_bend_a_line():
    n = np.linspace(0.1, 1, 30)
    target = 2 + 3 * n
    target[7] = 500
    assert regression.huber(np.column_stack([np.ones(30), n]), target) == pytest.approx([2, 3], rel=0.02)


def test_a_coefficient_that_would_be_negative_is_zero():
    n = np.linspace(0.1, 1, 30)
    found = regression.huber(np.column_stack([np.ones(30), n]), 2 - 1.5 * n)
    assert found[1] == 0
    assert found[0] == pytest.approx(np.median(2 - 1.5 * n), rel=0.1)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "at least 2 sizes, got 0"),
        ([Point(8, MESSAGE, [1.0]), Point(8, MESSAGE, [1.0])], "at least 2 sizes, got 1"),
        ([Point(8, MESSAGE, [0.0]), Point(16, MESSAGE, [1.0])], "times > 0"),
    ],
)
def test_points_that_cannot_be_fitted_are_refused(points, said):
    with pytest.raises(UsageError, match=said):
        fit(points)
