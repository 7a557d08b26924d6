"""Expected time of the slowest of p ranks over the mean time of one: what a barrier waits for.

A rank's time is log-normal with mean 1 and a coefficient of variation, the `spread`. Then E[max of p] and other order
statistics are integrals over its quantiles, taken here on a fixed grid of the normal distribution. The sum of s + 1
steps of a rank is again close to log-normal, with the mean s + 1 and the spread divided by sqrt(s + 1) (Fenton 1960,
moments matched): so a bound on staleness lowers the wait.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_GRID = np.linspace(-9.0, 9.0, 1441)
_STEP = float(_GRID[1] - _GRID[0])
_DENSITY = np.exp(-(_GRID**2) / 2) / math.sqrt(2 * math.pi)
_BELOW = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in _GRID])
_LOG_BELOW = np.log(np.maximum(_BELOW, 1e-300))
_LOG_ABOVE = _LOG_BELOW[::-1]  # the distribution is symmetric, and its upper tail is precise this way


def lognormal(normal: Array, spread: float) -> Array:
    """Turn standard normal values into log-normal times with mean 1 and coefficient of variation `spread`."""
    variance = math.log1p(spread**2)
    times: Array = np.exp(math.sqrt(variance) * normal - variance / 2)
    return times


def stratified_normals(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw standard normal values of which each column has one in every n-th part of the distribution, n rows long.

    The mean over rows of what a row's ranks wait for each other is then known as well from 80 rows as from 240
    independent ones (Latin hypercube sampling: McKay, Beckman and Conover 1979). The sums of the columns hardly differ:
    not for ranks that may run ahead of each other.
    """
    rows = np.broadcast_to(np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)), shape)
    return np.interp((rng.permuted(rows, axis=0) + rng.random(shape)) / shape[0], _BELOW, _GRID)


def slowest(
    p: Any, spread: float, *, share: float | None = None, bound: int = 0, quorum: float = 1.0, backup: bool = False
) -> Any:
    """Expected time until enough of p ranks are done, over the mean time of one.

    Parameters
    ----------
    p : ranks, or an array of such numbers
    spread : coefficient of variation of a rank's time
    share : of the steps, to give the time within which enough ranks are done in so many of them; absent: the mean time
    bound : steps that a rank may be ahead of the slowest: E[max of p sums of bound + 1 steps] / (bound + 1)
    quorum : share of the ranks that is waited for
    backup : the slowest rank's work is started once more, and the earlier of the two counts
    """
    if isinstance(p, np.ndarray):
        options: dict[str, Any] = {"share": share, "bound": bound, "quorum": quorum, "backup": backup}
        return np.array([slowest(one, spread, **options) for one in p.tolist()])
    needed = max(1, math.ceil(quorum * p - 1e-9))
    return _time_until_done(int(p), spread / math.sqrt(bound + 1), share, needed, backup)


@lru_cache(maxsize=1 << 17)
def _time_until_done(p: int, spread: float, share: float | None, needed: int, backup: bool) -> float:
    """Quantile `share` of the time until `needed` ranks are done, None: its mean; over the mean time of a rank."""
    if spread <= 0 or (share is None and p == 1 and not backup):
        return 1.0
    times, backed_up = lognormal(_GRID, spread), backup and needed == p
    if share is None:
        density = np.gradient(_backed_up(p), _STEP) if backed_up else _order_statistic(p, needed)
        return float((times * density).sum() * _STEP)
    done = _backed_up(p) if backed_up else np.cumsum(_order_statistic(p, needed)) * _STEP
    return float(np.interp(share, done, times))


def _order_statistic(p: int, needed: int) -> Array:
    """Density of the `needed`-th smallest of p normal draws, on the grid."""
    logs = math.lgamma(p + 1) - math.lgamma(needed) - math.lgamma(p - needed + 1)
    density: Array = _DENSITY * np.exp(logs + (needed - 1) * _LOG_BELOW + (p - needed) * _LOG_ABOVE)
    return density


def _backed_up(p: int) -> Array:
    """P(done), on the grid: F^p + p F^(p-1) (1 - F) F, all of them, or all but one whose copy is done as well."""
    done: Array = _BELOW**p * (1 + p * (1 - _BELOW))
    return done
