"""Parameter server: the price of a push and pull, a training, rules under a straggler, and moved keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Detail, Item, Row, Series, Table, Text
from emulator.report.views import charts, common
from emulator.units import format_size, format_time

_BAR, _MOST_BARS = 40, 12  # characters of the longest bar of a histogram, and its bars


def finding(result: common.Result) -> str | None:
    """A sentence on the largest push and pull by the most workers, against one worker's; None without a formula."""
    rows = result["measurements"] if result.get("formula") else []
    if not rows:
        return None
    last = max(rows, key=lambda row: (row["bytes"], row["workers"]))
    took = last["seconds"]["median"]
    told = f"A push and pull of {format_size(last['bytes'])} by {last['workers']} workers takes {format_time(took)}"
    alone = [row for row in rows if (row["bytes"], row["workers"]) == (last["bytes"], 1)]
    if alone and last["workers"] > 1:
        told += f", {took / alone[0]['seconds']['median']:.1f} times as long as by one"
    if result.get("trade"):
        best = min(result["trade"], key=lambda row: float(row["loss"]))
        told += f"; in the same time {best['rule']} reaches the lowest loss, {best['loss']:.4f}"
    return told + "."


def view(result: common.Result) -> Iterator[Item]:
    """Times with the closed form, a training with its checks, all rules for the same time, placement."""
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
        yield f"keys that move when server {more} joins: {shares}"
        yield Detail(f"  of 10^6 keys, of which a fair share is {1 / more:.1%}")
    yield from _pictures(result)
    yield from charts.plots(result)


def _pictures(result: common.Result) -> Iterator[Series]:
    """Plots of bytes per step and staleness by rule, and of the staleness of reads in the training."""
    trade = result.get("trade") or []
    if trade:
        rules = [row["rule"] for row in trade]
        sent = Axis("bytes per worker and step", form=lambda count: f"{count:,.0f}")
        bars = [Curve("bytes", rules, [row["bytes_per_step"] for row in trade], style="bars")]
        yield Series("bytes-per-step", "Bytes per step of each rule", Axis("rule"), sent, bars)
        stale = [
            Curve(name, rules, [row[f"staleness_{name}"] for row in trade], style="bars") for name in ("mean", "max")
        ]
        yield Series("staleness", "Staleness of each rule", Axis("rule"), Axis("iterations"), stale)
    seen = (result.get("training") or {}).get("staleness") or {}
    if seen:
        total = sum(seen.values())
        counts = sorted((int(value), count) for value, count in seen.items())
        names, shares = [str(value) for value, _ in counts], [count / total for _, count in counts]
        bars = [Curve("reads", names, shares, style="bars")]
        share = Axis("share of the reads", "%", 100.0)
        yield Series("observed-staleness", "Staleness of reads in training", Axis("iterations behind"), share, bars)


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
    most = max(row["ranks"] for row in rows)
    key = [number for number, row in enumerate(rows) if row["ranks"] == most][-8:]
    yield Table.of(f"Synchronous push and pull, {rows[0]['servers']} server(s)", columns, rows, key=key)


def _training(one: Row) -> Iterator[Item]:
    yield Text(
        f"{one['workers']} workers, {one['steps']} steps in {format_time(one['seconds'])} "
        f"({one['steps_per_second']:.0f} steps/s, {one['waiting']:.0%} of it waiting), "
        f"{one['bytes_per_step']:.0f} bytes per worker and step",
        lead=f"Training, {one['consistency']}: ",
    )
    columns = [Column("at", form=format_time), Column("step"), Column("loss", form=formats.fixed(".4f"))]
    yield Detail(Table("", columns, one["loss"]))
    final, reference = one["final_loss"], one["one_process_loss"]
    yield f"final loss {final:.4f} (one process {reference:.4f}), accuracy {one['accuracy']:.1%}"
    title = "observed staleness (iterations behind the reader, share of the reads)"
    yield Detail(histogram(title, {int(value): count for value, count in one["staleness"].items()}))
    check = one["check"]
    if "wrong" in check:
        yield f"check: {check['wrong']} of {check['weights']} weights differ from the one-process run (bit for bit)"
    else:
        limit = f"{check['factor']} x {reference:.4f} + {check['slack']} = {check['limit']:.4f}"
        yield f"check: final loss {final:.4f} <= {limit}"
    curve = Curve.line("loss", one["loss"], 0, 2)
    title = f"Training, {one['consistency']}"
    yield Series("training", title, Axis.time("time", curve.x), Axis("loss", log=True), [curve])


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
