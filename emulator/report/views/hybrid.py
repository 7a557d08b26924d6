"""Hybrid training: its losses beside one process's, and the bytes that it saves."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.report import formats
from emulator.report.model import Column, Item, Table
from emulator.report.views import common
from emulator.units import format_time

_LOSSES = 6  # lines of the table


def view(result: common.Result) -> Iterator[Item]:
    """The whole result."""
    if "setup" not in result:
        return
    setup, losses, traffic = result["setup"], result["loss"], result["traffic"]
    yield (
        f"{setup['documents']} documentation strings, {setup['workers']} workers, {setup['servers']} servers, table of "
        f"{setup['rows']} x {setup['width']} ({_mb(setup['table_bytes'])})"
    )
    steps = sorted({*range(0, len(losses), max(1, len(losses) // _LOSSES)), len(losses) - 1})
    loss = formats.fixed(".4f")
    columns = [Column("step"), Column("loss", form=loss), Column("one process", form=loss)]
    yield Table("", columns, [[step, losses[step], result["one_process_loss"][step]] for step in steps])
    check = result["check"]
    yield (
        f"check: largest difference from the one-process run {check['apart']:.1e} (sums in another order; limit "
        f"{check['limit']:.0e})"
    )
    hybrid = traffic["sparse"] + traffic["dense"]
    yield (
        f"per worker and step: rows {_mb(traffic['sparse'])} + dense {_mb(traffic['dense'])} = {_mb(hybrid)}; "
        f"table replicated and all-reduced: {_mb(traffic['replicated'])}"
    )
    if setup["workers"] == 1:
        yield "one worker alone all-reduces nothing: no comparison"
    else:
        text = f"the hybrid moves {traffic['saved']:.0f} times less; a step takes {format_time(result['step_seconds'])}"
        ring = traffic["replicated_seconds"]
        yield text + (f", replicated it would take {format_time(ring)} (ring, closed form)" if ring else "")


def _mb(size: float) -> str:
    return f"{size / 1e6:.3g} MB"
