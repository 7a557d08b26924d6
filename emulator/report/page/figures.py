"""The figures of a view: each chart with its legend, and its data as a table."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from emulator.report.model import Axis, Column, Curve, Drawing, Item, Map, Scenario, Series, Table, spread
from emulator.report.page import bars, chart, heat

_MOST_NAMED = 14  # curves in a legend
_MOST_ROWS, _WIDEST_MAP, _MOST_POINTS = 400, 32, 200  # of a table, a map, a curve: a page stays below 1 MB


@dataclass(frozen=True)
class Key:
    """A legend's entry: a name, its colour, and its curves."""

    name: str
    colour: int
    curves: list[int]
    style: str


@dataclass(frozen=True)
class Figure:
    """A picture with its legend and data."""

    title: str
    svg: str
    about: str = ""
    legend: Sequence[Key] = ()
    table: Table | None = None
    wide: bool = False
    scenario: Scenario | None = field(default=None)


def figures(items: Iterable[Item]) -> Iterator[Figure]:
    """Make a figure for each item of a view that can be drawn."""
    for item in items:
        if isinstance(item, Series):
            if any(len(curve.x) for curve in item.curves):
                yield _series(item)
        elif isinstance(item, Map) and item.scale is not None:
            yield _map(item, item.scale)
        elif isinstance(item, Scenario):
            yield _scenario(item)
        elif isinstance(item, Drawing):
            yield Figure(item.title, _apart(item), item.about, wide=True)


def bounded(table: Table) -> Table:
    """The table, or its first rows and a note with their total number."""
    if len(table.rows) <= _MOST_ROWS:
        return table
    note = f"the first {_MOST_ROWS} of {len(table.rows):,} rows; result.json has all"
    return replace(
        table, rows=table.rows[:_MOST_ROWS], tones=table.tones[:_MOST_ROWS], notes=[*table.notes, note], key=None
    )


def _map(one: Map, scale: Axis) -> Figure:
    """The map; with more than `_WIDEST_MAP` rows or columns, the medians of square blocks."""
    side = -(-max(len(one.rows), len(one.columns)) // _WIDEST_MAP)
    about = ""
    if side > 1:
        about = f"Each square is the median of {side} x {side} pairs; result.json has each of them."
        blocks = range(0, len(one.rows), side), range(0, len(one.columns), side)
        rows, columns = ([_ends(names[at : at + side]) for at in of]
                         for names, of in zip((one.rows, one.columns), blocks, strict=True))  # fmt: skip
        values = [[_median(one, down, across, side) for across in blocks[1]] for down in blocks[0]]
        one = replace(one, rows=rows, columns=columns, values=values)
    return Figure(one.title, heat.draw(one, scale), about, table=_of_map(one))


def _ends(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _median(one: Map, down: int, across: int, side: int) -> float | None:
    """The median of a block's values; None for an empty block."""
    rows = (row[across : across + side] for row in one.values[down : down + side])
    known = sorted(value for row in rows for value in row if value is not None)
    return known[len(known) // 2] if known else None


def _apart(one: Drawing) -> str:
    """Wrap the drawing as an image, so that its style sheet is its own, in a box that scrolls if it is too wide."""
    data = base64.b64encode(one.svg.encode()).decode()
    image = f'<img alt="{escape(one.title)}" src="data:image/svg+xml;base64,{data}">'
    return f'<div class="drawing" tabindex="0" role="region" aria-label="{escape(one.title)}">{image}</div>'


def _series(one: Series) -> Figure:
    barred, about = one.curves[0].style == "bars", one.about
    if not barred and any(len(curve.x) > _MOST_POINTS for curve in one.curves):
        about = f"{about} Of each curve {_MOST_POINTS} points are drawn at most; result.json has all.".strip()
    drawn = bars.draw(one) if barred else chart.draw(replace(one, curves=list(map(_thinned, one.curves))))
    keys = list(_legend(one.curves))
    named = keys if 1 < len(keys) <= _MOST_NAMED else []
    return Figure(one.title, drawn, about, named, bounded(_of_series(one)))


def _thinned(curve: Curve) -> Curve:
    """The curve with at most as many of its points as a chart shows."""
    kept = spread(len(curve.x), _MOST_POINTS)
    x, y = ([values[number] for number in kept] for values in (curve.x, curve.y))
    return replace(curve, x=x, y=y, interval=[curve.interval[number] for number in kept] if curve.interval else ())


def _legend(curves: Sequence[Curve]) -> Iterator[Key]:
    """The legend: curves of one name share an entry, grey if they have several colours."""
    colours = chart.colours_of(curves)
    of: dict[str, list[int]] = {}
    for number, curve in enumerate(curves):
        of.setdefault(curve.name, []).append(number)
    for name, numbers in of.items():
        colour = colours[numbers[0]] if len({colours[number] for number in numbers}) == 1 else -1
        yield Key(name, colour, numbers, curves[numbers[0]].style)


def _of_series(one: Series) -> Table:
    """The data of a series: a row for each x, a column for each curve, and one for its intervals."""
    rows: dict[Any, dict[int, tuple[Any, Any]]] = {}
    for number, curve in enumerate(one.curves):
        for index, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
            rows.setdefault(x, {})[number] = (y, curve.interval[index] if curve.interval else None)
    barred = one.curves[0].style == "bars"
    columns = [Column(one.x.name or "what", form=str if barred else _writer(one.x), unit=_unit(one.x), left=barred)]
    picked: list[tuple[int, int]] = []
    names = [curve.name for curve in one.curves]
    for number, curve in enumerate(one.curves):
        name = f"{curve.group} {curve.name}" if names.count(curve.name) > 1 else curve.name
        columns.append(Column(name, form=_writer(one.y), unit=_unit(one.y)))
        picked.append((number, 0))
        if any(curve.interval):
            columns.append(Column("95 %", form=_pair(one.y)))
            picked.append((number, 1))
    order = rows if barred else sorted(rows)
    return Table(
        "", columns, [[x, *(rows[x].get(number, (None, None))[part] for number, part in picked)] for x in order]
    )


def _of_map(one: Map) -> Table:
    columns = [Column(one.corner or "", left=True), *(Column(name, form=_or_blank(one.form)) for name in one.columns)]
    return Table("", columns, [[name, *values] for name, values in zip(one.rows, one.values, strict=True)])


def _scenario(one: Scenario) -> Figure:
    from emulator.report.page import scenarios

    return Figure(one.name, scenarios.draw(one), scenarios.about(one), table=scenarios.table(one), scenario=one)


def _writer(axis: Axis) -> Any:
    return _or_blank(axis.write)


def _or_blank(form: Any) -> Any:
    return lambda value: "" if value is None else form(value)


def _pair(axis: Axis) -> Any:
    return lambda pair: "" if pair is None else f"[{axis.write(pair[0])}, {axis.write(pair[1])}]"


def _unit(axis: Axis) -> str:
    return "" if axis.form else axis.unit
