"""Whether a view can be read at any width: no value is cut, and no column vanishes without a word."""

from __future__ import annotations

import re
from collections.abc import Sequence

from emulator.report import terminal
from emulator.report.model import Detail, Item, Map, Table

_NOTE = re.compile(r"(\d+ of \d+ rows)?(, )?(without the columns? (?P<columns>.*))? \(--full( or COLUMNS=\d+)?\)")
WIDTHS = (60, 80, 100, 200)


def text_of(items: Sequence[Item], width: int, full: bool = False) -> list[str]:
    """The lines that a terminal of this width shows, before paragraphs are wrapped."""
    return ["".join(text for text, _ in line) for line in terminal.lines(items, width, full)]


def fits_every_width(items: Sequence[Item], widths: Sequence[int] = WIDTHS) -> None:
    """Check all tables and maps of a view."""
    for shown in items:
        item = shown.item if isinstance(shown, Detail) else shown
        for width in widths if isinstance(item, Table | Map) else ():
            for full in (False, True):
                fits(item, width, full)


def fits(item: Table | Map, width: int, full: bool) -> None:
    """Check one table or map: its lines fit, and hold every value of every column that is not named as left out."""
    first, *lines = text_of([item], width, full)
    if not item.title:
        lines = [first, *lines]
    notes = [line for line in lines if _NOTE.fullmatch(line)]
    assert len(notes) <= (0 if full or isinstance(item, Map) else 1), lines
    left_out = re.findall(r'"([^"]+)"', _NOTE.fullmatch(notes[0])["columns"] or "") if notes else []
    said = set(item.notes) if isinstance(item, Table) else set()
    shown = [line for line in lines if line not in notes and line not in said]
    rows = _rows(item)
    if isinstance(item, Table) and item.key is not None and not full:
        rows = [rows[number] for number in item.key]
        assert len(rows) == len(item.rows) or notes[0].startswith(f"{len(rows)} of {len(item.rows)} rows")
    cells = [(" ".join(column.heading.split()), column.form(row[i])) for row in rows for i, column in _columns(item)]
    words = [word for _, column in _columns(item) for word in column.heading.split()]
    widest = max(map(len, [*(text for _, text in cells), *words]), default=0)
    assert all(len(line) <= max(width, widest + 4) for line in shown), (width, shown)
    whole = "\n".join(shown)
    for heading, text in cells:
        assert text in whole or heading in left_out, (width, heading, text, shown)
    for _, column in _columns(item):
        words = column.heading.split()
        assert all(word in whole for word in words) or " ".join(words) in left_out, (width, column.name)


def _columns(item: Table | Map):
    from emulator.report.model import Column

    if isinstance(item, Table):
        return list(enumerate(item.columns))
    form = lambda value: "" if value is None else item.form(value)  # noqa: E731
    return list(enumerate(Column(name, form=form) for name in item.columns))


def _rows(item: Table | Map):
    return item.rows if isinstance(item, Table) else item.values
