"""Aggregation of m updates, of which up to f (from "liars") are arbitrary: the weighted mean, and robust rules.

    rule               needs        result                                       how far a lie can move it
    median             m > 2 f      middle value of every coordinate             within the honest values
    trimmed mean       m > 2 f      per coordinate, drop f lowest, f highest     between two honest means
    geometric median   m > 2 f      point with least sum of distances            2 (m - f) / (m - 2 f) * honest radius
    Krum               m > 2 f + 2  the update closest to its m - f - 2 nearest  (1 + sqrt((m-f-2)/(m-2f-1))) * diameter
    multi-Krum         m > 2 f + 2  mean of the m - f - 2 best by Krum's score   as Krum's, for each one chosen

An update with NaN or infinity counts as a liar's: it is left out, and the rule goes on with one update and one liar
fewer. The caller must know the largest number of liars: no rule can find it from the updates, and no rule tolerates
half or more of them (two equal halves cannot be told apart). The robust rules weigh all updates equally, because a
claimed number of examples may be a lie too.

Cost per round, on one rank: O(m log m) per coordinate for the first two, O(m n) per iteration for the third, O(m^2 n)
for Krum.

Sources: Yin, Chen, Ramchandran and Bartlett (ICML 2018) for median and trimmed mean; Blanchard, El Mhamdi, Guerraoui
and Stainer (NeurIPS 2017) for Krum; Minsker (Bernoulli 2015), lemma 2.1, for the geometric median; Weiszfeld's
iteration with the step of Vardi and Zhang (PNAS 2000).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.errors import Registry, UsageError

Vector = NDArray[np.float64]
Aggregate = Callable[[NDArray[np.float64], Vector], Vector]
"""(models of shape (m, n), numbers of examples of shape (m,)) -> model of shape (n,)."""
_TOLERANCE = 1e-10
_MOST_STEPS = 1000


def _admit(
    updates: ArrayLike, liars: int, rule: str, margin: int = 1, why: str = "the honest must outnumber the liars"
) -> tuple[NDArray[np.float64], int]:
    """Drop updates that are not finite and check m >= 2 f + `margin`: returns (updates, liars left among them)."""
    rows = np.asarray(updates, np.float64)
    if rows.ndim != 2 or len(rows) == 0:
        raise UsageError(f"{rule} takes updates as rows of an array (m, n) with m >= 1, got shape {rows.shape}")
    if liars < 0:
        raise UsageError(f"the number of liars is at least 0, got {liars}")
    m, needs = len(rows), 2 * liars + margin
    if m < needs:
        raise UsageError(
            f"{rule} tolerates {liars} liars only among {needs} or more updates, got {m} (2 f + {margin}: {why}): ask "
            "more clients or expect fewer liars"
        )
    finite = np.isfinite(rows).all(axis=1)
    broken = int(m - finite.sum())
    if broken > liars:
        raise UsageError(
            f"{rule} expects at most {liars} liars, {broken} of {m} updates hold NaN or infinity: expect more "
            "liars, or look at the clients"
        )
    return rows[finite], liars - broken


def weighted_mean(models: NDArray[np.float64], examples: Vector) -> Vector:
    """Mean of the rows weighted by examples, added up in row order; rows that are not finite are left out.

    One liar can move it anywhere.

    Raises
    ------
    UsageError
        No row is finite.
    """
    finite = np.isfinite(models).all(axis=1)
    if not finite.any():
        raise UsageError("no client sent a finite model, so there is nothing to average: lower the learning rate")
    total = np.zeros(models.shape[1])
    for model, weight in zip(models[finite], examples[finite], strict=True):
        total += weight * model
    return total / examples[finite].sum()


def median(updates: ArrayLike, liars: int) -> Vector:
    """Coordinate-wise median, shape (n,): each coordinate lies within the honest values of that coordinate.

    Parameters
    ----------
    updates : rows of shape (m, n)
    liars : largest number f of liars among them; m > 2 f

    Raises
    ------
    UsageError
        There are too few updates for so many liars, or more updates that are not finite than liars.
    """
    rows, _ = _admit(updates, liars, "the median")
    return np.median(rows, axis=0)


def trimmed_mean(updates: ArrayLike, liars: int) -> Vector:
    """Mean of each coordinate without its f lowest and f highest values, shape (n,).

    With h the sorted honest values of a coordinate (m - f of them), the result lies between the mean of the
    m - 2 f lowest and that of the m - 2 f highest of them. Parameters and errors as for `median`.
    """
    rows, left = _admit(updates, liars, "the trimmed mean")
    ordered = np.sort(rows, axis=0)
    return ordered[left : len(ordered) - left].mean(axis=0)


def geometric_median(updates: ArrayLike, liars: int) -> Vector:
    """Point with the least sum of Euclidean distances to the rows, shape (n,).

    At most 2 (m - f) / (m - 2 f) * r away from any point that has all honest updates within r. Weiszfeld's weighted
    means, with the step of Vardi and Zhang where the iterate falls on an update. Parameters and errors as for
    `median`.
    """
    rows, _ = _admit(updates, liars, "the geometric median")
    point = np.median(rows, axis=0)
    scale = float(np.abs(rows - point).max(initial=0.0))
    for _ in range(_MOST_STEPS):
        step = _weiszfeld(rows, point, scale * 1e-14)
        moved = float(np.linalg.norm(step - point))
        point = step
        if moved <= _TOLERANCE * scale:
            break
    return point


def _weiszfeld(rows: NDArray[np.float64], point: Vector, touching: float) -> Vector:
    """Do one step: the mean of the rows weighted by 1 / distance; rows within `touching` of the point hold it back."""
    distances = np.linalg.norm(rows - point, axis=1)
    away = distances > touching
    if not away.any():
        return point
    weights = 1 / distances[away]
    target = weights @ rows[away] / weights.sum()
    hit = float((~away).sum())
    if not hit:
        return target
    pull = float(np.linalg.norm(weights @ (rows[away] - point)))
    stay = min(1.0, hit / pull) if pull > 0 else 1.0
    return (1 - stay) * target + stay * point


def krum_scores(updates: ArrayLike, liars: int) -> Vector:
    """Sum of squared distances of each update to its m - f - 2 nearest others, shape (m,); infinite for NaN.

    Raises
    ------
    UsageError
        m < 2 f + 3, or more updates that are not finite than liars.
    """
    why = "even the best update is compared with m - f - 2 neighbours, most of which must be honest"
    rows, left = _admit(updates, liars, "Krum", 3, why)
    with np.errstate(over="ignore"):  # a liar may send 1e300; its distance is then infinite, as it should be
        squared = np.array([((row - rows) ** 2).sum(axis=1) for row in rows])
    nearest = np.sort(squared, axis=1)[:, 1 : len(rows) - left - 1]
    scores = np.full(len(np.asarray(updates)), np.inf)
    scores[np.isfinite(np.asarray(updates, np.float64)).all(axis=1)] = nearest.sum(axis=1)
    return scores


def krum(updates: ArrayLike, liars: int) -> Vector:
    """Choose the one update with the lowest score of `krum_scores`, shape (n,): always one of the updates.

    Parameters and errors as for `krum_scores`.
    """
    return _best_mean(updates, krum_scores(updates, liars), 1)


def multi_krum(updates: ArrayLike, liars: int) -> Vector:
    """Mean of the m - f - 2 updates with the lowest Krum scores, shape (n,).

    Parameters and errors as for `krum_scores`.
    """
    scores = krum_scores(updates, liars)
    return _best_mean(updates, scores, len(scores) - liars - 2)


def _best_mean(updates: ArrayLike, scores: Vector, count: int) -> Vector:
    chosen = np.sort(np.argsort(scores, kind="stable")[:count])
    return np.asarray(updates, np.float64)[chosen].mean(axis=0)


@dataclass(frozen=True)
class Rule:
    """An aggregation rule.

    Attributes
    ----------
    combine : (updates, liars) -> model, of equal weights; None: the weighted mean, which tolerates no liars
    margin : it tolerates f liars among 2 f + `margin` updates or more
    """

    name: str
    combine: Callable[[ArrayLike, int], Vector] | None
    margin: int = 1

    @property
    def tolerates(self) -> bool:
        """Whether it tolerates any liars."""
        return self.combine is not None

    def most_liars(self, updates: int) -> int:
        """Largest number of liars that it tolerates among that many updates; below 0 if it cannot work with so few."""
        return (updates - self.margin) // 2 if self.tolerates else 0

    def tolerating(self, liars: int) -> Aggregate:
        """The function by which a server aggregates models, at most `liars` of which are false.

        Raises
        ------
        UsageError
            Liars among the models of a mean.
        """
        combine = self.combine
        if combine is None:
            if liars:
                raise UsageError(f"a mean tolerates no liars, got {liars}: use {', '.join(list(RULES)[1:])}")
            return weighted_mean
        return lambda models, examples: combine(models, liars)


RULES = Registry(
    "a rule",
    Rule("mean", None),
    Rule("median", median),
    Rule("trimmed-mean", trimmed_mean),
    Rule("geometric-median", geometric_median),
    Rule("krum", krum, margin=3),
    Rule("multi-krum", multi_krum, margin=3),
)
of = RULES.of
"""By the name that a command line gives them."""
