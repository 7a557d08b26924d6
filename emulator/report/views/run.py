"""An emulated program: bytes from host to host, and the busy time of cards and links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emulator.report import formats
from emulator.report.model import Axis, Column, Curve, Detail, Item, Map, Row, Series, Table
from emulator.trace.summary import sentence
from emulator.units import format_time

_MOST_ROWS = 12
_WIDEST_MAP = 16  # hosts
_WIDEST_ON_A_SCREEN, _MOST_ON_A_SCREEN = 8, 6  # hosts of the map; rows
_WRITTEN_IN_MB = 1_000_000  # bytes of the largest pair, so that the map of 8 hosts fits in 80 columns


def finding(result: Mapping[str, Any]) -> str:
    """A sentence on the emulated time and the busiest resource; of a recorded run, on its time and a faster network."""
    if "traffic" not in result:
        seen = result["timeline"]
        return f"The program took {format_time(seen['seconds'])}; {sentence(seen)}."
    traffic = result["traffic"]
    told = f"The program took {format_time(traffic['seconds'])} of emulated time and sent {traffic['bytes']:,} bytes"
    return told + (f"; {busiest(traffic)}." if traffic["resources"] else ".")


def view(result: Mapping[str, Any]) -> Iterator[Item]:
    """Emulated time and traffic; of a program that was only recorded, how many messages were seen.

    ``traffic`` is ``{"seconds", "messages", "bytes", "pairs": [{"from", "to", "messages", "bytes"}], "resources":
    [{"name", "messages", "bytes", "busy"}]}``: times in emulated seconds, resources (sides of cards, shared links) with
    the busiest first.
    """
    if "traffic" not in result:
        sent = sum(row["sent"] for row in result["timeline"]["ranks"])
        yield f"the program ran on MPI itself, recorded on the wall clock: {sent:,} messages"
        return
    traffic = result["traffic"]
    total = f"{traffic['messages']:,} messages, {traffic['bytes']:,} bytes"
    yield f"emulated time: {format_time(traffic['seconds'], 6)}; {total}"
    if not traffic["messages"]:
        return
    found = pairs(traffic["pairs"])
    yield found if isinstance(found, Table) or len(found.rows) <= _WIDEST_ON_A_SCREEN else Detail(found)
    if traffic["resources"]:
        yield resources(traffic["resources"], traffic["seconds"])
        yield busiest(traffic)
        first = traffic["resources"][:_MOST_ROWS]
        busy = [one["busy"] for one in first]
        bars = Curve("busy", [one["name"] for one in first], busy, style="bars")
        axis = Axis.time("emulated time", busy)
        yield Series("busy", "Time that cards and links were busy", Axis("card or link"), axis, [bars])


def busiest(traffic: Row) -> str:
    """Name the resource that was busy longest, and what that means for the run."""
    first, seconds = traffic["resources"][0], traffic["seconds"]
    share = first["busy"] / seconds if seconds else 0.0
    if share >= 0.5:
        meaning = "it sets the pace: a faster one shortens the run"
    elif share >= 0.1:
        meaning = "it carries part of the time"
    else:
        meaning = "no bandwidth is short: latency, waiting and compute take the time"
    busy = f"{format_time(first['busy'])} of {format_time(seconds)} ({formats.percent(share)})"
    return f"busiest: {first['name']}, {busy}; {meaning}"


def resources(found: Sequence[Row], seconds: float, most: int = _MOST_ROWS) -> Table:
    """Cards and links, busiest first: what they carried, and for how many of the run's seconds each was busy.

    `most` of them are shown; the others are summed up in one more row.
    """
    rest = found[most:]
    rows = [*found[:most]]
    if rest:
        sums = {key: sum(one[key] for one in rest) for key in ("messages", "bytes")}
        rows.append({"name": f"{len(rest)} more", "busy": None, **sums})
    columns = [
        Column("what", "name", left=True),
        Column("messages", form=formats.count, priority=1),
        Column("bytes", form=formats.count),
        Column("busy", form=lambda busy: "" if busy is None else format_time(busy)),
        Column("of the time", lambda one: _share(one, seconds), lambda share: share or ""),
    ]
    tones = [*[""] * min(most, len(found)), *["dim"] * bool(rest)]
    title = "Cards and links, the busiest first"
    return Table.of(title, columns, rows, tones=tones, key=range(min(len(rows), _MOST_ON_A_SCREEN)))


def _share(one: Row, seconds: float) -> str | None:
    return None if one["busy"] is None else formats.percent(one["busy"] / seconds if seconds else None)


def pairs(found: Sequence[Row]) -> Map | Table:
    """Bytes from each host (down) to each other (across); with many hosts the largest pairs."""
    hosts = sorted({pair[end] for pair in found for end in ("from", "to")}, key=_natural)
    if len(hosts) > _WIDEST_MAP:
        largest = sorted(found, key=lambda pair: -pair["bytes"])[:_MOST_ROWS]
        columns = [
            Column("from", left=True),
            Column("to", left=True),
            Column("messages", form=formats.count),
            Column("bytes", form=formats.count),
        ]
        return Table.of(f"Largest {_MOST_ROWS} of {len(found)} pairs", columns, largest)
    sent = {(pair["from"], pair["to"]): pair["bytes"] for pair in found}
    values = [[sent.get((source, destination)) for destination in hosts] for source in hosts]
    large = max(sent.values()) >= _WRITTEN_IN_MB
    form, unit = (lambda size: formats.figure(size / 1e6), "MB") if large else (formats.count, "Bytes")
    return Map(f"{unit} from host to host", hosts, hosts, values, "from \\ to", form, scale=Axis("bytes"))


def _natural(name: str) -> tuple[str, int]:
    """Sort key by which host9 comes before host10."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)
