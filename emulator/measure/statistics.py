"""Nonparametric statistics: medians, order-statistic intervals, percentiles.

Timings are skewed and have several modes; a mean and a standard deviation describe neither (Hoefler and Belli,
"Scientific benchmarking of parallel computing systems", SC'15). Everything here works on ranks of the samples.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FEWEST_FOR_INTERVAL = 6  # with fewer samples even [min, max] covers the median less than 95 % of the time
_EXACT_UP_TO = 100


def interval_of_median(samples: ArrayLike) -> tuple[float, float] | None:
    """95 % confidence interval of the median, from order statistics.

    Parameters
    ----------
    samples : array_like, shape (n,)
        Independent samples of any distribution.

    Returns
    -------
    (low, high) or None
        Two of the samples; None for n < 6.

    Notes
    -----
    The number of samples below the median is binomial(n, 1/2), whatever the distribution; the interval leaves out
    as many on each side as keeps the coverage at 95 % or above (Le Boudec, "Performance evaluation", 2010, 2.2).
    """
    ordered = np.sort(np.asarray(samples, dtype=float))
    n = len(ordered)
    if n < FEWEST_FOR_INTERVAL:
        return None
    out = _left_out(n)
    return float(ordered[out]), float(ordered[n - 1 - out])


def _left_out(n: int) -> int:
    """Number of samples to leave out on each side: the most with P(binomial(n, 1/2) <= out) <= 2.5 %."""
    if n > _EXACT_UP_TO:
        return max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)) - 1)
    below, out = 1, 0  # below = number of outcomes with at most `out` samples under the median
    while (below + math.comb(n, out + 1)) / 2**n <= 0.025:
        out += 1
        below += math.comb(n, out)
    return out


def relative_width(samples: ArrayLike) -> float:
    """Width of the median's 95 % interval over the median; infinite if there is no interval."""
    interval = interval_of_median(samples)
    median = float(np.median(np.asarray(samples, dtype=float)))
    if interval is None or median <= 0:
        return math.inf
    return (interval[1] - interval[0]) / median


def summary(samples: ArrayLike) -> dict[str, Any]:
    """Summarise samples for the result file: median, ci95, p5, p95, p99 and n."""
    values = np.asarray(samples, dtype=float)
    p5, median, p95, p99 = np.quantile(values, [0.05, 0.5, 0.95, 0.99])
    return {
        "median": float(median),
        "ci95": interval_of_median(values),
        "p5": float(p5),
        "p95": float(p95),
        "p99": float(p99),
        "n": len(values),
    }
