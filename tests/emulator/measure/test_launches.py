"""Intervals over launches: they hold what a further launch measures, and a point's median is that of its launches."""

import numpy as np
import pytest

from emulator import speedup
from emulator.costs import terms
from emulator.measure import launches, samples
from emulator.measure.fit import fit
from emulator.measure.model import Point
from emulator.measure.series import Job, Series

ALPHA, BETA, SIZES, RANKS = 3e-6, 2e-10, (8, 512, 4096, 65536, 1 << 20, 1 << 23), (2, 4, 8)


def launch(rng, apart):
    """The times of a ring in one launch, whose latency and bandwidth differ from other launches', by (p, n)."""
    slow, narrow = np.exp(apart * rng.standard_normal(2))
    return {
        (p, n): terms("ring", p).seconds(n, ALPHA * slow, BETA * narrow) * np.exp(0.05 * rng.standard_normal(12))
        for p in RANKS
        for n in SIZES
    }


def fitted(made):
    points = []
    for p, n in made[0]:
        times = [one[p, n] for one in made]
        of = np.repeat(range(len(made)), [len(one) for one in times])
        points.append(Point(n, terms("ring", p), np.concatenate(times), of if len(made) > 1 else None, p))
    return fit(points, gamma=0.0, most_segments=1, resamples=80).headline


@pytest.mark.parametrize("apart", [0.05, 0.2])
def test_three_launches_hold_what_the_next_one_fits(apart):
    sets, inside = 30, np.zeros(3)
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        found, (further,) = fitted([launch(rng, apart) for _ in range(3)]), [fitted([launch(rng, apart)])]
        bounds = [found.interval(0), found.interval(1), speedup.best_interval(0.1, "ring", 1 << 23, found.draws)]
        best = speedup.measured(0.1, "ring", 1 << 23, further.alpha, further.beta).best().p
        inside += [low <= x <= high for (low, high), x in zip(bounds, (further.alpha, further.beta, best), strict=True)]
        assert bounds[0][1] < 6 * bounds[0][0] or apart > 0.1
    assert (inside >= 0.9 * sets).all(), inside


@pytest.mark.parametrize(("count", "apart"), [(2, 0.1), (3, 0.1), (3, 0.2), (6, 0.3), (20, 0.3)])
def test_the_interval_holds_the_next_median(count, apart):
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        *found, further = np.exp(apart * rng.standard_normal(count + 1))
        low, high = launches.interval(found)
        inside += low <= further <= high
    assert inside >= 0.9 * 400


def test_one_disturbed_launch_does_not_move_the_median():
    seconds, of = [1.0, 1.1, 1.0, 1.2, 50.0, 60.0, 70.0, 80.0], [0, 0, 1, 1, 2, 2, 2, 2]
    assert launches.medians(seconds, of) == pytest.approx([1.05, 1.1, 65.0])
    assert Point(8, terms("ring", 2), seconds, of).median == pytest.approx(1.1)


def test_launches_are_joined_in_order_and_told_apart():
    own = Series(Job("link", 2, 8, (0, 1), labels={"source": 0, "destination": 1}), [3.0], [0.3], wrong=2)
    row = {"pattern": "link", "ranks": 2, "bytes": 8, "source": 0, "destination": 1, "skew": None}
    back = row | {"source": 1, "destination": 0, "seconds": 9.0}
    others = [[row | {"seconds": 1.0}, back], [row | {"seconds": 2.0}]]
    samples.join([own], others)
    assert (own.seconds, own.launches, own.wrong) == ([1.0, 2.0, 3.0], [0, 1, 2], 2)
    rows = own.rows()
    assert [row["launch"] for row in rows] == [0, 1, 2]
    assert [[row["seconds"] for row in part] for part in samples.split(rows)] == [[1.0], [2.0], [3.0]]
    assert samples.of_itself(rows)[0]["seconds"] == 3.0
    assert len(samples.distinct([*samples.split(rows), *others])) == 3 + 1  # the first brings another message
    again = samples.series_of([row for part in others for row in part])
    assert [(one.job.members, one.seconds) for one in again] == [((0, 1), []), ((1, 0), [])]
