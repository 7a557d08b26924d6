"""A series of bars as an SVG chart: horizontal, side by side or stacked, as high as the names need."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from emulator.report.model import Series
from emulator.report.page.chart import WIDTH, across, colours_of, key, svg
from emulator.report.page.scales import Scale, fitted

_LETTER, _ROW, _GAP, _TOP, _BOTTOM = 8.0, 18, 10, 8, 44
_WIDEST_NAME = 29  # letters


def draw(one: Series) -> str:
    """Draw the chart; each bar is followed by its value, unless bars are stacked."""
    names = list(dict.fromkeys(str(x) for curve in one.curves for x in curve.x))
    values = [{str(x): y for x, y in zip(curve.x, curve.y, strict=True)} for curve in one.curves]
    ends = [sum(of.get(name) or 0.0 for of in values) for name in names] if one.stacked else [
        y or 0.0 for of in values for y in of.values()
    ]  # fmt: skip
    left = 12 + _LETTER * min(_WIDEST_NAME, max(map(len, names), default=0))
    scale = fitted(one.y, [0.0, *ends], left, WIDTH - (16 if one.stacked else 74), from_zero=True)
    rows = 1 if one.stacked else len(one.curves)
    slot = _ROW * rows + _GAP
    bottom = _TOP + slot * len(names)
    body = [*_grid(scale, left, bottom, one)]
    colours = colours_of(one.curves)
    for number in range(len(one.curves)):
        bars = "".join(_bars(one, number, names, values, scale, slot))
        body.append(f'<g class="curve {key(colours[number])}" data-curve="{number}">{bars}</g>')
    for row, name in enumerate(names):
        y = _TOP + slot * (row + 0.5) + 4
        short = name if len(name) <= _WIDEST_NAME else name[: _WIDEST_NAME - 1] + "…"
        body.append(f'<text class="tick" x="{left - 6:g}" y="{y:g}" text-anchor="end">{escape(short)}</text>')
    return svg(one.title, body, bottom + _BOTTOM)


def _grid(scale: Scale, left: float, bottom: float, one: Series) -> Iterator[str]:
    yield from across(scale, _TOP, bottom)
    yield f'<path class="axis" d="M{left:g} {_TOP}V{bottom:g}"/>'
    middle = (left + WIDTH) / 2
    yield f'<text class="name" x="{middle:g}" y="{bottom + 38:g}" text-anchor="middle">{escape(one.y.label)}</text>'


def _bars(
    one: Series, number: int, names: list[str], values: list[dict[str, float]], scale: Scale, slot: float
) -> Iterator[str]:
    zero = scale(0.0)
    for row, name in enumerate(names):
        value = values[number].get(name)
        if value is None:
            continue
        below = sum(of.get(name) or 0.0 for of in values[:number]) if one.stacked else 0.0
        start, end = (scale(below), scale(below + value)) if one.stacked else (zero, scale(value))
        y = _TOP + slot * row + _GAP / 2 + (0 if one.stacked else _ROW * number)
        said = one.y.write(value) + ("" if one.y.form or not one.y.unit else f" {one.y.unit}")
        tip = escape(f"{one.curves[number].name}: {name}, {said}")
        yield (
            f'<rect class="pt bar" x="{min(start, end):g}" y="{y + 1:g}" width="{max(0.5, abs(end - start)):g}" '
            f'height="{_ROW - 3}" data-tip="{tip}"/>'
        )
        if not one.stacked:
            yield f'<text class="value" x="{max(start, end) + 5:g}" y="{y + 12:g}">{escape(said)}</text>'
