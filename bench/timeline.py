"""What recording a timeline costs: CPU time of an emulated message of a ring, with and without, by turns."""

from __future__ import annotations

import statistics
from typing import Any

from bench.emulator import _job

_MOST = 1.05


def rows(budget: float) -> list[dict[str, Any]]:
    """Measure it on 16 ranks."""
    figures = _job(16, "traced", budget)
    plain, traced = figures["plain"], figures["traced"]
    ratio = statistics.median(traced) / statistics.median(plain)
    return [
        {
            "name": "ring of 16: CPU for a message, with --trace", "ours": statistics.median(traced),
            "other": statistics.median(plain), "ratio": ratio, "unit": "us", "target": f"< {_MOST}",
            "met": ratio < _MOST,
        }
    ]  # fmt: skip
