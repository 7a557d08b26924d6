"""Traffic of an emulated run as tables: who sent how much to whom, and what was busy how long."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emulator.report.tables import percent
from emulator.units import format_time

if TYPE_CHECKING:
    from rich.table import Table

_MOST_ROWS = 12
_WIDEST_MATRIX = 16


def parts(traffic: Mapping[str, Any], *, rows: int = _MOST_ROWS) -> Iterator[Any]:
    """Give strings and rich tables, in the order in which they are to be printed.

    Parameters
    ----------
    traffic
        ``{"seconds", "messages", "bytes", "pairs": [{"from", "to", "messages", "bytes"}], "resources": [{"name",
        "messages", "bytes", "busy"}]}``: times in emulated seconds, resources (sides of cards, shared links) with the
        busiest first.
    rows
        Resources to show.
    """
    total = f"{traffic['messages']:,} messages, {traffic['bytes']:,} bytes"
    yield f"emulated time: {format_time(traffic['seconds'], 6)}; {total}"
    if not traffic["messages"]:
        return
    yield matrix(traffic["pairs"])
    if traffic["resources"]:
        yield ""
        yield resources(traffic["resources"], traffic["seconds"], rows)
        yield busiest(traffic)


def run_parts(result: Mapping[str, Any]) -> Iterator[Any]:
    """Give what is printed for a result of ``python -m emulator run``."""
    yield from parts(result["traffic"])
    yield describe_fidelity(result["fidelity"])


def describe_fidelity(fidelity: Mapping[str, Any]) -> str:
    """Put a fidelity record into one line of words."""
    if fidelity["pace"] is None:
        text = f"fidelity: not paced; {fidelity['inversions']} inversions"
    else:
        text = (
            f"fidelity: pace {fidelity['pace']:.3g}; {fidelity['overrun_share']:.2%} of the receives late; late by "
            f"{fidelity['late_p50'] * 1e6:.0f} us (median) and {fidelity['late_p99'] * 1e6:.0f} us (p99) of wall time; "
            f"{fidelity['inversions']} inversions"
        )
    return text + (f"\n[yellow]{fidelity['words']}[/]" if fidelity["words"] else "")


def busiest(traffic: Mapping[str, Any]) -> str:
    """Name the resource that was busy longest, and what that means for the run."""
    first, seconds = traffic["resources"][0], traffic["seconds"]
    share = first["busy"] / seconds if seconds else 0.0
    if share >= 0.5:
        meaning = "it sets the pace: a faster one shortens the run"
    elif share >= 0.1:
        meaning = "it carries part of the time"
    else:
        meaning = "no bandwidth is short: latency, waiting and compute take the time"
    busy = f"{format_time(first['busy'])} of {format_time(seconds)} ({percent(share)})"
    return f"busiest: {first['name']}, {busy}; {meaning}"


def resources(found: Sequence[Mapping[str, Any]], seconds: float, rows: int = _MOST_ROWS) -> "Table":
    """Make a table of cards and links: what they carried, and how long they were busy.

    Parameters
    ----------
    found
        Resources with the busiest first.
    seconds
        Emulated time of the whole run.
    """
    from rich.table import Table

    table = Table(title="Cards and links, the busiest first", title_justify="left", box=None, pad_edge=False)
    for heading in ("what", "messages", "bytes", "busy", "of the time"):
        table.add_column(heading, justify="left" if heading == "what" else "right", no_wrap=True)
    for one in found[:rows]:
        share = percent(one["busy"] / seconds if seconds else None)
        table.add_row(one["name"], f"{one['messages']:,}", f"{one['bytes']:,}", format_time(one["busy"]), share)
    if len(found) > rows:
        rest = found[rows:]
        sums = (sum(one[key] for one in rest) for key in ("messages", "bytes"))
        table.add_row(f"{len(rest)} more", *(f"{value:,}" for value in sums), "", "", style="dim")
    return table


def matrix(pairs: Sequence[Mapping[str, Any]]) -> "Table":
    """Make a table of bytes from each host (down) to each other (across); of the largest pairs, if hosts are many."""
    from rich.table import Table

    hosts = sorted({pair[end] for pair in pairs for end in ("from", "to")}, key=_natural)
    if len(hosts) > _WIDEST_MATRIX:
        return _largest(pairs)
    table = Table(title="Bytes from host to host", title_justify="left", box=None, pad_edge=False)
    table.add_column("from \\ to", no_wrap=True)
    for name in hosts:
        table.add_column(name, justify="right", no_wrap=True)
    sent = {(pair["from"], pair["to"]): pair["bytes"] for pair in pairs}
    for source in hosts:
        cells = [sent.get((source, destination)) for destination in hosts]
        table.add_row(source, *("." if size is None else f"{size:,}" for size in cells))
    return table


def _largest(pairs: Sequence[Mapping[str, Any]]) -> "Table":
    from rich.table import Table

    title = f"Largest {_MOST_ROWS} of {len(pairs)} pairs"
    table = Table("from", "to", title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("messages", "bytes"):
        table.add_column(heading, justify="right")
    for pair in sorted(pairs, key=lambda pair: -pair["bytes"])[:_MOST_ROWS]:
        table.add_row(pair["from"], pair["to"], f"{pair['messages']:,}", f"{pair['bytes']:,}")
    return table


def _natural(name: str) -> tuple[str, int]:
    """Sort host10 behind host9."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)
