"""A month of a large job with random node failures, in simulated time: goodput under each recovery policy.

Each node that computes fails at random, exponentially, with its mean time between failures; a failure during a recovery
begins it again. Under respawn and restart a failed node is replaced at once.

    survivors go on (shrink, spare, respawn)   the step under way is lost, then the recovery passes
    whole job again (restart)                  the work since the last checkpoint is lost, then the recovery passes

    goodput = node-seconds of work that was kept / (nodes and spares x seconds of the month)

Nothing of the policies' own code runs here: what a recovery takes is a parameter, whose default was measured in drills.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emulator import policies, results
from emulator.costs import checkpoints
from emulator.errors import UsageError

MEASURED_S = {
    name: measured.seconds
    for name, measured in policies.MEASURED.items()
    if policies.of(name).repeats_steps or policies.of(name).relaunches
}
"""Seconds from a kill to the next complete step, under the policies of a month."""
SOURCE = f"drills with {policies.MACHINE}"
MULTIPLES = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
"""Checkpoint intervals that are tried, as multiples of Young's."""
MOST_FAILURES = 1e5  # of a month: more would simulate for minutes, and no job lives with them


@dataclass(frozen=True)
class Month:
    """The simulated job and its failures, times in seconds.

    Attributes
    ----------
    nodes, spares : nodes that compute, and nodes that wait, for `spare`
    mtbf_s : mean time between failures of one node
    length_s, step_s : of the whole, and of one step
    checkpoint_s : what writing a checkpoint takes, for `restart`
    recovery_s : what a recovery takes; None: what drills have measured
    costs, costs_from : what it takes under some policies, of the run of that name (`costs_of`)
    draws, seed : how many months are drawn, and the seed of their failures
    """

    nodes: int = 4096
    mtbf_s: float = 5 * 365.25 * 86400.0
    spares: int = 64
    length_s: float = 30 * 86400.0
    step_s: float = 1.0
    checkpoint_s: float = 60.0
    recovery_s: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    costs_from: str = ""
    draws: int = 100
    seed: int = 0

    @property
    def failures(self) -> float:
        """Expected number of failures in the month while all nodes are in use."""
        return self.nodes * self.length_s / self.mtbf_s

    def recovery(self, policy: str) -> float:
        """Seconds of one recovery under a policy."""
        return self.costs.get(policy, MEASURED_S[policy]) if self.recovery_s is None else self.recovery_s

    def source(self, policy: str) -> str:
        """The origin of a policy's recovery time, for the report."""
        if self.recovery_s is not None:
            return "given"
        return self.costs_from if policy in self.costs else SOURCE


def costs_of(run: str | Path) -> dict[str, float]:
    """Read the median seconds of a recovery under each policy from the result of a drill, a matrix or a soak.

    Raises
    ------
    UsageError
        It is none of these, or has no recovery.
    """
    result = results.load(run)
    drills = [result.get("drill") or {}, *((cell.get("drill") or {}) for cell in result.get("matrix") or ())]
    took: dict[str, list[float]] = {}
    for one in drills:
        if one.get("recovery_seconds") is not None:
            took.setdefault(one["recovery"], []).append(one["recovery_seconds"])
    for one in (result.get("soak") or {}).get("recoveries", ()):
        took.setdefault(one["recovery"], []).append(one["seconds"])
    found = {policy: float(np.median(seconds)) for policy, seconds in took.items() if policy in MEASURED_S}
    if not found:
        raise UsageError(
            f"--costs takes a drill's, a matrix' or a soak's run with a recovery by {', '.join(MEASURED_S)}, "
            f"got {run}: name one, or give --recovery-time"
        )
    return found


def compare(month: Month, names: Sequence[str]) -> list[dict[str, Any]]:
    """Simulate the month under each policy; a policy that takes checkpoints gets the best of the intervals tried.

    Raises
    ------
    UsageError
        A policy without a measured recovery, or more failures than can be simulated.
    """
    if unknown := [name for name in names if name not in MEASURED_S]:
        raise UsageError(f"--recovery takes {', '.join(MEASURED_S)}, got {', '.join(unknown)}: choose from these")
    if month.failures > MOST_FAILURES:
        raise UsageError(
            f"{month.nodes} nodes of MTBF {month.mtbf_s:g} s fail {month.failures:.3g} times in {month.length_s:g} s, "
            f"at most {MOST_FAILURES:g} are simulated: give fewer --nodes or a longer --mtbf"
        )
    return [_restarting(month, name) if policies.of(name).relaunches else _going_on(month, name) for name in names]


