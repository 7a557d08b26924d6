"""S, V and R of a pattern for every p as a few pieces ``a + b p + c / p`` that a page's script can evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emulator import costs
from emulator.speedup import MOST_NODES

Piece = tuple[float, float, float, float]
"""First p, a, b and c: it holds up to the next piece's first p."""

_NODES = np.arange(1, MOST_NODES + 1, dtype=float)
_EXACT = 1e-12  # relative error of a piece

_BETA = [(1, 2.0, 0.0, -2.0)], [(1, 0.0, 0.0, 0.0)]
_WHOLE_MODEL: dict[str, Sequence[Sequence[Piece]]] = {
    "textbook": ([(1, -1.0, 1.0, 0.0)], *_BETA),  # alpha (p-1) + 2 beta (p-1)/p
    "ring": ([(1, -2.0, 2.0, 0.0)], *_BETA),  # 2 alpha (p-1) + 2 beta (p-1)/p
}
"""Forms in which beta is the time to move the whole model once."""


@lru_cache
def of_pattern(name: str, per_byte: bool) -> Sequence[Sequence[Piece]]:
    """Pieces of S, V and R of a pattern with a cost formula; else of a form with beta for all bytes."""
    if not per_byte:
        return _WHOLE_MODEL[name]
    found = [costs.terms(name, int(p)) for p in _NODES]
    return [pieces([getattr(one, field) for one in found]) for field in ("steps", "volume", "reduced")]


def pieces(values: Sequence[float]) -> list[Piece]:
    """The fewest pieces, chosen greedily from the left, that give the values at p = 1, 2, 3, ..."""
    left, start = np.asarray(values, dtype=float), 0
    found: list[Piece] = []
    while start < len(left):
        trials = [(float(left[start]), 0.0, 0.0), *_through(left, start)]
        lengths = [_holds(left, start, *trial) for trial in trials]
        best = int(np.argmax(lengths))
        found.append((start + 1, *trials[best]))
        start += lengths[best]
    return found


def _through(values: NDArray[np.float64], start: int) -> list[tuple[float, float, float]]:
    """The curves through three neighbours: exact, and with b and c rounded to quarters, which formulas have."""
    if start + 3 > len(values):
        return []
    p = _NODES[start : start + 3]
    a, b, c = np.linalg.solve(np.stack([np.ones(3), p, 1 / p], axis=1), values[start : start + 3]).tolist()
    b4, c4 = round(4 * b) / 4, round(4 * c) / 4
    return [(float(values[start] - b4 * p[0] - c4 / p[0]), b4, c4), (a, b, c)]


def _holds(values: NDArray[np.float64], start: int, a: float, b: float, c: float) -> int:
    """The number of p for which a curve gives the values."""
    p, known = _NODES[start : len(values)], values[start:]
    wrong = np.abs(a + b * p + c / p - known) > _EXACT * np.maximum(1.0, np.abs(known))
    return int(np.argmax(wrong)) if wrong.any() else len(known)
