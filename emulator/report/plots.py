"""Draws the series and the shaded maps of a view as PNG files. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from emulator.errors import UsageError
from emulator.report.model import Axis, Curve, Item, Map, Series

_MOST_NAMED = 12  # curves in a legend
_STYLES = {"points": "o", "line": "-", "dotted": ":"}


def draw(items: Iterable[Item], folder: Path) -> list[Path]:
    """Draw each series as ``<name>.png`` and each shaded map as ``map-<number>.png`` into a folder.

    Gives the files in the order of the view. Raises `UsageError` if the folder cannot be written.
    """
    drawn: list[Path] = []
    maps = 0
    for item in items:
        if isinstance(item, Series):
            figure, path = _series(item), folder / f"{item.name}.png"
        elif isinstance(item, Map) and item.scale is not None:
            maps += 1
            figure, path = _map(item, item.scale), folder / f"map-{maps}.png"
        else:
            continue
        try:
            figure.savefig(path, dpi=120)
        except OSError as error:
            raise UsageError(f"cannot draw into {folder}: {error.strerror or error}") from None
        drawn.append(path)
    return drawn


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    return figure, figure.subplots()


def _series(one: Series) -> Any:
    figure, axes = _figure()
    axes.set(title=one.title, xlabel=one.x.label, ylabel=one.y.label)
    axes.grid(True, which="major", alpha=0.3)
    groups = list(dict.fromkeys(_group(curve) for curve in one.curves))
    named: set[str] = set()
    for curve in one.curves:
        # Fitted and native curves have the colour of what was measured and one entry of the legend for all.
        label = curve.name if curve.name not in named else None
        named.add(curve.name)
        _curve(axes, curve, one.x, one.y, f"C{groups.index(_group(curve)) % 10}", label)
    axes.set(xscale="log" if one.x.log else "linear", yscale="log" if one.y.log else "linear")
    if 1 < len(named) <= _MOST_NAMED:
        axes.legend()
    return figure


def _group(curve: Curve) -> Any:
    return curve.name if curve.group is None else curve.group


def _curve(axes: Any, curve: Curve, x_axis: Axis, y_axis: Axis, colour: str, label: str | None) -> None:
    y = [value * y_axis.factor for value in curve.y]
    if curve.style == "bars":
        axes.barh(list(curve.x), y, color=colour)
        axes.invert_yaxis()
        axes.set(xlabel=y_axis.label, ylabel=x_axis.label)
        return
    x = [value * x_axis.factor for value in curve.x]
    if any(curve.interval):
        ends = [pair or (value, value) for pair, value in zip(curve.interval, curve.y, strict=True)]
        below = [value - low * y_axis.factor for value, (low, _) in zip(y, ends, strict=True)]
        above = [high * y_axis.factor - value for value, (_, high) in zip(y, ends, strict=True)]
        axes.errorbar(x, y, yerr=(below, above), fmt="o", color=colour, ms=4, capsize=2, label=label)
    else:
        axes.plot(x, y, _STYLES[curve.style], color=colour, ms=4, lw=1, label=label)


def _map(one: Map, scale: Axis) -> Any:
    figure, axes = _figure()
    nothing = float("nan")
    image = axes.imshow([[nothing if value is None else scale.factor * value for value in row] for row in one.values])
    axes.set(title=one.title)
    axes.set_xticks(range(len(one.columns)), one.columns, rotation=90 if len(one.columns) > 12 else 0)
    axes.set_yticks(range(len(one.rows)), one.rows)
    figure.colorbar(image, label=scale.label)
    return figure
