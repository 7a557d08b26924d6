"""A shaded map as an SVG: a square for each pair, darker where the value is greater."""

from __future__ import annotations

from html import escape

from emulator.report.model import Axis, Map
from emulator.report.page.chart import WIDTH, svg

_LETTER, _TOP = 8.4, 40
_ROUNDING = 1e-9  # values of a map that differ by less, as a share of the greatest, have one shade
_ONLY_SHADE = 0.5  # the lightest would look like a pair that was not measured


def draw(one: Map, scale: Axis) -> str:
    """Draw the map with a legend of its least and greatest value, or of its single value."""
    left = 14 + _LETTER * max([len(name) for name in one.rows] + [len(one.corner)])
    side = min(40.0, (WIDTH - left - 6) / max(1, len(one.columns)))
    known = [value for row in one.values for value in row if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    differ = high - low > _ROUNDING * abs(high)
    body = []
    every = max(1, round(10 / side + 0.4))
    for index, name in enumerate(one.columns):
        if index % every == 0:
            x = left + side * (index + 0.5)
            turned = f' transform="rotate(-60 {x:g} {_TOP - 6})"' if len(name) * _LETTER > side * every else ""
            anchor = "start" if turned else "middle"
            body.append(
                f'<text class="tick" x="{x:g}" y="{_TOP - 6}" text-anchor="{anchor}"{turned}>{escape(name)}</text>'
            )
    for row, name in enumerate(one.rows):
        y = _TOP + side * row
        if row % every == 0:
            body.append(
                f'<text class="tick" x="{left - 6:g}" y="{y + side / 2 + 4:g}" text-anchor="end">{escape(name)}</text>'
            )
        for column, value in enumerate(one.values[row]):
            if value is None:
                continue
            share = (value - low) / (high - low) if differ else _ONLY_SHADE
            tip = escape(f"{name} to {one.columns[column]}: {one.form(value)}")
            body.append(
                f'<rect class="pt cell" x="{left + side * column:.4g}" y="{y:.4g}" width="{side - 1:.3g}" '
                f'height="{side - 1:.3g}" style="--q:{share:.3f}" data-tip="{tip}"/>'
            )
    bottom = _TOP + side * len(one.rows) + 14
    text = escape(f"{scale.name} {scale.write(low)}")
    body.append(f'<text class="name" x="{left:g}" y="{bottom + 11:g}">{text}</text>')
    start = left + 12 + _LETTER * len(text)
    shades = [shade / 4 for shade in range(5)] if differ else [_ONLY_SHADE]
    for place, share in enumerate(shades):
        body.append(f'<rect class="cell" x="{start + 22 * place:g}" y="{bottom:g}" width="21" height="13" '
                    f'style="--q:{share:g}"/>')  # fmt: skip
    if differ:
        body.append(f'<text class="name" x="{start + 118:g}" y="{bottom + 11:g}">{escape(scale.write(high))}</text>')
    return svg(one.title, body, bottom + 24)
