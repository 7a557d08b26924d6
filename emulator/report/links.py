"""What `demos.links` has found, as it is printed: fits, protocol switches, maps of all pairs, bystanders, checks."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from emulator.measure import protocol_limits
from emulator.report import tables, terminal
from emulator.units import format_size, format_time

_MOST_CHECKS = 12


def parts(result: Mapping[str, Any]) -> Iterator[Any]:
    """Give strings and rich tables, in the order in which they are to be printed.

    Parameters
    ----------
    result
        The result file's content.
    """
    fine = [{**one, "pattern": f"{one['source']} -> {one['destination']}"} for one in result["fits"] if one.get("fine")]
    yield tables.fits(fine, "Links")
    yield from _switches(fine, result)
    yield ""
    yield from _maps(result)
    yield from _bystanders(result.get("bystanders", []))
    yield from _checks(result.get("checks", []))
    if result.get("fidelity"):
        yield terminal.fidelity_line(result["fidelity"])
    yield from terminal.warnings(result)


def _switches(fits: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> Iterator[str]:
    known = result.get("limits", {})
    for one in fits:
        segments = one["segments"]
        for left, right in pairwise(segments):
            names = protocol_limits.near(left["last"], right["first"], known)
            where = f"between {format_size(left['last'])} and {format_size(right['first'])}"
            meant = f"the library's {', '.join(names)}" if names else "no limit of the library's that is known"
            yield f"switch of {one['pattern']} {where}: {meant}"
    if known:
        limits = ", ".join(f"{name} {format_size(limit)}" for name, limit in known.items())
        yield f"[dim]limits of the library ({result['limits_from']}): {limits}[/]"


def _maps(result: Mapping[str, Any]) -> Iterator[Any]:
    ranks = result["environment"]["ranks"]
    if ranks > 32:
        yield f"[dim]a map of {ranks} x {ranks} ranks does not fit a terminal; the result file has every pair[/]"
        return
    largest = max((row["bytes"] for row in result["measurements"]), default=None)
    if largest is None:
        yield "no link was measured"
        return
    yield tables.pair_map(_matrix(result, "alpha"), "alpha from rank (down) to rank (across)")
    yield ""
    title = f"time of {format_size(largest)} from rank (down) to rank (across)"
    yield tables.pair_map(_matrix(result, largest), title)
    yield ""


def _matrix(result: Mapping[str, Any], what: str | int) -> list[list[float | None]]:
    """Shape (ranks, ranks): a fitted term, or the median for a size; both ways where one round trip stood for them."""
    ranks = result["environment"]["ranks"]
    matrix: list[list[float | None]] = [[None] * ranks for _ in range(ranks)]
    if isinstance(what, str):
        values = {(one["source"], one["destination"]): one[what]["value"] for one in result["fits"]}
    else:
        rows = [row for row in result["measurements"] if row["bytes"] == what]
        values = {(row["source"], row["destination"]): row["seconds"]["median"] for row in rows}
    for (source, destination), value in values.items():
        matrix[source][destination] = value
        if result["clock"] == "wall":
            matrix[destination][source] = value
    return matrix


def _bystanders(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "[bold]Bystanders[/]: 8 bytes between ranks 0 and 1 while the others wait"
    for row in rows:
        factor = row["in_barrier"] / row["asleep"]
        others = "1 other" if row["ranks"] == 3 else f"{row['ranks'] - 2} others"
        yield (
            f"  {others}: asleep {format_time(row['asleep'])}, in MPI_Barrier "
            f"{format_time(row['in_barrier'])}, {factor:.2g} times as long"
        )
    yield ""


def _checks(checks: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """A line per configured pair of terms if there are few; else the failures, and a count of the others."""
    if not checks:
        return
    failed = [one for one in checks if not one["passed"]]
    shown = checks if len(checks) <= _MOST_CHECKS else (failed or _examples(checks))[:_MOST_CHECKS]
    yield tables.checks(shown, "Configured and recovered (PASS within 1 %)")
    verdict = "[green]PASS[/]" if not failed else "[bold red]FAIL[/]"
    yield f"{len(checks) - len(failed)} of {len(checks)} terms of configured paths recovered within 1 %: {verdict}"
    yield ""


def _examples(checks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One check of each configured value."""
    return list({(one["term"], one["configured"]): one for one in reversed(checks)}.values())[::-1]
