"""Fits of the cost model to measurements: alpha, beta and gamma with intervals.

A point is a pattern on p ranks with n bytes and its repetitions; the model is

    T = alpha S + beta V n + gamma R n,     alpha, beta, gamma >= 0

with S, V and R from `emulator.costs` (a plain message has S = V = 1, R = 0). Where some ranks have a core each and
others take turns, a step of these takes longer by a fourth term, so that alpha is that of ranks with a core each. Times
span six decades, so the loss is Huber's, on relative error (its logarithm), over the medians of the points: least
squares on seconds would fit the largest sizes alone and give negative alphas. Protocols change with size, so the model
is fitted in segments of n; the break points minimise the summed relative error (dynamic programming), and their number
is BIC's.

Intervals are bootstrapped: repetitions are drawn (launches first, where there are several), and errors of the model
such as its residuals show (see `emulator.measure.bootstrap`). Where a point has fewer than 6 repetitions, of whose
median there is no 95 % interval, or the points are no more than the terms, no interval is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.errors import UsageError
from emulator.measure import bootstrap
from emulator.measure.model import Coefficients, Fit, Point
from emulator.measure.regression import huber
from emulator.measure.statistics import FEWEST_FOR_INTERVAL

Array = NDArray[np.float64]

MOST_SEGMENTS = 4
RESAMPLES = 200
_FEWEST_SIZES = 4  # distinct sizes in a segment
_NOT_WORTH_A_BREAK = 1e-3  # relative error that no further segment shall try to explain


def fit(
    points: Sequence[Point],
    *,
    gamma: float | None = None,
    gamma_draws: ArrayLike | None = None,
    most_segments: int = MOST_SEGMENTS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Fit:
    """Fit alpha, beta and gamma to points.

    Parameters
    ----------
    points : at least two, of different sizes, so that alpha and beta can be told apart
    gamma, gamma_draws : reduction time per byte (s/byte) where it was measured by itself, and the draws of its own
        bootstrap; no draws if no interval of it is claimed, and then none is of the others
    most_segments : 1 for a single pair of terms over all sizes
    resamples, seed : of the bootstrap

    Raises
    ------
    UsageError
        Too few points, or times that are not positive.
    """
    problem = _Problem(points, gamma)
    breaks = _best_breaks(problem, most_segments)
    known = np.full(resamples, gamma or 0.0)
    if gamma_draws is not None:
        known = np.resize(np.asarray(gamma_draws, dtype=float), resamples if len(np.asarray(gamma_draws)) else 0)
    if min(np.size(p.seconds) for p in points) < FEWEST_FOR_INTERVAL:
        known = known[:0]
    rng = np.random.default_rng(seed)
    medians, noise = bootstrap.medians(points, len(known), rng) if len(known) else (np.empty((0, len(points))),) * 2
    segments = [problem.coefficients(part, medians, noise, known, rng) for part in breaks]
    headline = _headline(segments)
    whole = Fit(headline, segments, problem.gamma_known, 0.0, 0.0)
    errors = [abs(headline.seconds(p.terms, p.bytes, p.shared) / p.median - 1) for p in points]
    segmented = [whole.predict(p.terms, p.bytes, p.shared) / p.median - 1 for p in points]
    off, point = max(zip(segmented, points, strict=True), key=lambda pair: abs(pair[0]))
    worst = {"relative_error": off, "bytes": point.bytes, "ranks": point.ranks}
    return replace(whole, error=float(np.median(errors)), segmented_error=float(np.median(np.abs(segmented))),
                   worst=worst)  # fmt: skip


def _headline(segments: Sequence[Coefficients]) -> Coefficients:
    """The terms to quote: alpha from short messages, beta from long ones, since one line through all fits neither."""
    first, last = segments[0], segments[-1]
    draws = np.empty((0, 3))
    if len(first.draws) and len(last.draws):
        draws = np.column_stack([first.draws[:, 0], np.resize(last.draws, first.draws.shape)[:, 1:]])
    return replace(first, last=last.last, beta=last.beta, gamma=last.gamma, draws=draws)


class _Problem:
    """The design matrix of a fit, and which of its columns the data can distinguish."""

    def __init__(self, points: Sequence[Point], gamma: float | None) -> None:
        self.sizes = np.array([p.bytes for p in points])
        self.ranks = np.array([p.ranks for p in points])
        if len(np.unique(self.sizes)) < 2:
            raise UsageError(
                f"a fit needs points of at least 2 sizes, got {len(np.unique(self.sizes))}: give more --sizes"
            )
        rows = [[p.terms.steps, p.terms.volume * p.bytes, p.terms.reduced * p.bytes, p.terms.steps * p.shared]
                for p in points]  # fmt: skip
        self.design = np.array(rows, dtype=float)
        self.medians = np.array([p.median for p in points])
        if not (self.medians > 0).all():
            raise UsageError(f"a fit needs times > 0, got a median of {self.medians.min():g} s")
        self.given = gamma
        self.gamma_free = gamma is None and _independent(self.design[:, :3] / self.medians[:, None])
        self.turns_free = len({p.shared for p in points}) == 2
        self.gamma_known = self.gamma_free or gamma is not None

    def solve(self, medians: Array, gamma: ArrayLike, used: NDArray[np.bool_]) -> Array:
        """Fit (alpha, beta, gamma, turn) to stacks of medians over the points `used`; `gamma` counts if not free."""
        free = [0, 1, *[2] * self.gamma_free, *[3] * self.turns_free]
        known = np.zeros_like(gamma) if self.gamma_free else np.asarray(gamma, dtype=float)
        offset = known[..., None] * self.design[:, 2]
        shape = np.broadcast_shapes(medians.shape, offset.shape, used.shape)
        found = np.zeros((*shape[:-1], 4))
        found[..., 2] = known
        data, counted = np.broadcast_to(medians, shape), np.broadcast_to(used, shape)
        found[..., free] = huber(self.design[:, free], data, counted, np.broadcast_to(offset, shape))
        return found

    def losses(self, used: NDArray[np.bool_]) -> Array:
        """Summed absolute relative error of the best fit to each selection of points, shape (selections, points)."""
        found = self.solve(self.medians, self.given or 0.0, used)
        predicted = np.maximum(np.einsum("ij,...j->...i", self.design, found), 1e-3 * self.medians)
        errors = np.abs(np.log(predicted / self.medians))
        return (errors * used).sum(axis=-1)

    def coefficients(
        self, used: NDArray[np.bool_], medians: Array, noise: Array, gammas: Array, rng: np.random.Generator
    ) -> Coefficients:
        """Fit the points `used` as measured, and once per row of resampled `medians` with errors of the model.

        `noise` is the variance that repetitions give each point's logarithm.
        """
        found = self.solve(self.medians, self.given or 0.0, used)
        alpha, beta, gamma, turn = found.tolist()
        sizes = self.sizes[used]
        draws = np.empty((0, 3))
        if len(medians):
            errors = self._errors(found, used, float(noise[used].mean()), len(medians), rng)
            draws = self.solve(medians[: len(errors)] * np.exp(errors), gammas[: len(errors)], used)[:, :3]
        return Coefficients(int(sizes.min()), int(sizes.max()), alpha, beta, gamma, draws, turn)

    def _errors(
        self, found: Array, used: NDArray[np.bool_], noise: float, resamples: int, rng: np.random.Generator
    ) -> Array:
        """Draw the errors of the model with terms `found`, shape (resamples, points)."""
        predicted = np.maximum(self.design[used] @ found, 1e-3 * self.medians[used])
        residuals = np.log(self.medians[used] / predicted)
        drawn = bootstrap.model_errors(
            residuals, self.ranks[used], self.sizes[used], noise, 2 + self.gamma_free, resamples, rng, self.turns_free
        )
        errors = np.zeros((len(drawn), len(used)))
        errors[:, used] = drawn
        return errors


def _independent(design: Array) -> bool:
    """Whether alpha, beta and gamma can be distinguished: three columns of full rank at equal length."""
    lengths = np.linalg.norm(design, axis=0)
    return bool((lengths > 0).all() and np.linalg.matrix_rank(design / lengths, tol=1e-3) == 3)


def _best_breaks(problem: _Problem, most: int) -> list[NDArray[np.bool_]]:
    """Split the points by size into as many segments as BIC prefers; returns the points of each."""
    sizes, which = np.unique(problem.sizes, return_inverse=True)
    count = len(sizes)
    most = max(1, min(most, count // _FEWEST_SIZES))
    # All ranges i <= size index < j that could be a segment, fitted at once
    ranges = [(0, count)] if most == 1 else [(i, j) for i in range(count) for j in range(i + _FEWEST_SIZES, count + 1)]
    used = np.array([(which >= i) & (which < j) for i, j in ranges])
    loss = dict(zip(ranges, problem.losses(used).tolist(), strict=True))
    # cheapest[k][j] = (loss, start of the last segment) of the first j sizes in k + 1 segments
    cheapest = [{j: (loss[0, j], 0) for i, j in ranges if i == 0}]
    for k in range(1, most):
        ends = range((k + 1) * _FEWEST_SIZES, count + 1)
        # The last segment starts after k others and before the last sizes that one needs.
        starts = {j: range(k * _FEWEST_SIZES, j - _FEWEST_SIZES + 1) for j in ends}
        cheapest.append({j: min((cheapest[k - 1][i][0] + loss[i, j], i) for i in starts[j]) for j in ends})
    chosen = min(range(most), key=lambda k: _bic(cheapest[k][count][0], len(problem.sizes), k + 1))
    parts, end = [], count
    for k in range(chosen, -1, -1):
        start = cheapest[k][end][1]
        parts.append((which >= start) & (which < end))
        end = start
    return parts[::-1]


def _bic(loss: float, points: int, segments: int) -> float:
    """Information criterion with Laplace errors: two terms per segment, and the breaks between them.

    A break was searched for among all sizes and so counts as three terms: noise alone then breaks one straight line in
    fifty, and one in ten if it counted as two (Zhang and Siegmund, "A modified Bayes information criterion", 2007).
    """
    mean = max(loss / points, _NOT_WORTH_A_BREAK)
    return 2 * points * math.log(mean) + (5 * segments - 3) * math.log(points)
