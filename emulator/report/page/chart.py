"""A series as an SVG chart: axes, curves with intervals, marks; `emulator.report.page.bars` draws bars.

Colours are classes (``s0`` ... ``s7``) that the page's style sheet defines for light and dark; each also has a shape
of its own. A point carries what its tooltip says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from emulator.report.model import Axis, Curve, Mark, Series
from emulator.report.page.scales import LETTER, Scale, fitted, labels

WIDTH, HEIGHT = 480, 330
COLOURS, KEYS = 8, 16  # a second round of the colours is drawn dashed and hollow
_TOP, _RIGHT, _BOTTOM = 12, 16, 46
_LETTER = 7.8  # width of a letter of a mark's text
_MOST_TIPS = 64  # points of a line that answer to the pointer


def draw(one: Series, scales: tuple[Scale, Scale] | None = None, attributes: str = "") -> str:
    """Draw the chart of a series without bars, on the given scales, if any."""
    wide, high = scales or scales_of(one)
    body = [*regions(one.marks, wide), *axes(wide, high, wide.start), *lines(one.marks, wide)]
    colours = colours_of(one.curves)
    for number, curve in enumerate(one.curves):
        drawn = _curve(curve, one, wide, high, colours[number])
        body.append(f'<g class="curve {key(colours[number])}" data-curve="{number}">{drawn}</g>')
    return svg(one.title, body, attributes=attributes)


def scales_of(one: Series) -> tuple[Scale, Scale]:
    """Scales of both axes that hold every point and interval; marks do not extend them."""
    high = upright(fitted(one.y, [value for curve in one.curves for value in _reach(curve)], 1.0, 0.0))
    values = [x for curve in one.curves for x in curve.x]
    return fitted(one.x, values, left_of(high), WIDTH - _RIGHT), high


def upright(scale: Scale) -> Scale:
    """The scale with the positions of the y axis."""
    return Scale(scale.axis, scale.low, scale.high, HEIGHT - _BOTTOM, _TOP)


def left_of(high: Scale) -> float:
    """Where the x axis begins: to the right of the y axis' labels."""
    return 28 + LETTER * max(len(text) for _, text in high.ticks())


def svg(title: str, body: Sequence[str], height: float = HEIGHT, attributes: str = "") -> str:
    """An SVG element that can receive keyboard focus."""
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" tabindex="0" aria-label="{escape(title)}"'
        f"{attributes}>{''.join(body)}</svg>"
    )


def colours_of(curves: Sequence[Curve]) -> list[int]:
    """The colour number of each curve: curves of one group share it."""
    groups = list(dict.fromkeys(group_of(curve) for curve in curves))
    return [groups.index(group_of(curve)) % KEYS for curve in curves]


def key(number: int) -> str:
    """The CSS classes of a curve of that colour."""
    return f"s{number % COLOURS}" + " again" * (number >= COLOURS)


def group_of(curve: Curve) -> object:
    """The group of a curve, which has one colour."""
    return curve.name if curve.group is None else curve.group


def axes(wide: Scale, high: Scale, left: float) -> Iterator[str]:
    """Grid, ticks and names of both axes."""
    bottom = HEIGHT - _BOTTOM
    for y, text in labels(high, upright=True):
        yield f'<path class="grid" d="M{left:g} {y}H{WIDTH - _RIGHT}"/>'
        yield f'<text class="tick" x="{left - 6:g}" y="{y + 4:g}" text-anchor="end">{escape(text)}</text>'
    yield from across(wide, _TOP, bottom)
    yield f'<path class="axis" d="M{left:g} {_TOP}V{bottom}H{WIDTH - _RIGHT}"/>'
    yield from names(wide.axis, high.axis, left, bottom)


def across(wide: Scale, top: float, bottom: float) -> Iterator[str]:
    """Grid and ticks of the x axis; a text that would exceed the chart ends at its edge."""
    for x, text in labels(wide):
        yield f'<path class="grid" d="M{x} {top:g}V{bottom:g}"/>'
        place, anchor = (WIDTH - 1, "end") if x + LETTER * len(text) / 2 > WIDTH else (x, "middle")
        yield f'<text class="tick" x="{place}" y="{bottom + 17:g}" text-anchor="{anchor}">{escape(text)}</text>'


def names(wide: Axis, high: Axis, left: float, bottom: float) -> Iterator[str]:
    """The names of the axes: below, and vertically at the left."""
    middle = (left + WIDTH - _RIGHT) / 2
    yield f'<text class="name" x="{middle:g}" y="{bottom + 38:g}" text-anchor="middle">{escape(wide.label)}</text>'
    yield (
        f'<text class="name" transform="translate(13 {(_TOP + bottom) / 2:g}) rotate(-90)" text-anchor="middle">'
        f"{escape(high.label)}</text>"
    )


