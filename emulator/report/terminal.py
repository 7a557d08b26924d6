"""Shows a view on a terminal or in a pipe with rich: every table as wide as there is room for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from emulator.report import layout
from emulator.report.model import Detail, Drawing, Item, Map, Scenario, Series, Table, Text, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text as Styled

_STYLES = {
    "good": "green", "bad": "bold red", "warning": "yellow", "dim": "dim", "head": "bold",
    **dict(zip(layout.SHADES, ("green", "chartreuse4", "yellow4", "dark_orange3", "red3"), strict=True)),
}  # fmt: skip
_WIDEST_NAME = 13  # of a verdict in a list; longer names push what follows to the right


def show(items: Iterable[Item], console: Console, full: bool = False, skip: int = 0) -> int:
    """Print a view, or a part of it, without its first `skip` lines; returns the number of its lines.

    Tables are fitted into the width of the console. With `full` there are details, and all rows and columns of tables:
    rows that are too wide go on in further lines.
    """
    number = 0
    for number, line in enumerate(styled(items, console.width, full), start=1):
        if number > skip:
            _print(line, console)
    return number


def _print(line: Styled, console: Console) -> None:
    """Print a line, wrapped between words: no word, such as a path, is broken, and no blank ends a line."""
    for paragraph in line.split("\n"):
        for part in paragraph.divide([] if line.no_wrap else _breaks(paragraph.plain, console.width)):
            part.rstrip()
            console.print(part, soft_wrap=True)


def _breaks(text: str, width: int) -> Iterator[int]:
    """The positions of line breaks; rich itself would break a word wider than the line."""
    start = 0
    for word in re.finditer(r"\S+", text):
        if word.end() - start > width and text[start : word.start()].strip():
            start = word.start()
            yield start


def styled(items: Iterable[Item], width: int, full: bool = False) -> Iterator[Styled]:
    """The lines of a view for rich."""
    return map(_styled, lines(items, width, full))


def lines(items: Iterable[Item], width: int, full: bool = False) -> Iterator[layout.Line]:
    """The lines of a view; an empty line stands around tables and maps, and before a group of led paragraphs."""
    blank, below = True, False  # whether the last line was empty; whether a table ended with it
    led = False  # whether a paragraph with a lead ended with it
    for shown in items:
        if isinstance(shown, Series | Scenario | Drawing) or (isinstance(shown, Detail) and not full):
            continue
        item = shown.item if isinstance(shown, Detail) else shown
        apart = isinstance(item, Table | Map)
        leads = isinstance(item, Text) and bool(item.lead)
        begins = isinstance(item, Text) and bool(item.lead) and not (led and item.text)
        if (apart or below or begins) and not blank:
            yield []
        for line in _lines(item, width, full):
            yield line
            blank = not line
        below, led = apart, leads


def _lines(item: Item, width: int, full: bool) -> Iterator[layout.Line]:
    if isinstance(item, Table):
        yield from layout.table(item, width, full)
    elif isinstance(item, Map):
        yield from layout.blocks(item, width)
    elif isinstance(item, Verdict):
        yield _verdict(item)
    elif isinstance(item, Text):
        yield [(item.lead, "head"), (item.text, item.tone)] if item.lead else [(item.text, item.tone)]
    elif isinstance(item, str):
        yield [(item, "")] if item else []


def _verdict(one: Verdict) -> layout.Line:
    if one.name:
        mark = ("ok    ", "good") if one.passed else ("FAILED", "bad")
        return [("  ", ""), mark, (f" {one.name:{_WIDEST_NAME}} {one.text}", "")]
    return [(f"{one.text}: ", ""), ("PASS", "good") if one.passed else ("FAIL", "bad")]


def _styled(line: layout.Line) -> Styled:
    from rich.text import Text as Styled

    styled = Styled(no_wrap=any(tone == "command" for _, tone in line))
    for text, tone in line:
        styled.append(text, _STYLES.get(tone))
    return styled
