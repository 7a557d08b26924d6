"""Plots of a result: time and bus bandwidth over size, one line per number of ranks. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from emulator.errors import UsageError


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what can be drawn of a result.

    Parameters
    ----------
    result
        The result file's content.
    folder
        Where the PNG files go: ``time-<pattern>.png`` and ``busbw-<pattern>.png``.

    Returns
    -------
    list of Path
        The files, in the order in which a report shows them.

    Raises
    ------
    UsageError
        There is nothing to draw, or the folder cannot be written.
    """
    rows = [row for row in result["measurements"] if row["bytes"] > 0 and row["seconds"]["median"] > 0]
    patterns = list(dict.fromkeys(row["pattern"] for row in rows))
    if not rows:
        raise UsageError(
            "a plot needs measurements of sizes above 0, this result has none: leave out --plots and --html"
        )
    drawn = []
    for pattern in patterns:
        series = {
            ranks: sorted(group, key=lambda row: row["bytes"])
            for ranks, group in groupby(
                sorted((row for row in rows if row["pattern"] == pattern), key=lambda row: row["ranks"]),
                key=lambda row: row["ranks"],
            )
        }
        try:
            drawn.append(_times(series, pattern, result["clock"], folder / f"time-{pattern}.png"))
            if all(row.get("busbw") for group in series.values() for row in group):
                drawn.append(_bandwidths(series, pattern, folder / f"busbw-{pattern}.png"))
        except OSError as error:
            raise UsageError(f"cannot draw into {folder}: {error.strerror or error}") from None
    return drawn


def _axes(title: str, label: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel="bytes", ylabel=label, xscale="log", yscale="log")
    axes.grid(True, which="major", alpha=0.3)
    return figure, axes


def _times(series: Mapping[int, Sequence[Mapping[str, Any]]], pattern: str, clock: str, path: Path) -> Path:
    """Medians with their intervals, the fit as a line, and the native call in grey."""
    figure, axes = _axes(f"{pattern}: time by size ({clock} clock)", "seconds")
    for index, (ranks, rows) in enumerate(series.items()):
        colour = f"C{index % 10}"
        sizes, medians = [row["bytes"] for row in rows], [row["seconds"]["median"] for row in rows]
        axes.errorbar(sizes, medians, yerr=_bars(rows), fmt="o", color=colour, ms=4, capsize=2, label=f"p = {ranks}")
        if all(row.get("predicted") for row in rows):
            axes.plot(sizes, [row["predicted"] for row in rows], "-", color=colour, lw=1)
        if all(row.get("native") for row in rows):
            axes.plot(sizes, [row["native"]["median"] for row in rows], ":", color=colour, lw=1)
    axes.plot([], [], "-", color="grey", label="fit")
    if any(row.get("native") for rows in series.values() for row in rows):
        axes.plot([], [], ":", color="grey", label="native")
    axes.legend()
    figure.savefig(path, dpi=120)
    return path


def _bars(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """Lengths of the error bars below and above the medians; 0 where there is no interval."""
    intervals = [row["seconds"]["ci95"] or [row["seconds"]["median"]] * 2 for row in rows]
    medians = [row["seconds"]["median"] for row in rows]
    below = [median - low for median, (low, _) in zip(medians, intervals, strict=True)]
    above = [high - median for median, (_, high) in zip(medians, intervals, strict=True)]
    return below, above


def _bandwidths(series: Mapping[int, Sequence[Mapping[str, Any]]], pattern: str, path: Path) -> Path:
    figure, axes = _axes(f"{pattern}: bus bandwidth by size", "bytes per second")
    for ranks, rows in series.items():
        axes.plot([row["bytes"] for row in rows], [row["busbw"] for row in rows], "o-", ms=4, label=f"p = {ranks}")
    axes.legend()
    figure.savefig(path, dpi=120)
    return path
