"""Figures derived from fits: held-out errors, contention factors, terms for the textbook's calculator."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emulator.measure.model import Coefficients, Fit, Point


def held_out(fitted: Fit, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Predict points that were left out of the fit, in the form of the result file.

    ``relative_error`` is predicted / measured - 1.
    """
    rows = []
    for point in points:
        measured, predicted = point.median, fitted.predict(point.terms, point.bytes)
        rows.append(
            {
                "ranks": point.ranks,
                "bytes": point.bytes,
                "measured": measured,
                "predicted": predicted,
                "relative_error": predicted / measured - 1,
            }
        )
    return rows


def contention(collective: Fit, link: Fit) -> dict[str, dict[str, Any] | None]:
    """Contention factors: alpha and beta of a collective over those between two idle ranks.

    Returns
    -------
    dict
        ``alpha`` and ``beta``: the ratio collective / link with its 95 % interval if both claim one (None if they
        do not); None where the link's is 0.
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
    """Terms of a ring all-reduce re-parametrised for the textbook's calculator.

    There alpha is charged p-1 times and covers both passes, and beta is the time to move the whole model once:
    ``alpha (p-1) + 2 beta (p-1)/p``.

    Parameters
    ----------
    ring
        Fitted terms of the ring; gamma goes into the textbook's beta.
    n
        Bytes of the model.

    Returns
    -------
    dict
        ``alpha`` and ``beta``, both in seconds.
    """
    return {"alpha": 2 * ring.alpha, "beta": n * (ring.beta + ring.gamma / 2)}
