"""How often to checkpoint: often enough to lose little, seldom enough to pay little.

Young, "A first order approximation to the optimum checkpoint interval", CACM 17 (1974); Daly, "A higher order
estimate of the optimum checkpoint interval for restart dumps", FGCS 22 (2006). `cost_s` is the time of one
checkpoint, `mtbf_s` the mean time between failures of the whole job.
"""

from __future__ import annotations

import math

from emulator.errors import UsageError


def _check(cost_s: float, mtbf_s: float) -> None:
    if cost_s <= 0 or mtbf_s <= 0:
        raise UsageError(f"cost and MTBF must be > 0 s, got {cost_s:g} and {mtbf_s:g}")


def young(cost_s: float, mtbf_s: float) -> float:
    """sqrt(2 C M): seconds of work between two checkpoints."""
    _check(cost_s, mtbf_s)
    return math.sqrt(2 * cost_s * mtbf_s)


def daly(cost_s: float, mtbf_s: float) -> float:
    """Daly's estimate; M itself where a checkpoint costs 2 M or more."""
    _check(cost_s, mtbf_s)
    if cost_s >= 2 * mtbf_s:
        return mtbf_s
    ratio = cost_s / (2 * mtbf_s)
    return young(cost_s, mtbf_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost_s


def waste(interval_s: float, cost_s: float, mtbf_s: float, restart_s: float) -> float:
    """Expected share of time that is not progress, to first order.

    Checkpoints, and for each failure a restart and half an interval.
    """
    _check(cost_s, mtbf_s)
    return min(1.0, cost_s / (interval_s + cost_s) + (restart_s + (interval_s + cost_s) / 2) / mtbf_s)


def in_steps(interval_s: float, step_s: float) -> int:
    """The interval in whole steps, at least one."""
    return max(1, round(interval_s / step_s))
