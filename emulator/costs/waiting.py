"""Expected time of the slowest of p ranks over the mean time of one: what a barrier waits for.

A rank's time is log-normal with mean 1 and a coefficient of variation, the `spread`. Then E[max of p] and other order
statistics are integrals over its quantiles, taken here on a fixed grid of the normal distribution. The sum of k steps
of a rank is again close to log-normal, with the mean k and the spread divided by sqrt(k) (Fenton 1960, moments
matched). Ranks that wait under a bound on staleness (`bounded`) wait less than at a barrier after as many steps.
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
    p: Any, spread: float, *, share: float | None = None, steps: int = 1, quorum: float = 1.0, backup: bool = False
) -> Any:
    """Expected time until enough of p ranks are done, over the mean time of one.

    Parameters
    ----------
    p : ranks, or an array of such numbers; with a fraction where part of a group is waited for (`costs.graphs`)
    spread : coefficient of variation of a rank's time
    share : of the steps, to give the time within which enough ranks are done in so many of them; absent: the mean time
    steps : that a rank makes from one barrier to the next: E[max of p sums of so many] / steps
    quorum : share of the ranks that is waited for
    backup : the slowest rank's work is started once more, and the earlier of the two counts
    """
    if isinstance(p, np.ndarray):
        options: dict[str, Any] = {"share": share, "steps": steps, "quorum": quorum, "backup": backup}
        return np.array([slowest(one, spread, **options) for one in p.tolist()])
    needed = p if quorum == 1 else max(1, math.ceil(quorum * p - 1e-9))
    return _time_until_done(p, spread / math.sqrt(steps), share, needed, backup)


def bounded(p: Any, spread: float, bound: int) -> Any:
    """Mean time of a step over that of a rank alone, where no rank is more than `bound` >= 1 steps ahead of another.

    A rank's lag behind the foremost one is a queue's waiting time (Lindley): steps of mean 1 and spread c come in, a
    step of T = 1 + d goes by, so it has an exponential tail of rate h with E[exp(h (step - T))] = 1. The largest of p
    such lags, (1 + 1/2 + ... + 1/(p - 1)) / h, is held at bound T. To the third cumulant, c^4 (3 + c^2) of the
    log-normal, d = c^2 h / 2 + c^4 (3 + c^2) h^2 / 6. Ranks that meet after every bound + 1 steps take no less. Ranks
    that were followed for 3,000 steps took the same to 2 % with spreads up to 0.3, and to 10 % up to 0.6 (bound 1: 15).

    Parameters
    ----------
    p : ranks, or an array of such numbers
    spread : coefficient of variation of a rank's time
    """
    ranks = np.maximum(np.asarray(p, dtype=float), 1.0)
    others = np.maximum(ranks - 1, 1e-9)
    lags = np.where(ranks < 2, ranks - 1, np.log(others) + np.euler_gamma + 1 / (2 * others) - 1 / (12 * others**2))
    late = np.zeros(ranks.shape)
    for _ in range(40):
        rate = lags / (bound * (1 + late))
        late = (late + spread**2 * rate / 2 + spread**4 * (3 + spread**2) * rate**2 / 6) / 2
    return np.minimum(1 + late, slowest(p, spread, steps=bound + 1))


@lru_cache(maxsize=1 << 17)
def _time_until_done(p: float, spread: float, share: float | None, needed: float, backup: bool) -> float:
    """Quantile `share` of the time until `needed` ranks are done, None: its mean; over the mean time of a rank."""
    if spread <= 0 or (share is None and p == 1 and not backup):
        return 1.0
    times, backed_up = lognormal(_GRID, spread), backup and needed == p
    if share is None:
        density = np.gradient(_backed_up(p), _STEP) if backed_up else _order_statistic(p, needed)
        return float((times * density).sum() * _STEP)
    done = _backed_up(p) if backed_up else np.cumsum(_order_statistic(p, needed)) * _STEP
    return float(np.interp(share, done, times))


def _order_statistic(p: float, needed: float) -> Array:
    """Density of the `needed`-th smallest of p normal draws, on the grid."""
    logs = math.lgamma(p + 1) - math.lgamma(needed) - math.lgamma(p - needed + 1)
    density: Array = _DENSITY * np.exp(logs + (needed - 1) * _LOG_BELOW + (p - needed) * _LOG_ABOVE)
    return density


def _backed_up(p: float) -> Array:
    """P(done), on the grid: F^p + p F^(p-1) (1 - F) F, all of them, or all but one whose copy is done as well."""
    done: Array = _BELOW**p * (1 + p * (1 - _BELOW))
    return done
