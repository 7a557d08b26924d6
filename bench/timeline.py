"""The cost of recording a timeline: CPU time of an emulated message of a ring, with and without, by turns."""

from __future__ import annotations

from bench._common import Row, figures, medians, row


def rows(budget: float) -> list[Row]:
    """Measure it on 16 ranks."""
    cost = medians(figures(16, "bench.emulator", "traced", budget, limit_s=180 + budget))
    return [row("ring of 16: CPU for a message, with --trace", cost["traced"], "us", cost["plain"], most_ratio=1.05)]
