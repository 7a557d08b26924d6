"""Lay out tables and maps as lines of a given width; no value is cut, and omitted columns are named.

A table that is too wide first breaks its headings, then leaves out columns by their priority (a line below names
them), and what still does not fit goes on in a second line of each row. A map that is too wide is shown in blocks of
columns, one below the other.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.report.model import Column, Map, Table

Span = tuple[str, str]
"""Text and its tone."""
Line = list[Span]

_GAP = 2  # spaces between two columns
_INDENT = 4  # of the further lines of a row
SHADES = ("shade0", "shade1", "shade2", "shade3", "shade4")
"""Tones of a shaded map, from the least value to the greatest."""


@dataclass
class _Laid:
    """A column with its cells as text."""

    heading: list[str]
    cells: list[Span]
    left: bool
    name: str = ""
    priority: int = 0

    @property
    def width(self) -> int:
        return max(map(len, [*self.heading, *(text for text, _ in self.cells)]), default=0)


def table(one: Table, width: int, full: bool = False) -> Iterator[Line]:
    """Lay out a table; `full`: omit no row and no column, but continue rows in further lines."""
    shown = range(len(one.rows)) if full or one.key is None else one.key
    if one.title:
        yield [(one.title, "head")]
    columns = [_laid(column, one, index, shown) for index, column in enumerate(one.columns)]
    needed = _total(columns)
    left_out: list[_Laid] = []
    if needed > width:
        columns = [_narrowed(column) for column in columns]
        for column in sorted(columns, key=lambda column: -column.priority) if not full else ():
            if _total(columns) > width and column.priority:
                columns.remove(column)
                left_out.append(column)
    yield from _lines(columns, width, len(shown))
    yield from ([(note, "dim")] for note in one.notes)
    fewer = f"{len(shown)} of {len(one.rows)} rows" if len(shown) < len(one.rows) else ""
    names = list(dict.fromkeys(column.name for column in sorted(left_out, key=lambda column: column.priority)))
    if fewer or names:
        quoted = ", ".join(f'"{" ".join(name.split())}"' for name in names)
        without = f"without the column{'s' * (len(names) > 1)} {quoted}" if names else ""
        text = ", ".join(part for part in (fewer, without) if part)
        yield [(f"{text} (--full{'' if fewer else f' or COLUMNS={needed}'})", "dim")]


def blocks(one: Map, width: int) -> Iterator[Line]:
    """Lay out a map in blocks of as many columns as fit."""
    yield [(one.title, "head")]
    low, high = _range(one)
    names = _Laid(one.corner.split("\n"), [(name, "") for name in one.rows], left=True)
    block = [names]
    for index, heading in enumerate(one.columns):
        cells = [_cell(one, row[index], low, high) for row in one.values]
        column = _Laid(heading.split("\n"), cells, left=False)
        if len(block) > 1 and _total([*block, column]) > width:
            yield from _lines(block, width, len(one.rows))
            yield []
            block = [names]
        block.append(column)
    yield from _lines(block, width, len(one.rows))


def _laid(column: Column, one: Table, index: int, shown: Sequence[int]) -> _Laid:
    cells = []
    for number in shown:
        value, tone = one.rows[number][index], one.tones[number] if one.tones else ""
        cells.append((column.form(value), tone or column.tone(value)))
    return _Laid(column.heading.split("\n"), cells, column.left, column.heading, column.priority)


def _narrowed(column: _Laid) -> _Laid:
    """The column with its heading broken into lines no wider than its cells or its longest word need."""
    words = " ".join(column.heading).split()
    room = max(map(len, [*words, *(text for text, _ in column.cells)]), default=0)
    heading = textwrap.wrap(" ".join(words), max(1, room), break_on_hyphens=False) or [""]
    return _Laid(heading, column.cells, column.left, column.name, column.priority)


def _total(columns: Sequence[_Laid]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _lines(columns: Sequence[_Laid], width: int, rows: int) -> Iterator[Line]:
    """Heading and rows; rows that do not fit continue in further lines."""
    parts: list[list[_Laid]] = [[]]
    for column in columns:
        room = width - (_INDENT if len(parts) > 1 else 0)
        if parts[-1] and _total([*parts[-1], column]) > room:
            parts.append([])
        parts[-1].append(column)
    for number, part in enumerate(parts):
        tall = max(len(column.heading) for column in part)
        if any(any(column.heading) for column in part):
            for line in range(tall):
                spans = [(_of_heading(column, line, tall), "head") for column in part]
                yield _joined(spans, part, number)
    for row in range(rows):
        for number, part in enumerate(parts):
            yield _joined([column.cells[row] for column in part], part, number)


def _of_heading(column: _Laid, line: int, tall: int) -> str:
    """A line of a heading, which is aligned to the bottom of its space."""
    above = tall - len(column.heading)
    return column.heading[line - above] if line >= above else ""


def _joined(spans: Sequence[Span], part: Sequence[_Laid], number: int) -> Line:
    line: Line = [(" " * _INDENT, "")] if number else []
    for (text, tone), column in zip(spans, part, strict=True):
        blank = " " * (column.width - len(text))
        if column is not part[0]:
            line.append((" " * _GAP, ""))
        line += [(text, tone), (blank, "")] if column.left else [(blank, ""), (text, tone)]
    while line and not line[-1][0].strip():
        line.pop()
    return line


def _range(one: Map) -> tuple[float, float]:
    if one.scale is None:
        return 0.0, 0.0
    known = [value for row in one.values for value in row if value is not None]
    return min(known, default=0.0), max(known, default=0.0)


def _cell(one: Map, value: Any, low: float, high: float) -> Span:
    if value is None:
        return (".", "") if one.scale else ("", "")
    if one.scale is None:
        return one.form(value), one.tone(value)
    share = (value - low) / (high - low) if high > 1.05 * low else 0.0
    return one.form(value), SHADES[min(len(SHADES) - 1, int(share * len(SHADES)))]