def regions(marks: Sequence[Mark], wide: Scale) -> Iterator[str]:
    """Shaded regions of the x axis, with their labels."""
    for mark in marks:
        if mark.to is not None:
            x, end = wide(mark.at), wide(mark.to)
            size = f'width="{max(0.0, end - x):g}" height="{HEIGHT - _BOTTOM - _TOP}"'
            yield f'<rect class="region" x="{x}" y="{_TOP}" {size}/>'
            y = (_TOP + HEIGHT - _BOTTOM) / 2  # a speedup falls there below, and p without communication rises above
            yield f'<text class="note" x="{end - 6:g}" y="{y}" text-anchor="end">{escape(mark.text)}</text>'


def lines(marks: Sequence[Mark], wide: Scale) -> Iterator[str]:
    """Vertical lines at positions on the x axis, with their labels."""
    for number, mark in enumerate(one for one in marks if one.to is None):
        x = wide(mark.at)
        y = _TOP + 14 + 15 * (number % 3)
        anchor, aside = ("end", -5) if x > 0.6 * WIDTH else ("start", 5)
        yield f'<path class="mark" d="M{x} {_TOP}V{HEIGHT - _BOTTOM}"/>'
        yield f'<text class="note" x="{x + aside:g}" y="{y}" text-anchor="{anchor}">{escape(mark.text)}</text>'


def _reach(curve: Curve) -> Iterator[float]:
    yield from (value for value in curve.y if value is not None)
    yield from (end for pair in curve.interval if pair for end in pair)


def _points(curve: Curve, one: Series) -> list[tuple[int, float, float]]:
    """The points that can be drawn on the axes: index and both values."""
    return [
        (index, x, y)
        for index, (x, y) in enumerate(zip(curve.x, curve.y, strict=True))
        if x is not None and y is not None and not (one.x.log and x <= 0) and not (one.y.log and y <= 0)
    ]


def _curve(curve: Curve, one: Series, wide: Scale, high: Scale, colour: int) -> str:
    points = _points(curve, one)
    places = [(wide(x), high(y)) for _, x, y in points]
    if curve.style == "band":
        return f'<path class="band" d="{_outline(curve, wide, high)}"/>'
    parts = []
    if curve.style in ("line", "joined", "dotted") and places:
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
        parts.append(f'<path class="{"line" if curve.style == "joined" else curve.style}" d="{path}"/>')
    whiskers = []
    solid = curve.style in ("points", "joined")
    every = 1 if solid else max(1, -(-len(points) // _MOST_TIPS))
    kind = "pt" if solid else "pt ghost"
    for (index, x, y), (place, at) in zip(points, places, strict=True):
        pair = curve.interval[index] if curve.interval else None
        if pair:
            whiskers.append(f"M{place:g} {high(pair[0]):g}V{high(pair[1]):g}m-3 0h6M{place - 3:g} {high(pair[0]):g}h6")
        if index % every == 0:
            tip = escape(_tip(curve, one, x, y, pair))
            parts.append(f'<use class="{kind}" href="#m{colour % COLOURS}" x="{place:g}" y="{at:g}" data-tip="{tip}"/>')
    if whiskers:
        parts.insert(0, f'<path class="whisker" d="{"".join(whiskers)}"/>')
    return "".join(parts)


def _outline(curve: Curve, wide: Scale, high: Scale) -> str:
    """The intervals of a curve as one closed path: along the low ends and back along the high ones."""
    ends = [(wide(x), high(pair[0]), high(pair[1])) for x, pair in zip(curve.x, curve.interval, strict=True) if pair]
    path = [f"{x:g} {low:g}" for x, low, _ in ends] + [f"{x:g} {top:g}" for x, _, top in reversed(ends)]
    return f"M{'L'.join(path)}Z" if path else ""


def _tip(curve: Curve, one: Series, x: float, y: float, pair: Sequence[float] | None) -> str:
    at = f"{one.x.name} {one.x.write(x)}{_unit(one.x)}".strip()
    said = f"{curve.name}: {at}, {one.y.name} {one.y.write(y)}{_unit(one.y)}"
    return said + (f", 95 % [{one.y.write(pair[0])}, {one.y.write(pair[1])}]" if pair else "")


def _unit(axis: Axis) -> str:
    return "" if axis.form is not None or not axis.unit else f" {axis.unit}"
