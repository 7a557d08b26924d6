"""Fit all terms of one run: alpha and beta of the link, gamma of the reduction, and the terms of every collective.

Rank 0 does so from the series of `emulator.measure.repetitions`. gamma is fitted to local reductions first, since a
ring alone cannot tell gamma from beta.

On the wall clock, p ranks that share c < p cores take p/c times as long. That factor is known, so it multiplies S, V
and R, and a step of theirs takes a turn longer (see `emulator.measure.fit`): the fitted terms are those of ranks with a
core each. Where more than 8 ranks share a core, little but scheduling is measured, and no fit or prediction is made.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emulator import costs, speedup
from emulator.errors import UsageError
from emulator.measure.fit import fit
from emulator.measure.model import MESSAGE, Coefficients, Fit, Point
from emulator.measure.series import Job, Series

Crowding = Callable[[int], float]

MOST_CROWDED = 8.0
"""Ranks per core up to which times are fitted."""


@dataclass
class RunFits:
    """The fits of one run: its link, its reductions and its collectives.

    Attributes
    ----------
    link : of single messages
    reduction : of local reductions, whose beta is gamma; None where reducing takes no time
    collectives : fit by pattern
    held_out : points of the most ranks, predicted from fits on fewer; see `fitted_up_to`
    fitted_up_to : the most ranks that those fits have seen; None where nothing was held out
    crowding : ranks per core when p of them run
    itemsize : bytes of an element
    fewer : those fits on fewer ranks, by pattern
    algorithms : by (pattern, p, n), where a pattern stands for several: the one that was run
    left_out : numbers of ranks that no fit has seen, because too many share a core
    """

    link: Fit
    reduction: Fit | None
    collectives: dict[str, Fit]
    held_out: list[dict[str, Any]]
    fitted_up_to: int | None
    crowding: Crowding
    itemsize: int
    fewer: dict[str, Fit] = field(default_factory=dict)
    algorithms: dict[tuple[str, int, int], str] = field(default_factory=dict)
    left_out: list[int] = field(default_factory=list)

    def unseen(self, pattern: str, p: int) -> bool:
        """Whether `predict` uses a fit made without p ranks."""
        return pattern in self.fewer and self.fitted_up_to is not None and p > self.fitted_up_to

    def predict(self, pattern: str, p: int, n: int) -> float | None:
        """Seconds of a pattern on p ranks for n bytes, by its fit; for held-out p by the fit without them.

        None where too many ranks share a core.
        """
        single = {"link": self.link, "reduction": self.reduction}.get(pattern)
        if single is not None:
            return single.predict(MESSAGE, n)
        if p in self.left_out:
            return None
        fitted = (self.fewer if self.unseen(pattern, p) else self.collectives)[pattern]
        terms = _terms(self._algorithm(pattern, p, n), p, n, self.itemsize, self.crowding)
        return fitted.predict(terms, n, self.crowding(p) > 1)

    def _algorithm(self, pattern: str, p: int, n: int) -> str:
        return self.algorithms.get((pattern, p, n), pattern)

    def records(self, configured: dict[str, float] | None = None) -> list[dict[str, Any]]:
        """All fits for the result file; `configured` holds an emulated link's own alpha and beta."""
        fits = [self.link.record("link", "link", configured)]
        fits += [fitted.record("collective", pattern, configured) for pattern, fitted in self.collectives.items()]
        return fits

    def meaning(self, pattern: str, n: int, t_comp: float) -> dict[str, Any]:
        """The speedup model for steps of `t_comp` seconds that each end with this pattern on n bytes."""
        terms = self.collectives[pattern].at(n)
        most = max((p for name, p, size in self.algorithms if (name, size) == (pattern, n)), default=0)
        algorithm = self._algorithm(pattern, most, n)
        model = speedup.measured(t_comp, algorithm, n, terms.alpha, terms.beta, terms.gamma)
        return {
            "pattern": pattern,
            "algorithm": algorithm,
            "bytes": n,
            "t_comp": t_comp,
            "form": model.form,
            "terms": {"alpha": terms.alpha, "beta": terms.beta, "gamma": terms.gamma},
            "fitted": [terms.first, terms.last],
            "textbook": textbook_terms(terms, n) if algorithm == "ring" else None,
            **model.answers(),
            "best_ci95": speedup.best_interval(t_comp, algorithm, n, terms.draws),
        }

    def content(
        self, series: Iterable[Series], t_comp: float, configured: dict[str, float] | None = None
    ) -> dict[str, Any]:
        """The result fields of these series: measurements with fits and native times, fits, contention, meaning."""
        native = {(one.job.ranks, one.job.bytes): one for one in series if one.job.pattern == "native"}
        rows, largest = [], 0
        # One number of ranks that is left of several says nothing of how times grow with p.
        alone = bool(self.left_out) and self.fitted_up_to is None
        for one in series:
            pattern, p, n = one.job.pattern, one.job.ranks, one.job.bytes
            largest = max(largest, n)
            if pattern != "native":
                beside = native.get((p, n)) if pattern in self.collectives else None
                row = measurement(one, self.predict(pattern, p, n), beside)
                rows.append({**row, "held_out": self.unseen(pattern, p)})
        return {
            "measurements": rows,
            "fits": self.records(configured),
            "held_out": self.held_out,
            "itemsize": self.itemsize,
            "fitted_up_to": self.fitted_up_to,
            "left_out": self.left_out,
            "contention": {pattern: contention(fitted, self.link) for pattern, fitted in self.collectives.items()},
            "meaning": [] if alone else [self.meaning(pattern, largest, t_comp) for pattern in self.collectives],
        }