def _row(month: Month, name: str, goodputs: Sequence[float], failures: Sequence[int], **more: Any) -> dict[str, Any]:
    low, high = np.quantile(goodputs, [0.05, 0.95])
    mean = float(np.mean(goodputs))
    return {
        "policy": name, "recovery_s": month.recovery(name), "source": month.source(name), "goodput": mean,
        "p5": float(low), "p95": float(high),
        "lost": 1 - mean, "failures": float(np.mean(failures)), "young": None, "daly": None, "intervals": [], **more,
    }  # fmt: skip


def _recovered(month: Month, name: str, nodes: int, draw: np.random.Generator) -> tuple[float, int]:
    """Seconds until a recovery succeeds, and the number of failures during it."""
    needed, mean, spent, failures = month.recovery(name), month.mtbf_s / nodes, 0.0, 0
    while (gap := draw.exponential(mean)) < needed:
        spent, failures = spent + gap, failures + 1
        if spent > month.length_s:
            break
    return spent + needed, failures


def _going_on(month: Month, name: str) -> dict[str, Any]:
    """Simulate policies whose survivors go on from the last complete step; nodes are lost where no place is filled."""
    policy = policies.of(name)
    spares = month.spares if policy.has_spares else 0
    goodputs, counts, left = [], [], []
    for number in range(month.draws):
        draw = np.random.default_rng((month.seed, number))
        at, kept, failures, nodes, waiting = 0.0, 0.0, 0, month.nodes, spares
        while at < month.length_s and nodes:
            gap = draw.exponential(month.mtbf_s / nodes)
            worked = min(gap, month.length_s - at)
            kept += nodes * (worked - worked % month.step_s if gap == worked else worked)
            at += gap
            if at >= month.length_s:
                break
            pause, more = _recovered(month, name, nodes, draw)
            lost = 1 + more
            at, failures = at + pause, failures + lost
            filled = lost if policy.spawns else min(lost, waiting)
            waiting -= 0 if policy.spawns else filled
            nodes = max(0, nodes - (lost - filled))
        goodputs.append(kept / ((month.nodes + spares) * month.length_s))
        counts.append(failures)
        left.append(nodes)
    return _row(month, name, goodputs, counts, spares=spares, nodes_left=float(np.mean(left)))


def _restarting(month: Month, name: str) -> dict[str, Any]:
    """Simulate restart: the whole job starts again from its last checkpoint on as many nodes, at its best interval."""
    mtbf = month.mtbf_s / month.nodes
    young, daly = (float(rule(month.checkpoint_s, mtbf)) for rule in (checkpoints.young, checkpoints.daly))
    tried = []
    for every in sorted({*(young * factor for factor in MULTIPLES), daly}):
        found = [_with_checkpoints(month, name, every, number) for number in range(month.draws)]
        tried.append((every, [goodput for goodput, _ in found], [failures for _, failures in found]))
    every, goodputs, failures = max(tried, key=lambda one: float(np.mean(one[1])))
    intervals = [{"every": each, "goodput": float(np.mean(mean))} for each, mean, _ in tried]
    return _row(month, name, goodputs, failures, spares=0, nodes_left=float(month.nodes), best=every, young=young,
                daly=daly, intervals=intervals)  # fmt: skip


def _with_checkpoints(month: Month, name: str, every_s: float, number: int) -> tuple[float, int]:
    """Goodput and failures of one month with a checkpoint after so many seconds of work."""
    draw = np.random.default_rng((month.seed, number))
    cycle, at, kept, failures = every_s + month.checkpoint_s, 0.0, 0.0, 0
    while at < month.length_s:
        gap = draw.exponential(month.mtbf_s / month.nodes)
        worked = min(gap, month.length_s - at)
        kept += math.floor(worked / cycle) * every_s
        if gap > worked:  # the month ends in the middle of work that is not lost
            kept += min(every_s, worked % cycle)
            break
        pause, more = _recovered(month, name, month.nodes, draw)
        at, failures = at + gap + pause, failures + 1 + more
    return kept / month.length_s, failures
