"""How much longer than the mean the slowest of p ranks takes: what a barrier waits for.

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


def _quantiles(spread: float) -> Array:
    """Times at the grid's points, of mean 1."""
    variance = math.log1p(spread**2)
    times: Array = np.exp(math.sqrt(variance) * _GRID - variance / 2)
    return times


def slowest(p: Any, spread: float, *, bound: int = 0, quorum: float = 1.0, backup: bool = False) -> Any:
    """Expected time until enough of p ranks are done, over the mean time of one.

    Parameters
    ----------
    p
        Ranks, or an array of such numbers.
    spread
        Coefficient of variation of a rank's time.
    bound
        Steps that a rank may be ahead of the slowest: E[max of p sums of bound + 1 steps] / (bound + 1).
    quorum
        Share of the ranks that is waited for.
    backup
        The slowest rank's work is started once more, and the earlier of the two counts.
    """
    if isinstance(p, np.ndarray):
        return np.array([slowest(int(one), spread, bound=bound, quorum=quorum, backup=backup) for one in p])
    return _slowest(int(p), spread / math.sqrt(bound + 1), max(1, math.ceil(quorum * p - 1e-9)), backup)


@lru_cache(maxsize=1 << 17)
def _slowest(p: int, spread: float, needed: int, backup: bool) -> float:
    if spread <= 0 or (p == 1 and not backup):
        return 1.0
    times = _quantiles(spread)
    if backup and needed == p:
        # P(done by x) = F^p + p F^(p-1) (1 - F) F: all of them, or all but one whose copy is done as well.
        done = _BELOW**p * (1 + p * (1 - _BELOW))
        return float((times * np.gradient(done, _STEP)).sum() * _STEP)
    logs = math.lgamma(p + 1) - math.lgamma(needed) - math.lgamma(p - needed + 1)
    density = _DENSITY * np.exp(logs + (needed - 1) * _LOG_BELOW + (p - needed) * _LOG_ABOVE)
    return float((times * density).sum() * _STEP)


def quantile_of_slowest(p: int, spread: float, share: float, needed: int | None = None) -> float:
    """Time by which `needed` of p ranks (all, if absent) are done in a `share` of the steps, over the mean of one."""
    needed = p if needed is None else needed
    logs = math.lgamma(p + 1) - math.lgamma(needed) - math.lgamma(p - needed + 1)
    density = _DENSITY * np.exp(logs + (needed - 1) * _LOG_BELOW + (p - needed) * _LOG_ABOVE)
    done = np.cumsum(density) * _STEP
    return float(np.interp(share, done, _quantiles(spread)))
