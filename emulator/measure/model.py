"""Input and output of a fit: points, coefficients with intervals, and fitted models."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.costs.model import Terms
from emulator.measure import launches

Array = NDArray[np.float64]

MESSAGE = Terms(steps=1, volume=1)


@dataclass(frozen=True)
class Point:
    """Repetitions of one pattern at one size.

    Attributes
    ----------
    bytes : n
    terms : S, V and R of the pattern on these ranks
    seconds : array_like, shape (repetitions,)
        Measured times, > 0.
    launches : array_like, shape (repetitions,), optional
        The launch that each repetition belongs to, where the job was started several times.
    ranks : p
    shared : whether these ranks take turns on the cores
    """

    bytes: int
    terms: Terms
    seconds: ArrayLike
    launches: ArrayLike | None = None
    ranks: int = 2
    shared: bool = False

    @cached_property  # a fit asks for it several times
    def median(self) -> float:
        """Median of the repetitions in seconds; with several launches, of their medians."""
        return float(np.median(launches.medians(self.seconds, self.launches)))


@dataclass(frozen=True)
class Coefficients:
    """alpha (s), beta and gamma (s/byte) for sizes first..last, and their bootstrap draws.

    Attributes
    ----------
    draws : array, shape (resamples, 3)
        One row (alpha, beta, gamma) per resample; no rows where no interval is claimed.
    turn : seconds that a step takes longer where ranks take turns on the cores: to be scheduled, and to wake up
    """

    first: int
    last: int
    alpha: float
    beta: float
    gamma: float
    draws: Array = field(repr=False)
    turn: float = 0.0

    def seconds(self, terms: Terms, n: float, shared: bool = False) -> float:
        """Predicted time of a pattern with these `terms` for n bytes, on ranks that take turns or not."""
        return float(terms.seconds(n, self.alpha + shared * self.turn, self.beta, self.gamma))

    def interval(self, column: int) -> tuple[float, float] | None:
        """95 % interval of alpha (0), beta (1) or gamma (2); None if the data give none."""
        if not len(self.draws):
            return None
        low, high = np.quantile(self.draws[:, column], [0.025, 0.975])
        return float(low), float(high)

    def estimate(self, column: int) -> dict[str, Any]:
        """Value and interval of one coefficient for the result file."""
        return {"value": (self.alpha, self.beta, self.gamma)[column], "ci95": self.interval(column)}


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes
    ----------
    headline : the figures to quote: with several segments alpha of the first, which short messages pay, and beta and
        gamma of the last, which long ones pay
    segments : several where that explains the data better: what `predict` uses
    gamma_known : false where the points cannot tell gamma from beta (R proportional to V, as in a ring alone) and none
        was given: beta then holds the cost of reducing as well
    error, segmented_error : median relative error of the headline and of the segments over the points
    worst : the point that the segments miss by most, as ``{"relative_error", "bytes", "ranks"}``
    """

    headline: Coefficients
    segments: list[Coefficients]
    gamma_known: bool
    error: float
    segmented_error: float
    worst: dict[str, Any] = field(default_factory=dict)

    def at(self, n: float) -> Coefficients:
        """The segment for n bytes."""
        return next((one for one in self.segments if n <= one.last), self.segments[-1])

    def predict(self, terms: Terms, n: float, shared: bool = False) -> float:
        """Time in seconds of a pattern with these `terms` for n bytes, on ranks that take turns on the cores or not."""
        return self.at(n).seconds(terms, n, shared)

    def record(self, level: str, pattern: str, configured: dict[str, float] | None = None) -> dict[str, Any]:
        """The fit for the result file, with the draws for intervals of derived figures."""
        return {
            "level": level,
            "pattern": pattern,
            "first": self.headline.first,
            "last": self.headline.last,
            **self._estimates(self.headline),
            "segments": [
                {"first": one.first, "last": one.last, **self._estimates(one), "draws": _listed(one.draws)}
                for one in self.segments
            ],
            "median_relative_error": self.error,
            "segmented_relative_error": self.segmented_error,
            "worst": self.worst,
            "configured": configured,
            "draws": _listed(self.headline.draws),
        }

    def _estimates(self, one: Coefficients) -> dict[str, Any]:
        gamma = one.estimate(2) if self.gamma_known else None
        return {"alpha": one.estimate(0), "beta": one.estimate(1), "gamma": gamma, "turn": one.turn}


def _listed(draws: Array) -> Array | None:
    return draws if len(draws) else None
