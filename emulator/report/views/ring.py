"""All-reduce: times beside the native ones, fitted terms, predictions, and how many nodes are worth having."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emulator.report import formats
from emulator.report.model import Item, Row, Text
from emulator.report.views import common
from emulator.report.views.speedup import optimum
from emulator.units import format_size, format_time


def view(result: common.Result) -> Iterator[Item]:
    """The whole result, of one launch or of several pooled ones."""
    yield from common.measurements(result)
    yield from common.fits(result)
    if result["fits"]:
        yield from _what_terms_are(result)
    yield from common.held_out(result)
    if result.get("checks"):
        yield common.checks(result["checks"])
    yield from (Text(f"not checked: {text}", "dim") for text in result.get("unchecked") or ())
    for one in result.get("meaning") or ():
        yield from _meaning(one, result["clock"] == "wall")
    yield from common.plots(result)


def _what_terms_are(result: common.Result) -> Iterator[Item]:
    crowding = result["environment"]["oversubscription"]
    if crowding > 1 and result["clock"] == "wall":
        yield Text(
            "p ranks on c < p cores take turns: the model of a collective is multiplied by p / c, here by "
            f"{crowding:g} at most, and its terms are those of ranks with a core each",
            "dim",
        )
    for pattern, factors in (result.get("contention") or {}).items():
        known = [f"{term} x {_factor(one)}" for term, one in factors.items() if one is not None]
        if known:
            yield (
                f"a step of {pattern} beside a bare message between two idle ranks: {', '.join(known)} "
                "(queues and shared caches, and what the algorithm itself does for a step)"
            )


def _factor(one: Row) -> str:
    return f"{one['value']:.3g}" + (f" {formats.interval(one['ci95'], 1.0)}" if one["ci95"] else "")


def _meaning(one: dict[str, Any], launches_differ: bool) -> Iterator[Item]:
    n, t_comp, terms = format_size(one["bytes"]), format_time(one["t_comp"]), one["terms"]
    stands = one.get("algorithm", one["pattern"])
    name = one["pattern"] if stands == one["pattern"] else f"auto, here {stands},"
    yield Text(f"{name} of {n} in each step, a step of {t_comp} on one node (--t-comp)", lead="What it means: ")
    yield (
        f"  with a core for each rank: alpha {format_time(terms['alpha'])}, beta {terms['beta'] * 1e9:.4g} ns/B, gamma "
        f"{terms['gamma'] * 1e9:.4g} ns/B ({one['form']})"
    )
    if not terms["alpha"]:
        yield Text(
            "  p* is not known: the fit gives alpha 0, the latency is lost in the noise; a larger --budget", "warning"
        )
        return
    yield from (f"  {line}" for line in optimum(one))
    if one.get("best_ci95") and launches_differ:
        pool = "python -m emulator pool RUN RUN ..."
        yield Text(f"  the interval is that of this fit; launches differ by more: {pool}", "dim")
    textbook = one.get("textbook")
    if textbook:
        yield (
            f"  for the textbook's calculator: python -m demos.speedup --t-comp {one['t_comp']:g}s "
            f"--alpha {textbook['alpha']:.4g}s --beta {textbook['beta']:.4g}s"
        )
