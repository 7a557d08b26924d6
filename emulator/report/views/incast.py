"""Incast: what one receiver takes from more and more senders at once, beside alpha + k n beta."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.report import formats
from emulator.report.model import Column, Item, Table
from emulator.report.views import common
from emulator.units import format_size


def view(result: common.Result) -> Iterator[Item]:
    """A table for each size, the fitted terms on the bare transport, and whether the formula holds."""
    columns = [
        Column("senders"),
        *common.MICROSECONDS,
        Column("into receiver", "busbw", formats.rate),
        Column("each sender", "algbw", formats.rate, priority=1),
        common.WRONG,
    ]
    rows = result["measurements"]
    for size in dict.fromkeys(row["bytes"] for row in rows):
        title = f"{format_size(size)} bytes from each sender{common.emulated(result)}"
        yield Table.of(title, columns, [row for row in rows if row["bytes"] == size])
    yield from common.fits(result)
    yield from common.formula_errors(result)
    yield from common.plots(result)
