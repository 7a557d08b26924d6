"""A program in many message orders: how it ended, how often, and how to repeat that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emulator.report import formats
from emulator.report.model import Column, Item, Table, Text, Verdict

_SHOWN, _WIDTH = 8, 54  # kinds of endings on one screen; characters of one


def finding(result: Mapping[str, Any]) -> str:
    """A sentence on how many orders failed, and how many different outputs the others had."""
    return f"The program was run in {_total(result):,} orders of its messages: {_summary(result)}."


def view(result: Mapping[str, Any]) -> Iterator[Item]:
    """Endings, failures first.

    ``endings`` is ``[{"text", "failed", "times", "first"}]``, `first` the first seed that led there.
    """
    total, rows = _total(result), result["endings"]
    orders = f"{total:,} orders of the messages"
    if total < result["asked"]:
        orders = f"{total:,} of {result['asked']:,} orders of the messages: --budget or Ctrl-C ended the search"
    columns = [
        Column("how it ended", lambda row: _short(row["text"]), left=True),
        Column("orders", "times", formats.count),
        Column("share", lambda row: row["times"] / total, formats.percent),
        Column("seed", "first"),
    ]
    yield Table.of(orders, columns, rows,
                   tones=["bad" if row["failed"] else "" for row in rows],
                   key=range(min(len(rows), _SHOWN)))  # fmt: skip
    yield Verdict(not rows[0]["failed"], _summary(result))
    if rows[0]["failed"] and _short(rows[0]["text"]) != rows[0]["text"]:
        yield rows[0]["text"]
    if rows[0]["failed"] or len(rows) > 1:
        one = rows[0] if rows[0]["failed"] else rows[-1]
        yield "again, with its output:"
        yield Text(f"python -m emulator run {result['again']} --shuffle {one['first']} {result['program']}", "command")


def _short(text: str) -> str:
    first = text.partition("\n")[0].rstrip(":")
    return first if len(first) <= _WIDTH else first[: _WIDTH - 3] + "..."


def _total(result: Mapping[str, Any]) -> int:
    return sum(row["times"] for row in result["endings"])


def _summary(result: Mapping[str, Any]) -> str:
    failed = sum(row["times"] for row in result["endings"] if row["failed"])
    outputs = sum(not row["failed"] for row in result["endings"])
    told = f"{failed:,} of {_total(result):,} failed"
    return told if outputs < 2 else f"{told}, the others printed {outputs} different outputs"
