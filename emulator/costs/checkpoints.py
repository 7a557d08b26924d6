"""The interval between checkpoints that loses the least time to checkpoints and failures.

Young, "A first order approximation to the optimum checkpoint interval", CACM 17 (1974); Daly, "A higher order
estimate of the optimum checkpoint interval for restart dumps", FGCS 22 (2006). `cost_s` is the time of one
checkpoint, `mtbf_s` the mean time between failures of the whole job.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.errors import UsageError


def check(cost_s: Any, mtbf_s: Any) -> None:
    """Refuse a cost or an MTBF of 0 s or less."""
    if np.min(cost_s) <= 0 or np.min(mtbf_s) <= 0:
        raise UsageError(f"the cost of a checkpoint and the MTBF must be > 0 s, got {np.min(cost_s):g} s and "
                         f"{np.min(mtbf_s):g} s: give both, such as '30 s' and '5 years'")  # fmt: skip


def young(cost_s: Any, mtbf_s: Any) -> Any:
    """Young's interval sqrt(2 C M): seconds of work between two checkpoints, for numbers or arrays."""
    check(cost_s, mtbf_s)
    return np.sqrt(2 * cost_s * mtbf_s)


def daly(cost_s: Any, mtbf_s: Any) -> Any:
    """Daly's interval in seconds; M itself where a checkpoint costs 2 M or more; for numbers or arrays."""
    first_order, ratio = young(cost_s, mtbf_s), cost_s / (2 * mtbf_s)
    estimate = first_order * (1 + np.sqrt(ratio) / 3 + ratio / 9) - cost_s
    return np.where(ratio >= 1, mtbf_s, estimate)[()]


def waste(interval_s: float, cost_s: float, mtbf_s: float, restart_s: float) -> float:
    """Expected share of time lost to checkpoints and failures, to first order.

    Checkpoints, and for each failure a restart and half an interval.
    """
    check(cost_s, mtbf_s)
    return min(1.0, cost_s / (interval_s + cost_s) + (restart_s + (interval_s + cost_s) / 2) / mtbf_s)


def answer(cost_s: float, mtbf_s: float, restart_s: float) -> dict[str, float]:
    """The best interval by `young` and by `daly` (s), the job's `mtbf` (s), and the share of time lost at Daly's."""
    best = float(daly(cost_s, mtbf_s))
    lost = waste(best, cost_s, mtbf_s, restart_s)
    return {"mtbf": mtbf_s, "young": float(young(cost_s, mtbf_s)), "daly": best, "lost": lost}


def in_steps(interval_s: float, step_s: float) -> int:
    """Convert the interval to whole steps, at least one."""
    return max(1, round(interval_s / step_s))