def held_out(fitted: Fit, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Predict points left out of the fit, for the result file."""
    rows = []
    for point in points:
        measured, predicted = point.median, fitted.predict(point.terms, point.bytes, point.shared)
        row = {"ranks": point.ranks, "bytes": point.bytes, "measured": measured, "predicted": predicted}
        rows.append({**row, "relative_error": predicted / measured - 1})
    return rows


def contention(collective: Fit, link: Fit) -> dict[str, dict[str, Any] | None]:
    """Contention factors: alpha and beta of a collective over those between two idle ranks.

    Each has its 95 % interval if both fits claim one, and is None where the link's is 0.
    """
    factors: dict[str, dict[str, Any] | None] = {"alpha": None, "beta": None}
    for column, name in enumerate(factors):
        ours, base = collective.headline.draws[:, column], link.headline.draws[:, column]
        value = getattr(link.headline, name)
        if value > 0:
            claimed = len(ours) and len(base) and (base > 0).all()
            bounds = np.quantile(np.resize(ours, len(base)) / base, [0.025, 0.975]).tolist() if claimed else None
            factors[name] = {"value": getattr(collective.headline, name) / value, "ci95": bounds}
    return factors


def textbook_terms(ring: Coefficients, n: float) -> dict[str, float]:
    """Terms (seconds) of a ring all-reduce of n bytes for the textbook's calculator: ``alpha (p-1) + 2 beta (p-1)/p``.

    There alpha is charged p-1 times and covers both passes, and beta is the time to move the whole model once; gamma
    goes into that beta.
    """
    return {"alpha": 2 * ring.alpha, "beta": n * (ring.beta + ring.gamma / 2)}


def uncrowded(p: int) -> float:
    """Return 1: one rank per core."""
    return 1.0


def fit_link(series: Iterable[Series], *, coarse: bool = False, seed: int = 0) -> Fit:
    """Fit the messages of one link; `coarse`: measured at few sizes, in one segment."""
    points = [Point(one.job.bytes, MESSAGE, one.seconds, one.launches or None) for one in _of(series, "link")]
    return fit(points, most_segments=1, resamples=50, seed=seed) if coarse else fit(points, seed=seed)


def fit_run(
    series: Sequence[Series], patterns: Iterable[str], itemsize: int, crowding: Crowding = uncrowded, seed: int = 0
) -> RunFits:
    """Fit the link, the reductions and the collectives of one run.

    Parameters
    ----------
    series : jobs named ``"link"``, ``"reduction"`` and as in `costs.COLLECTIVES`; any other needs one of those as the
        label ``algorithm``
    patterns : the collectives to fit
    itemsize : bytes of an element: blocks are whole elements
    crowding : ranks per core, >= 1, when p ranks run

    Raises
    ------
    UsageError
        Fewer than two sizes, so that nothing can be fitted.
    """
    link = fit_link(series, seed=seed)
    adding = _of(series, "reduction")
    alone = [Point(s.job.bytes, MESSAGE, s.seconds, s.launches or None, 1) for s in adding]
    reduction = fit(alone, seed=seed) if alone else None
    gamma = reduction.headline.beta if reduction else 0.0
    draws = reduction.headline.draws[:, 1] if reduction else None
    collectives, fewer, unseen, last = {}, {}, [], None
    left_out = sorted({s.job.ranks for s in series if crowding(s.job.ranks) > MOST_CROWDED})
    for pattern in patterns:
        points = _points([s for s in _of(series, pattern) if s.job.ranks not in left_out], itemsize, crowding)
        if not points and left_out:
            continue
        collectives[pattern] = fit(points, gamma=gamma, gamma_draws=draws, seed=seed)
        few, many = _split(points)
        if few and many:
            last = max(point.ranks for point in few)
            fewer[pattern] = fit(few, gamma=gamma, gamma_draws=draws, resamples=2, seed=seed)
            unseen += [{"pattern": pattern, **row} for row in held_out(fewer[pattern], many)]
    algorithms = {
        (s.job.pattern, s.job.ranks, s.job.bytes): _form(s.job) for s in series if "algorithm" in s.job.labels
    }
    return RunFits(link, reduction, collectives, unseen, last, crowding, itemsize, fewer, algorithms, left_out)


def _form(job: Job) -> str:
    """The pattern whose cost formula applies to a job."""
    return str(job.labels.get("algorithm", job.pattern))


def _of(series: Iterable[Series], pattern: str) -> list[Series]:
    # What takes no time at all, as nothing sent on a network without latency, cannot be off by a share of it.
    return [one for one in series if one.job.pattern == pattern and any(one.seconds)]


def _terms(pattern: str, p: int, n: int, itemsize: int, crowding: Crowding) -> costs.Terms:
    return costs.collective(pattern).block_terms(p, n // itemsize, itemsize).times(crowding(p))


def _points(series: Iterable[Series], itemsize: int, crowding: Crowding) -> list[Point]:
    points = []
    for one in series:
        job = one.job
        terms = _terms(_form(job), job.ranks, job.bytes, itemsize, crowding)
        shared = crowding(job.ranks) > 1
        points.append(Point(job.bytes, terms, one.seconds, one.launches or None, job.ranks, shared))
    return points


def _split(points: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    """Split points into those on fewer ranks and those on the most ranks."""
    most = max(point.ranks for point in points)
    return [p for p in points if p.ranks < most], [p for p in points if p.ranks == most]


def measurement(series: Series, predicted: float | None = None, native: Series | None = None) -> dict[str, Any]:
    """A measurement for the result file, with algbw and busbw if the pattern has them."""
    job, seconds = series.job, series.summary()
    algbw = job.bytes / seconds["median"] if seconds["median"] > 0 else None
    try:
        busbw = None if algbw is None else algbw * costs.collective(_form(job)).bus(job.ranks)
    except UsageError:
        busbw = None
    return {
        "pattern": job.pattern,
        "ranks": job.ranks,
        "bytes": job.bytes,
        **job.labels,
        "seconds": seconds,
        "algbw": algbw,
        "busbw": busbw,
        "predicted": predicted,
        "native": native.summary() if native else None,
        "wrong": series.wrong,
    }
