"""Reasons why the timings of a result may be unstable, and their remedies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.measure.series import EXACT
from emulator.measure.statistics import FEWEST_FOR_INTERVAL
from emulator.report.model import Row
from emulator.results import environment
from emulator.units import format_size


def unstable(result: Mapping[str, Any]) -> list[str]:
    """List the reasons why the timings of a result may be unstable, as far as the result shows."""
    found = environment.warnings(result["environment"]) if result["clock"] == "wall" else []
    rows = result["measurements"]
    chosen = [row for row in rows if row["seconds"].get("stopped") != EXACT]
    few = [row for row in chosen if (row["seconds"].get("n") or 0) < FEWEST_FOR_INTERVAL]
    if few:
        found.append(
            f"{len(few)} of {len(rows)} jobs have fewer than {FEWEST_FOR_INTERVAL} repetitions, no interval: "
            "raise --budget"
        )
    loose = [row for row in rows if row["seconds"].get("stopped") == "budget" and _loose(row)]
    if loose:
        found.append(f"{len(loose)} of {len(rows)} medians are known no better than to 20 %: raise --budget")
    skewed = [row for row in rows if (row["seconds"].get("skew") or 0) > 0.5 * row["seconds"]["median"]]
    if skewed:
        found.append(
            f"{len(skewed)} of {len(rows)} jobs (up to {format_size(max(row['bytes'] for row in skewed))}): "
            "ranks start further apart than half the median"
        )
    return found


def _loose(row: Row) -> bool:
    interval = row["seconds"]["ci95"]
    return interval is not None and bool(interval[1] - interval[0] > 0.2 * row["seconds"]["median"])
