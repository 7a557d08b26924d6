"""Membership: the time until SWIM declares a silent rank dead."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.report.model import Item
from emulator.report.views import common
from emulator.units import format_time


def finding(result: common.Result) -> str | None:
    """A sentence on the time until all ranks have declared the silent one dead; None without a live part."""
    live = result.get("live")
    if not live:
        return None
    took = format_time(live["DEAD"][-1])
    return f"{took} after rank {live['victim']} fell silent, all others have declared it dead."


def view(result: common.Result) -> Iterator[Item]:
    """When the silent rank was suspected and declared dead."""
    live = result.get("live")
    if not live:
        return
    suspected, dead = ([1e3 * seconds for seconds in live[name]] for name in ("SUSPECT", "DEAD"))
    yield (
        f"live, {result['environment']['ranks']} ranks, period {live['period_s'] * 1e3:g} ms: rank {live['victim']} "
        f"suspected after {suspected[0]:.0f} ms, dead to the first after {dead[0]:.0f} ms and to all after "
        f"{dead[-1]:.0f} ms; when it answers again it is {'evicted' if live['evicted'] else 'still a member'}"
    )
