"""Predicted against run: skeletons of the five patterns on three networks, with and without spread."""

from __future__ import annotations

from bench._common import Row, figures, row

_RANKS, _NODES = 18, "2,4,8,16"
_TARGETS = {0.0: 0.01, 0.1: 0.05}  # largest error of a step, by spread


def rows(budget: float) -> list[Row]:
    """The largest error of each pattern on each network, of the points with 2 to 16 nodes that the budget allows."""
    worst: dict[tuple[str, str, float], float] = {}
    for one in figures(_RANKS, "bench._design", _NODES, budget, limit_s=120 + 2 * budget):
        key = (one["pattern"], one["network"], one["spread"])
        worst[key] = max(worst.get(key, 0.0), abs(one["error"]))
    return [
        row(f"error of the step: {pattern}, {network}, spread {spread:g}", error, most=_TARGETS[spread])
        for (pattern, network, spread), error in worst.items()
    ]
