"""Decentralised training: time, bytes and loss of each graph beside all-reduce."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Item, Row, Series, Table
from emulator.report.views import common

_SHOWN = 3  # losses in the table
_LOSS = formats.fixed(".4f")


def view(result: common.Result) -> Iterator[Item]:
    """The check of the all-reduced model, and a row for each way to average."""
    check, curves = result.get("check"), result.get("curves")
    if not check or not curves:
        return
    steps, when = check["steps"], result["common_loss"]
    yield f"all-reduce against one process: models differ by {check['apart']:.1e} after {steps} steps"

    def curve(row: Row) -> list[Row]:
        of: list[Row] = curves[row["pattern"].removeprefix("train ")]
        return of

    known = next(iter(curves.values()))
    looks = [at * len(known) // _SHOWN - 1 for at in range(1, _SHOWN + 1)]

    def loss(look: int) -> Column:
        priority = 4 * (look != looks[-1])
        return Column(f"loss at {known[look]['step']}", lambda row: curve(row)[look]["loss"], _LOSS, priority=priority)

    columns = [
        Column("averaging", lambda row: row["pattern"].removeprefix("train "), left=True),
        Column("time", lambda row: row["seconds"]["median"] * steps, formats.time),
        Column("formula", lambda row: row["predicted"] and row["predicted"] * steps, formats.time, priority=2),
        Column("off by", common.error, formats.off, priority=3),
        Column("KiB per rank and step", "bytes_per_rank", lambda n: f"{n / 1024:.1f}", priority=1),
        *map(loss, looks),
        Column("models apart", lambda row: curve(row)[-1]["apart"], formats.fixed(".1e"), priority=2),
        Column(f"loss {when['loss']:.2f} after", lambda row: when["seconds"][columns[0].value(row)], formats.time),
    ]
    rows = result["measurements"]
    ranks, size = rows[0]["ranks"], rows[0]["bytes"]
    title = f"softmax on digits, {ranks} ranks, {steps} steps, {size} bytes of model, {result['clock']} time"
    yield Table.of(title, columns, rows)
    yield from common.formula_errors(result)
    reached = {way: seconds for way, seconds in when["seconds"].items() if seconds is not None}
    yield f"soonest at loss {when['loss']:.2f}: {min(reached, key=reached.__getitem__)}"
    time = Axis(f"{result['clock']} time", "ms", 1e3)
    lines = [Curve.line(way, looks, "seconds", "loss") for way, looks in curves.items()]
    yield Series("loss", "Loss of the mean model", time, Axis("loss", log=True), lines)
