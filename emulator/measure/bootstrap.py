"""Bootstrap draws for the intervals of a fit: resampled repetitions, and errors of the model itself.

Resampled repetitions alone would claim terms known to 1 % of a model that is off by 20 % (Brynjarsdottir and O'Hagan,
"Learning about physical parameters: the importance of model discrepancy", 2014). So errors of the model are drawn as
well. They are not independent between points: all points of one number of ranks are off together (caches, shared
cores), and all points of one size (protocols). Therefore the logarithms of the residuals are split into an effect of
each number of ranks, one of each size, and the rest, and the variances of the three are drawn with their own
uncertainty (analysis of variance with random effects: Searle, Casella and McCulloch, "Variance components", 1992,
chapters 4 and 5). For few numbers of ranks that is Student's interval. The variance that repetitions explain is
subtracted from the rest, so that nothing counts twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.measure import launches
from emulator.measure.model import Point

Array = NDArray[np.float64]

_LARGEST_ERROR = 3.0  # of a logarithm: a factor of 20


def medians(points: Sequence[Point], resamples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Medians of resampled repetitions, shape (resamples, points), and the variance of each point's logarithm.

    Where there are several launches, they are resampled first, and the medians are those of a further launch (see
    `emulator.measure.launches`); the variance is that of the repetitions alone.
    """
    numbers = sorted({launch for p in points if p.launches is not None for launch in np.asarray(p.launches).tolist()})
    if len(numbers) < 2:
        found = np.column_stack([_of_repetitions(np.asarray(p.seconds, dtype=float), resamples, rng) for p in points])
        return found, noise(found)
    resampled = np.full((len(numbers), resamples, len(points)), np.nan)
    logs = np.full((len(numbers), len(points)), np.nan)
    for column, point in enumerate(points):
        samples, of = np.asarray(point.seconds, dtype=float), np.asarray(point.launches)
        for row, number in enumerate(numbers):
            if len(part := samples[of == number]):
                resampled[row, :, column] = _of_repetitions(part, resamples, rng)
                logs[row, column] = np.log(np.median(part))
    # A launch disturbs all its points together: one draw of launches is used for all of them.
    drawn = rng.integers(len(numbers), size=(len(numbers), resamples))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a point that none of the drawn launches has measured
        found = np.nanmedian(resampled[drawn, np.arange(resamples)], axis=0)
    own = np.array([point.median for point in points])
    found = np.where(np.isnan(found), own, found) * np.exp(launches.deviations(logs, resamples, rng))
    return found, noise(np.nanmedian(resampled, axis=0))


def _of_repetitions(samples: Array, resamples: int, rng: np.random.Generator) -> Array:
    drawn = samples[rng.integers(len(samples), size=(resamples, len(samples)))]
    return np.median(drawn, axis=1)


def noise(resampled: Array) -> Array:
    """Variance of the logarithm of each column of resampled medians, from quantiles, which ignore outliers."""
    low, high = np.quantile(np.log(resampled), [0.1587, 0.8413], axis=0)
    return ((high - low) / 2) ** 2


def model_errors(
    residuals: Array,
    ranks: ArrayLike,
    sizes: ArrayLike,
    noise_variance: float,
    terms: int,
    resamples: int,
    rng: np.random.Generator,
    turns: bool = False,
) -> Array:
    """Draw errors of a model with the variances that its residuals show.

    Parameters
    ----------
    residuals : array, shape (points,)
        Logarithms of measured / fitted.
    ranks, sizes : array_like, shape (points,)
        Of each point.
    noise_variance : mean variance of the points' logarithms from their repetitions
    terms : fitted terms, at least 2, without that of ranks that take turns on cores
    turns : whether that one is fitted, too
    resamples, rng : number of draws, and the random generator

    Returns
    -------
    array, shape (resamples, points)
        To be added to logarithms; no rows if there are no more points than terms, which leaves no residual.
    """
    count = len(residuals)
    rest = residuals - residuals.mean()
    free = count - terms - turns
    if free < 1:
        return np.empty((0, count))
    effects = []
    # The level of a fit takes a degree of freedom of the ranks'; alpha and beta are told apart by sizes and take two.
    for labels, taken in ((ranks, 1 + turns), (sizes, 2)):
        levels, index, members = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
        degrees = len(levels) - taken
        if len(levels) < count and degrees >= 1 and free > degrees:
            means = np.bincount(index, rest) / members
            rest = rest - means[index]
            free -= degrees
            effects.append((index, (means**2).sum(), degrees, count / len(levels)))
    mean_square = (rest**2).sum() / rng.chisquare(free, resamples)
    drawn = _normal(mean_square - noise_variance, count, rng)
    for index, squares, degrees, members_each in effects:
        variance = squares / rng.chisquare(degrees, resamples) - mean_square / members_each
        drawn += _normal(variance, index.max() + 1, rng)[:, index]
    return np.clip(drawn, -_LARGEST_ERROR, _LARGEST_ERROR)


def _normal(variance: Array, columns: int, rng: np.random.Generator) -> Array:
    """Draw a row of normal numbers for each variance; a variance below 0 counts as 0."""
    return np.sqrt(np.maximum(variance, 0.0))[:, None] * rng.standard_normal((len(variance), columns))
