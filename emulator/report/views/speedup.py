"""The number of nodes to request: S(p), p*, R(p), and from where communication dominates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from emulator.report import formats
from emulator.report.model import Column, Item, Row, Scenario, Table
from emulator.report.views import common
from emulator.speedup import MOST_NODES

_MOST_DRAWS = 200  # resamples of the terms that a page carries


def finding(result: common.Result) -> str:
    """A sentence on p*."""
    one = result["speedup"]
    best, dominated = one["best"], one["dominated"]
    told = f"The step is shortest on p* = {best['p']} nodes, {best['speedup']:.2f} times as fast as on one"
    told += common.knee(one)
    if best["p"] == MOST_NODES:
        told = f"More nodes shorten the step as far as the model is asked, which is {MOST_NODES}"
    return told + (f"; communication dominates from p = {dominated['p']}." if dominated else ".")


def view(result: common.Result) -> Iterator[Item]:
    """The table of T(p), the optimum, and its change with alpha and beta."""
    one = result["speedup"]
    # Four decimals of a second as in the textbook; shorter steps get as many more as they need.
    seconds = formats.fixed(f".{4 if one['t_comp'] >= 0.5 else 7}f")
    yield one["form"]
    yield one["about"]
    columns = [
        Column("p"),
        Column("T_comp/p", "compute", seconds, priority=1),
        Column("T_comm", "communication", seconds, priority=1),
        Column("T_p", "step", seconds),
        Column("S(p)", "speedup", formats.fixed(".2f")),
        Column("R(p)", "ratio", formats.fixed(".3f")),
    ]
    yield Table.of("", columns, one["rows"])
    yield from optimum(one)
    yield from (f"warning: {text}" for text in result.get("warnings") or ())
    if one["sensitivity"]:
        columns = [
            Column("alpha x", "alpha_factor", formats.fixed("g")),
            Column("beta x", "beta_factor", formats.fixed("g")),
            Column("p*", "best.p", lambda p: f"{p}+" if p == MOST_NODES else str(p)),
            Column("S(p*)", "best.speedup", formats.fixed(".2f")),
            Column("dominated from", "dominated.p", lambda p: "never" if p is None else str(p)),
        ]
        yield Table.of("sensitivity: p* when alpha and beta are multiplied", columns, one["sensitivity"])
    if result.get("checkpoints"):
        columns = [
            Column("p"),
            Column("MTBF of the job", "mtbf", formats.time),
            Column("interval by Young", "young", formats.time),
            Column("by Daly", "daly", formats.time),
            Column("time lost", "lost", formats.percent),
        ]
        yield Table.of("checkpoints: work between two of them", columns, result["checkpoints"])
    terms = {name: one.get(name, 0.0) for name in ("alpha", "beta", "gamma")}
    name = one.get("algorithm") or one.get("pattern") or one["form"].partition(":")[0]
    yield scenario("S(p)", one["form"], name, one["t_comp"], terms, one.get("bytes"), (), one)


def scenario(
    title: str, form: str, name: str, t_comp: float, terms: Row, size: int | None, draws: Sequence[Any], found: Row
) -> Scenario:
    """A model with adjustable terms; `name` is a pattern, or ``textbook`` or ``ring`` without a `size`."""
    every = max(1, len(draws) // _MOST_DRAWS)
    return Scenario(
        title, form, t_comp, terms["alpha"], terms["beta"], terms["gamma"], size, name, draws[::every],
        found["best"], found["dominated"],
    )  # fmt: skip


def optimum(one: Row) -> Iterator[str]:
    """Sentences on p*, on the nodes to request, and on where communication dominates.

    `one` has the `answers` of an `emulator.speedup.Speedup`, and ``best_ci95``, the interval of p*.
    """
    best, knee, dominated, interval = one["best"], one.get("knee"), one["dominated"], one.get("best_ci95")
    if best["p"] == MOST_NODES:
        yield f"p* > {MOST_NODES}: more nodes shorten the step as far as the model is asked"
    else:
        bounds = f" [{_nodes(interval[0])}, {_nodes(interval[1])}]" if interval else ""
        yield (
            f"p* = {best['p']}{bounds}, S(p*) = {best['speedup']:.2f}, efficiency {best['efficiency'] * 100:.1f} %, "
            f"R(p*) = {best['ratio']:.2f}"
        )
    if knee and best["p"] < MOST_NODES:
        yield f"nodes to ask for (5 % off): {_worth(knee)}"
        efficient = one.get("efficient")
        if efficient and efficient["p"] < knee["p"]:
            yield f"recommended (efficiency >= 50 %): {_worth(efficient)}"
    if dominated is None:
        yield f"communication does not dominate up to p = {MOST_NODES}"
    else:
        yield f"communication dominates from p = {dominated['p']}, where S = {dominated['speedup']:.2f}"


def _worth(row: Row) -> str:
    return f"{row['p']}, S = {row['speedup']:.2f}, efficiency {row['efficiency'] * 100:.1f} %"


def _nodes(p: int) -> str:
    return f"> {p}" if p == MOST_NODES else str(p)
