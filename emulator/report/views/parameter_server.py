"""Parameter server: the price of a push and pull, a training, rules under a straggler, and moved keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Item, Row, Series, Table, Text
from emulator.report.views import common
from emulator.units import format_time

_BAR, _MOST_BARS = 40, 12  # characters of the longest bar of a histogram, and its bars


def view(result: common.Result) -> Iterator[Item]:
    """Times beside the closed form, the training with its checks, all rules for the same time, placement."""
    if result.get("formula"):
        yield result["formula"]
        yield from _prices(result["measurements"])
        yield from common.formula_errors(result)
    if result.get("training"):
        yield from _training(result["training"])
    if result.get("no_trade"):
        yield result["no_trade"]
    if result.get("trade"):
        slow = ", ".join(f"rank {one['rank']} x{one['factor']:g}" for one in result["traded"]["slow"])
        title = f"Same time for every rule: {format_time(result['traded']['seconds'])}, {slow}"
        yield Table.of(title, _TRADE, result["trade"])
    moved = result.get("moved")
    if moved:
        more = result["servers"] + 1
        shares = ", ".join(f"{kind} {share:.1%}" for kind, share in moved.items())
        yield f"keys of 10^6 that move when server {more} joins: {shares} (fair share {1 / more:.1%})"
    yield from common.plots(result)


def _prices(rows: list[Row]) -> Iterator[Table]:
    alone = {row["bytes"]: row["seconds"]["median"] for row in reversed(rows) if row["workers"] == 1}

    def incast(row: Row) -> float | None:
        return row["seconds"]["median"] / alone[row["bytes"]] if row["bytes"] in alone else None

    columns = [
        common.RANKS,
        common.SIZE,
        Column("step", "seconds.median", formats.time),
        Column("predicted", form=formats.time, priority=1),
        Column("error", common.error, formats.off),
        Column("against 1 worker", incast, formats.or_dash("{:.2f} x".format), priority=2),
        Column("server port", "busbw", formats.rate, priority=3),
        Column("bytes/step", "worker_bytes_per_step", formats.fixed(".0f"), priority=4),
        common.WRONG,
    ]
    yield Table.of(f"Synchronous push and pull, {rows[0]['servers']} server(s)", columns, rows)


def _training(one: Row) -> Iterator[Item]:
    yield Text(
        f"{one['workers']} workers, {one['steps']} steps in {format_time(one['seconds'])} "
        f"({one['steps_per_second']:.0f} steps/s, {one['waiting']:.0%} of it waiting), "
        f"{one['bytes_per_step']:.0f} bytes per worker and step",
        lead=f"Training, {one['consistency']}: ",
    )
    columns = [Column("at", form=format_time), Column("step"), Column("loss", form=formats.fixed(".4f"))]
    yield Table("", columns, one["loss"])
    final, reference = one["final_loss"], one["one_process_loss"]
    yield f"final loss {final:.4f} (one process {reference:.4f}), accuracy {one['accuracy']:.1%}"
    title = "observed staleness (iterations behind the reader, share of the reads)"
    yield histogram(title, {int(value): count for value, count in one["staleness"].items()})
    check = one["check"]
    if "wrong" in check:
        yield f"check: {check['wrong']} of {check['weights']} weights differ from the one-process run (bit for bit)"
    else:
        limit = f"{check['factor']} x {reference:.4f} + {check['slack']} = {check['limit']:.4f}"
        yield f"check: final loss {final:.4f} <= {limit}"
    curve = Curve.line("loss", one["loss"], 0, 2)
    title = f"Training, {one['consistency']}"
    yield Series("training", title, Axis("time", "ms", 1e3), Axis("loss", log=True), [curve])


def histogram(title: str, counts: Mapping[int, int]) -> Table:
    """A bar for each value, or for each range of values where there are many."""
    width = -(-(max(counts, default=0) + 1) // _MOST_BARS)
    bins: Counter[int] = Counter()
    for value, count in counts.items():
        bins[value // width] += count
    peak, total = max(bins.values(), default=1), max(1, sum(bins.values()))
    rows = []
    for index in range(max(bins, default=-1) + 1):
        first, last = index * width, (index + 1) * width - 1
        name = f"{first}" if first == last else f"{first}-{last}"
        rows.append([name, "#" * round(_BAR * bins[index] / peak), bins[index] / total])
    columns = [Column("iterations"), Column("", left=True), Column("reads", form=formats.fixed(".1%"))]
    return Table(title, columns, rows)


_TRADE = [
    Column("rule", left=True),
    Column("steps/s", "steps_per_second", formats.fixed(".0f")),
    Column("straggler's", "straggler_share", formats.fixed(".1%"), priority=2),
    Column("waiting", form=formats.fixed(".0%")),
    Column("bytes/step", "bytes_per_step", formats.fixed(".0f"), priority=3),
    Column("staleness mean", "staleness_mean", formats.fixed(".2f"), priority=1),
    Column("max", "staleness_max"),
    Column("loss", form=formats.fixed(".4f")),
]
