"""Incast: the time of one receiver for more and more simultaneous senders, with alpha + k n beta."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.report import formats
from emulator.report.model import Column, Item, Table, grouped
from emulator.report.views import charts, common, fits
from emulator.units import format_size, format_time


def finding(result: common.Result) -> str | None:
    """A sentence on how much longer the most senders take than the fewest; None without measurements."""
    rows = result["measurements"]
    if not rows:
        return None
    size = max(row["bytes"] for row in rows)
    these = sorted((row for row in rows if row["bytes"] == size), key=lambda row: int(row["senders"]))
    few, many = these[0], these[-1]
    longer = many["seconds"]["median"] / few["seconds"]["median"]
    return (
        f"{format_size(size)} bytes from each of {many['senders']} senders at once take one receiver "
        f"{format_time(many['seconds']['median'])}, {longer:.1f} times as long as from {few['senders']}."
    )


def view(result: common.Result) -> Iterator[Item]:
    """A table for each size, fitted terms on bare MPI, and whether the formula holds."""
    columns = [
        Column("senders"),
        *common.MICROSECONDS,
        Column("into receiver", "busbw", formats.rate),
        Column("each sender", "algbw", formats.rate, priority=1),
        common.WRONG,
    ]
    for size, rows in grouped(result["measurements"], "bytes").items():
        yield Table.of(f"{format_size(size)} bytes from each sender{common.emulated(result)}", columns, rows)
    yield from fits.fits(result)
    yield from common.formula_errors(result)
    yield from charts.plots(result)
