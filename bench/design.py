"""Predicted against run: skeletons of the five patterns with and without spread.

On three networks of equal hosts real ranks run; where ranks share cards, uplinks or pipes, simulated ranks do.
"""

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
    found = [
        row(f"error of the step: {pattern}, {network}, spread {spread:g}", error, most=_TARGETS[spread])
        for (pattern, network, spread), error in worst.items()
    ]
    shared: dict[tuple[str, float], float] = {}
    for one in figures(1, "bench._design_shared", "4,8", budget, limit_s=120 + 2 * budget):
        key = (one["network"], one["spread"])
        shared[key] = max(shared.get(key, 0.0), abs(one["error"]))
    return found + [
        row(f"error of the step: the worst pattern, {network}, spread {spread:g}", error, most=_TARGETS[spread])
        for (network, spread), error in shared.items()
    ]
