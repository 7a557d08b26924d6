"""Non-negative robust regression on relative error, for positive data over many decades.

The residual is log(measured / predicted): as wrong for half as for double the true value. A residual of predicted /
measured - 1 is at most 1 below the data and would bias the fit downwards.

Everything works on stacks of problems at once: a bootstrap solves the same small problem hundreds of times, and a
search for break points solves it for every range of points.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BEND = 1.345 * 1.4826  # in median absolute residuals: 95 % efficient on normal errors
_ITERATIONS = 50
_CONVERGED = 1e-7  # relative change of a coefficient
_LONGEST_STEP = 1.0  # of a logarithm in one iteration: the model is linear only nearby


def huber(design: Array, data: Array, used: NDArray[np.bool_] | None = None, offset: Array | float = 0.0) -> Array:
    """Minimise Huber's loss of ``log(data / (design @ x + offset))`` over x >= 0, by reweighted Gauss-Newton steps.

    Parameters
    ----------
    design : array, shape (..., points, columns)
        At least 0; at most three or four columns, because every subset of them is tried.
    data : array, shape (..., points)
        Above 0.
    used : array of bool, shape (..., points), optional
        The points that count; absent, all.
    offset : array_like, shape (..., points)
        Known part of the data, at least 0.

    Returns
    -------
    array, shape (..., columns)
        A column of zeros gets the coefficient 0.
    """
    shape, (points, columns) = data.shape[:-1], design.shape[-2:]
    mask = (np.ones(data.shape, dtype=bool) if used is None else used).reshape(-1, points)
    # A known part that exceeds the whole leaves next to nothing.
    known: Array = np.minimum(offset, data * 0.999).reshape(-1, points)
    design = np.broadcast_to(design, (*data.shape, columns)).reshape(-1, points, columns)
    data = scale = data.reshape(-1, points)
    weights, residuals = mask.astype(float), np.zeros(data.shape)
    found = np.zeros((len(data), columns))
    left = np.arange(len(found))  # problems that have not converged
    for iteration in range(_ITERATIONS):
        # log(predicted) is 1 + (predicted - scale) / scale near `scale`, which at first is the data themselves.
        rows = np.where(mask[..., None], design / scale[..., None], 0.0)
        target = np.where(mask, 1.0 - known / scale + residuals, 0.0)
        lengths = np.linalg.norm(rows, axis=-2)
        lengths[lengths == 0] = 1.0
        last, now = found[left], _non_negative(rows / lengths[..., None, :], target, weights) / lengths
        found[left] = now
        moves = (np.abs(now - last) > _CONVERGED * np.abs(last)).any(axis=-1) | (iteration == 0)
        if not moves.any():
            break
        if not moves.all():
            design, data, known = design[moves], data[moves], known[moves]
            mask, now, left = mask[moves], now[moves], left[moves]
        scale = np.maximum(np.einsum("...ij,...j->...i", design, now) + known, data * 1e-3)
        residuals = np.log(data / scale)
        bend = np.maximum(_BEND * _masked_median(np.abs(residuals), mask), 1e-12)[..., None]
        weights = mask * np.minimum(1.0, bend / np.maximum(np.abs(residuals), 1e-300))
        residuals = np.clip(residuals, -_LONGEST_STEP, _LONGEST_STEP)
    return found.reshape(*shape, columns)


def _masked_median(values: Array, mask: NDArray[np.bool_]) -> Array:
    """Median over the last axis of the values where the mask is true."""
    ordered = np.sort(np.where(mask, values, np.inf), axis=-1)
    count = mask.sum(axis=-1, keepdims=True)
    middle = [np.take_along_axis(ordered, index, axis=-1)[..., 0] for index in ((count - 1) // 2, count // 2)]
    return (middle[0] + middle[1]) / 2


def _non_negative(design: Array, target: Array, weights: Array) -> Array:
    """Weighted least squares with x >= 0: the best of the solutions in which some columns are left out.

    With at most four columns, trying the subsets costs less than a general solver's set-up.
    """
    weighted = design * weights[..., None]
    gram = np.einsum("...ij,...ik->...jk", design, weighted)
    right = np.einsum("...ij,...i->...j", weighted, target)
    columns = design.shape[-1]
    best, best_gain = np.zeros(right.shape), np.zeros(right.shape[:-1])
    for size in range(columns, 0, -1):
        for subset in map(list, itertools.combinations(range(columns), size)):
            part = _solve(gram[..., subset, :][..., subset], right[..., subset])
            gain = (part * right[..., subset]).sum(axis=-1)  # how far the loss falls below that of x = 0
            better = (part >= 0).all(axis=-1) & (gain > best_gain)
            candidate = np.zeros(right.shape)
            candidate[..., subset] = part
            best = np.where(better[..., None], candidate, best)
            best_gain = np.where(better, gain, best_gain)
        if size == columns and better.all():
            break  # every unconstrained minimum is allowed: nothing can beat it
    return best


def _solve(matrix: Array, right: Array) -> Array:
    """Solve a stack of small systems; singular ones give -1, which no caller accepts."""
    # Columns have length 1 (or are zero), so a determinant near zero means columns that say the same.
    few = right.shape[-1] <= 2  # by Cramer's rule: calling LAPACK costs several times the arithmetic
    size: Array = _determinant(matrix) if few else np.linalg.det(matrix)
    singular = np.abs(size) < 1e-14
    if few:
        found = _cramer(matrix, right, np.where(singular, 1.0, size)[..., None])
    else:
        safe = np.where(singular[..., None, None], np.eye(matrix.shape[-1]), matrix)
        found = np.asarray(np.linalg.solve(safe, right[..., None])[..., 0], dtype=float)
    return np.where(singular[..., None], -1.0, found)


def _determinant(matrix: Array) -> Array:
    """The determinant of matrices of one or two columns."""
    first: Array = matrix[..., 0, 0]
    return first if matrix.shape[-1] == 1 else first * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]


def _cramer(matrix: Array, right: Array, determinant: Array) -> Array:
    """Solve systems of one or two unknowns whose determinants, shape (..., 1), are not zero."""
    if right.shape[-1] == 1:
        return right / determinant
    crossed = matrix[..., ::-1, ::-1].diagonal(axis1=-2, axis2=-1) * right
    crossed -= np.stack([matrix[..., 0, 1] * right[..., 1], matrix[..., 1, 0] * right[..., 0]], axis=-1)
    return crossed / determinant
