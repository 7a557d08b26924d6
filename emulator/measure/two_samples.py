"""Test whether two sets of timings differ, for many measurements at once: pure statistics, without MPI.

The unit of sampling is the launch wherever there are enough of them, since the timings of one launch share its
memory layout and its placement on cores, and tell nothing of the next launch (Kalibera and Jones, "Rigorous
benchmarking in reasonable time", 2013). Then the logarithms of the launches' medians are compared by Student's t-test,
which needs three launches in all. With one launch on each side only the repetitions can be compared, by the rank test
of Mann and Whitney (1947), and a margin stands for what launches differ by. Where only a median and its interval have
been kept, they are compared by the normal distribution of the logarithm. Holm's method (1979) corrects for the number
of measurements: 5 % is the chance of any false difference among all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.05  # the chance of one false difference or more
MARGIN_OF_ONE_LAUNCH = 0.25  # launches of the same command, on a machine with more ranks than cores, differ by this
_ROUNDING = 1e-9
_TWO_SIDED_95 = 1.959964


@dataclass(frozen=True)
class Timings:
    """The timings of one measurement on one side.

    Attributes
    ----------
    launches : the repetitions (s) of each launch; empty where only the summary was kept
    median : of the only launch's repetitions, or of the launches' medians (s)
    interval : 95 % interval of the median of a single launch (s), or None
    """

    launches: Sequence[Sequence[float]]
    median: float
    interval: Sequence[float] | None = None


@dataclass(frozen=True)
class Difference:
    """A measurement compared between the two sides.

    Attributes
    ----------
    ratio : median of B over median of A
    p : two-sided p-value against "B is within the margin of A", corrected for all measurements; None: not testable
    test : the name of the test; ``"exact"`` where all timings of a side are equal
    """

    a: Timings
    b: Timings
    ratio: float
    p: float | None
    test: str

    @property
    def outcome(self) -> str:
        """The outcome for B: ``"slower"``, ``"faster"``, ``"same"``, or ``"unknown"`` if nothing can be tested."""
        if self.p is None:
            return "unknown"
        if self.p > LEVEL:
            return "same"
        return "slower" if self.ratio > 1 else "faster"


def compare(pairs: Mapping[Any, tuple[Timings, Timings]], margin: float) -> dict[Any, Difference]:
    """Compare A and B in each measurement, corrected for the number of measurements.

    Parameters
    ----------
    pairs : the timings of A and of B by the name of the measurement
    margin : a difference counts where it is beyond this share: B / A above 1 + margin, or below 1 / (1 + margin)
    """
    raw = {name: _test(a, b, math.log1p(margin)) for name, (a, b) in pairs.items()}
    known = {name: p for name, (p, _) in raw.items() if p is not None}
    corrected = dict(zip(known, holm(list(known.values())), strict=True))
    return {name: Difference(a, b, _ratio(a, b), corrected.get(name), raw[name][1]) for name, (a, b) in pairs.items()}


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected by Holm's method: in ascending order, each times the number of those not yet decided."""
    corrected = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = least
    return corrected


def _ratio(a: Timings, b: Timings) -> float:
    return b.median / a.median if a.median > 0 else math.inf if b.median > 0 else 1.0


def _test(a: Timings, b: Timings, shift: float) -> tuple[float | None, str]:
    """p-value of one measurement (None: not testable), and the test's name; `shift` is the margin as a logarithm."""
    if min(a.median, b.median) <= 0:
        return (1.0 if a.median == b.median else None), "exact"
    if _constant(a) and _constant(b):
        apart = abs(math.log(b.median / a.median)) > max(shift, _ROUNDING)
        return (0.0 if apart else 1.0), "exact"
    if len(a.launches) + len(b.launches) > 2:
        return _student([_log_medians(side) for side in (a, b)], shift), "launches"
    if a.launches and b.launches:
        return _mann_whitney(np.log(a.launches[0]), np.log(b.launches[0]), shift), "repetitions"
    if a.interval and b.interval and min(*a.interval, *b.interval) > 0:
        error = math.hypot(*(math.log(high / low) / (2 * _TWO_SIDED_95) for low, high in (a.interval, b.interval)))
        beyond = abs(math.log(b.median / a.median)) - shift
        if error == 0:
            return (0.0 if beyond > _ROUNDING else 1.0), "exact"
        return min(1.0, math.erfc(max(0.0, beyond) / error / math.sqrt(2))), "intervals"
    return None, ""


def _constant(side: Timings) -> bool:
    """Whether all repetitions are equal, as on an emulated network without noise."""
    values = [seconds for launch in side.launches for seconds in launch]
    return bool(values) and max(values) - min(values) <= _ROUNDING * max(values)


def _log_medians(side: Timings) -> Sequence[float]:
    return [math.log(float(np.median(launch))) for launch in side.launches]


def _student(sides: Sequence[Sequence[float]], shift: float) -> float | None:
    """Student's t-test of two sets of logarithms with a common variance; None for an empty side or for two values."""
    from scipy import stats

    a, b = (np.asarray(side) for side in sides)
    free = len(a) + len(b) - 2
    if not len(a) or not len(b) or free < 1:
        return None
    variance = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / free
    beyond = max(0.0, abs(b.mean() - a.mean()) - shift)
    if variance == 0:
        return 0.0 if beyond > _ROUNDING else 1.0
    return float(2 * stats.t.sf(beyond / math.sqrt(variance * (1 / len(a) + 1 / len(b))), free))


def _mann_whitney(a: Any, b: Any, shift: float) -> float:
    from scipy import stats

    slower = stats.mannwhitneyu(b - shift, a, alternative="greater").pvalue
    faster = stats.mannwhitneyu(b + shift, a, alternative="less").pvalue
    return float(min(1.0, 2 * min(slower, faster)))
