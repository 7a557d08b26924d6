"""What emulating costs and how exact it is: CPU per message, messages per second, error in emulated and wall time."""

from __future__ import annotations

import statistics
from functools import partial

from bench._common import Row, figures, medians, row

_LIMIT_S = 180.0
_CPU_US = {2: 27, 8: 38, 16: 46, 64: 95}  # a third of what it was while ranks that wait polled


def rows(budget: float) -> list[Row]:
    """Measure each figure in a job of its own, within `budget` seconds if the machine is quiet."""
    share = max(1.0, budget / 12)
    job = partial(_job, budget=share)
    cost, ring, patterns = medians(job(2, "cost")), job(16, "ring"), job(16, "patterns")
    paced, large = job(16, "paced"), job(64, "large")
    exchanges = {n: medians(job(n, "exchanges")) for n in _CPU_US}
    return [
        row("CPU to send 64 bytes", cost["send"], "us", cost["send bare"], most=10),
        row("CPU to receive 64 bytes", cost["receive"], "us", cost["receive bare"], most=10),
        *(
            row(
                f"CPU per exchange of 8 bytes, {n} ranks",
                found["exchange"],
                "us",
                found["exchange bare"],
                most=_CPU_US[n],
            )
            for n, found in exchanges.items()
        ),
        row("ring of 16: messages per second and core", statistics.median(ring["rate"]), "1/s"),
        row("ring of 16: error of the emulated time", max(ring["error"]), most=1e-9),
        row("collectives, p = 2 3 5 8 13 16: error", max(patterns["error"]), most=1e-9),
        row("the same: messages out of order", patterns["inversions"][0]),
        row("alpha, recovered by a fit: error", 100 * abs(patterns["alpha"][0]), "%", most=1),
        row("beta, recovered by a fit: error", 100 * abs(patterns["beta"][0]), "%", most=1),
        row("paced ring of 16, alpha 500 us: pace", paced["pace"][0]),
        row("paced: wall / pace, off by", 100 * max(map(abs, paced["off"])), "%", most=3),
        row("paced: late receives", 100 * paced["overruns"][0], "%", most=1),
        row("64 ranks: ring all-reduce of 1 MiB", statistics.median(large["seconds"]), "s", most=10),
    ]


def _job(n: int, what: str, budget: float) -> dict[str, list[float]]:
    """Run one task of `bench._emulated` on `n` ranks and give its figures."""
    found: dict[str, list[float]] = figures(n, "bench._emulated", what, budget, limit_s=_LIMIT_S + budget)
    return found
