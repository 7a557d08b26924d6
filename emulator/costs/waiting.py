"""Expected time of the slowest of p ranks over the mean time of one: the cost of a barrier.

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

LATE = 1.5
"""Median turnarounds after which a request is run again, as in Spark."""


def lognormal(normal: Array, spread: float) -> Array:
    """Turn standard normal values into log-normal times with mean 1 and coefficient of variation `spread`."""
    variance = math.log1p(spread**2)
    return np.exp(math.sqrt(variance) * normal - variance / 2)


def stratified_normals(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw n rows of standard normal values; each column has one value in every n-th part of the distribution.

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
    backup : what is late (`late_after`) is started once more on an idle rank, and the earlier of the two counts
    """
    if isinstance(p, np.ndarray):
        options: dict[str, Any] = {"share": share, "steps": steps, "quorum": quorum, "backup": backup}
        return np.array([slowest(one, spread, **options) for one in p.tolist()])
    needed = p if quorum == 1 else max(1, math.ceil(quorum * p - 1e-9))
    return _time_until_done(p, spread / math.sqrt(steps), share, needed, backup)


def unequal(slowdowns: Array, spread: float, quorum: float = 1.0) -> float:
    """Expected time until enough of several unequal ranks are done, over the mean time of a rank without slowdown.

    All are done with the product of their probabilities. The q-th of p order statistics lies close to where
    (q - 3/8) / (p + 1/4) of the ranks are expected to be done (Blom 1958); without spread it is the q-th slowdown.

    Parameters
    ----------
    slowdowns : of each rank, how many times longer it computes
    spread : coefficient of variation of a rank's time
    quorum : share of the ranks that is waited for
    """
    p = len(slowdowns)
    needed = max(1, math.ceil(quorum * p - 1e-9))
    if spread <= 0:
        return float(np.sort(slowdowns)[needed - 1])
    kinds, counts = np.unique(slowdowns, return_counts=True)
    row = lognormal(_GRID, spread)
    at = np.geomspace(kinds[0] * row[0], kinds[-1] * row[-1], 2 * len(row))
    done = np.array([np.interp(at, kind * row, _BELOW) for kind in kinds])
    if needed == p:
        all_done = np.exp(counts @ np.log(np.maximum(done, 1e-300)))
        return float(at[0] + ((1 - all_done[1:] + 1 - all_done[:-1]) / 2 * np.diff(at)).sum())
    return float(np.interp((needed - 0.375) / (p + 0.25), counts @ done / p, at))


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
    """Quantile `share` (None: the mean) of the time until `needed` ranks are done, over one rank's mean time."""
    if spread <= 0 or (share is None and p == 1):
        return 1.0
    times, backed_up = lognormal(_GRID, spread), backup and needed == p > 1
    if share is None:
        density = np.gradient(_backed_up(p, spread), _STEP) if backed_up else _order_statistic(p, needed)
        return float((times * density).sum() * _STEP)
    done = _backed_up(p, spread) if backed_up else np.cumsum(_order_statistic(p, needed)) * _STEP
    return float(np.interp(share, done, times))


def _order_statistic(p: float, needed: float) -> Array:
    """Density of the `needed`-th smallest of p normal draws, on the grid."""
    logs = math.lgamma(p + 1) - math.lgamma(needed) - math.lgamma(p - needed + 1)
    return _DENSITY * np.exp(logs + (needed - 1) * _LOG_BELOW + (p - needed) * _LOG_ABOVE)


def late_after(spread: float) -> float:
    """When work counts as late, over a rank's mean time: after `LATE` medians of the turnarounds known by then.

    Those are the earlier ones, and at least half of all.
    """
    times = lognormal(_GRID, spread)
    late = LATE * float(times[len(times) // 2])
    for _ in range(20):
        known = max(0.5, float(np.interp(late, times, _BELOW)))
        late = LATE * float(np.interp(known / 2, _BELOW, times))
    return late


def _backed_up(p: float, spread: float) -> Array:
    """P(all p are done), on the grid, where a copy of each late task begins when it is late."""
    times = lognormal(_GRID, spread)
    copy_below = np.interp(times - late_after(spread), times, _BELOW, left=0.0)
    return (1 - _BELOW[::-1] * (1 - copy_below)) ** p


def repeated(p: Any, spread: float, share: float | None = None) -> Any:
    """Mean time of one of many requests over that of a rank, with backups on the next rank, which has a replica.

    An attempt that lost runs to its end, so that its rank begins the next request late. That has no closed form: the
    rule is followed for ranks without messages, at powers of two, and interpolated between. Beside the coordinator of
    `emulator.costs.coordinator` 3 % with a spread up to 0.3, and 7 % at 0.6.

    Parameters
    ----------
    p, spread, share : as for `slowest`
    """
    ranks = np.atleast_1d(np.asarray(p, dtype=float))
    powers = 2 ** np.arange(1, 1 + max(1, math.ceil(math.log2(ranks.max()))))
    known = [1.0, *(_repeated(int(one), spread, share) for one in powers)]
    found = np.interp(np.log2(ranks), np.log2([1, *powers]), known)
    return found if isinstance(p, np.ndarray) else float(found[0])


_REQUESTS, _SETTLED, _DRAWS = 30, 5, 4000  # requests in a row, of which the first do not count; times of a request


@lru_cache(maxsize=1 << 12)
def _repeated(p: int, spread: float, share: float | None) -> float:
    """`repeated` for one p, with so many jobs at once that a request has about `_DRAWS` computing times."""
    rng, late, ends = np.random.default_rng(p), late_after(spread), []
    jobs = max(8, _DRAWS // p)
    behind = np.zeros((jobs, p))  # when each rank can begin the request
    for _ in range(_REQUESTS):
        own, copies = (lognormal(rng.standard_normal((jobs, p)), spread) for _ in range(2))
        own += behind
        copies += (start := np.maximum(behind + late, np.roll(own, -1, axis=1)))  # and the next rank is idle
        backed_up = start < own
        end = np.where(backed_up, np.minimum(own, copies), own).max(axis=1, keepdims=True)
        helped = np.where(backed_up & (start < end), copies, 0.0)
        behind = np.maximum(0.0, np.maximum(own, np.roll(helped, 1, axis=1)) - end)
        ends.append(end)
    counted = np.concatenate(ends[_SETTLED:])
    return float(counted.mean() if share is None else np.quantile(counted, share))
