"""Scatter-gather: transfers with the closed form, word counts, uneven tasks, and searches with a straggler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emulator.report import formats
from emulator.report.model import Column, Detail, Item, Table, Text
from emulator.report.views import charts, common
from emulator.units import format_time

_MOST_SHARDS = 6  # named


def finding(result: common.Result) -> str | None:
    """A sentence on the fastest distribution of uneven tasks and the fastest full search; None without either."""
    uneven = {way: one for way, one in (result.get("uneven") or {}).items() if one["seconds"] is not None}
    told = []
    if uneven:
        way, best = min(uneven.items(), key=lambda item: float(item[1]["seconds"]))
        told.append(f"uneven tasks are done first by {way}, after {format_time(best['seconds'])}")
    ways = (result.get("search") or {}).get("ways") or []
    full = [one for one in ways if one["coverage"] == 1.0]
    if full:
        best = min(full, key=lambda one: float(one["seconds"]))
        told.append(
            f"of the searches that every shard answers the quickest is '{best['name']}', {format_time(best['seconds'])}"
        )
    return "; ".join(told).capitalize() + "." if told else None


def view(result: common.Result) -> Iterator[Item]:
    """The four parts, one after another."""
    if result.get("formula"):
        rows = result["measurements"]
        title = f"Scatter and gather of n bytes at the root ({result['formula']})"
        yield Table.of(title, _TIMES, rows, key=common.largest(rows))
        yield from common.formula_errors(result, "scatters and gathers")
    words = result.get("word_count")
    if words:
        yield Text(
            f"{words['words']} words, {words['different']} different, of {words['documents']} documentation strings in "
            f"{format_time(words['seconds'])}; {words['wrong']} differ from one process",
            lead="Word count: ",
        )
        yield Detail(f"  most frequent: {', '.join(f'{word} {count}' for word, count in words['common'])}")
    uneven = result.get("uneven")
    if uneven:
        tasks = result["tasks"]
        title = f"{tasks['count']} uneven tasks, {format_time(tasks['seconds'])} of work"
        note = "balance: the time of perfectly even work without messages, as a share of the time"
        yield Table.of(title, _UNEVEN, [{"way": way, **one} for way, one in uneven.items()], notes=[note])
    search = result.get("search")
    if search:
        found = Column(f"recall of {search['best']}", "recall", formats.fixed(".0%"))
        title = f"Search of {search['shards']} shards for {search['question']!r}"
        yield Table.of(title, [*_SEARCH, found], search["ways"])
        yield Detail(f"  best: {', '.join(name for _, name in search['hits'][:3])}")
        yield from common.formula_errors(result, "searches")
    yield from charts.plots(result)


def _some(shards: Sequence[int]) -> str:
    more = f" and {len(shards) - _MOST_SHARDS} more" if len(shards) > _MOST_SHARDS else ""
    return ", ".join(map(str, shards[:_MOST_SHARDS])) + more or "none"


_TIMES = [Column("", "pattern", left=True), common.RANKS, common.SIZE, *common.MICROSECONDS, common.WRONG]

_UNEVEN = [
    Column("handed out", "way", left=True),
    Column("workers"),
    Column("time", "seconds", lambda seconds: "needs --pace" if seconds is None else format_time(seconds)),
    Column("balance", form=formats.fixed(".0%")),
]

_SEARCH = [
    Column("", "name", left=True),
    Column("time", "seconds", formats.time),
    Column("predicted", form=formats.time, priority=1),
    Column("answered", "coverage", formats.fixed(".0%")),
    Column("missing shards", "missing", _some, priority=2),
    Column("asked again", "backups", priority=3),
]
