"""Launches as samples: predict what a further launch of the same command will measure.

Where the processes and their buffers come to lie makes the same message dearer or cheaper for as long as they live, so
that the repetitions of one launch say nothing of the next (Kalibera and Jones, "Rigorous benchmarking in reasonable
time", 2013). The median of a point is therefore the median of its launches' medians, and an interval over launches is
a prediction interval: the median of one further launch lies in it with a probability of 95 %.

Launches of a command are few. How far they lie apart (as logarithms) is estimated from them and from a prior that
weighs as much as two launches more: the spread seen on quiet machines with more ranks than cores. With m launches the
interval is that of Student's distribution with m + 1 degrees of freedom, for one more value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

PRIOR_SPREAD = 0.1
"""Standard deviation of the logarithm between launches that is assumed beforehand, with the weight of two launches."""
PRIOR_WEIGHT = 2

Array = NDArray[np.float64]


def medians(seconds: ArrayLike, launches: ArrayLike | None) -> list[float]:
    """The median of each launch's repetitions, in the order of launch numbers; one value without `launches`."""
    values = np.asarray(seconds, dtype=float)
    if launches is None or not np.size(launches):
        return [float(np.median(values))]
    of = np.asarray(launches)
    return [float(np.median(values[of == launch])) for launch in np.unique(of)]


def interval(found: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median of a further launch, from the medians (s, > 0) of at least two."""
    from scipy.special import stdtrit

    logs, count = np.log(found), len(found)
    free = count - 1 + PRIOR_WEIGHT
    variance = (((logs - logs.mean()) ** 2).sum() + PRIOR_WEIGHT * PRIOR_SPREAD**2) / free
    half = float(stdtrit(free, 0.975)) * math.sqrt(variance * (1 + 1 / count))
    centre = float(np.median(logs))
    return math.exp(centre - half), math.exp(centre + half)


def deviations(logs: Array, resamples: int, rng: np.random.Generator) -> Array:
    """Draw what a further launch adds to the logarithms of all points, shape (resamples, points).

    Parameters
    ----------
    logs : array, shape (launches, points)
        Logarithms of the launches' medians; nan where a launch has not measured a point.
    """
    count = len(logs)
    free = count - 1 + PRIOR_WEIGHT
    apart = np.nan_to_num(logs - np.nanmean(logs, axis=0))
    # Normal weights of the launches' own deviations have their covariance: what is off together stays together.
    seen = rng.standard_normal((resamples, count)) @ apart
    assumed = math.sqrt(PRIOR_WEIGHT) * PRIOR_SPREAD * rng.standard_normal((resamples, 1))
    return np.asarray((seen + assumed) / np.sqrt(rng.chisquare(free, (resamples, 1))))
