"""The view of a result whose command has none of its own."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.report.model import Item, Text
from emulator.report.views import common, fits


def view(result: common.Result) -> Iterator[Item]:
    """Measurements, fits, and the names of all other fields."""
    yield from common.measurements(result)
    yield from fits.fits(result)
    yield from common.formula_errors(result)
    told = {"schema", "demo", "command", "started", "environment", "network", "clock", "pace", "fidelity",
            "measurements", "fits", "held_out", "warnings", "failures", "formula_errors", "timeline"}  # fmt: skip
    others = [name for name, value in result.items() if name not in told and value not in (None, [], {})]
    if others:
        yield Text(f"only in the result file: {', '.join(others)}", "dim")
