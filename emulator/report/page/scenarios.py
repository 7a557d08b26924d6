"""The speedup model of a `Scenario`: S(p) with its band, p*, and from where communication dominates.

The page's script draws the same again when its reader moves a slider (`model` in ``page.js``), from the same pieces.
"""

from __future__ import annotations

import numpy as np

from emulator.report import formats
from emulator.report.model import Column, Curve, Mark, Scenario, Series, Table
from emulator.report.page import chart, coefficients
from emulator.report.page.scales import Scale
from emulator.report.views import charts
from emulator.speedup import MOST_NODES
from emulator.units import format_time

NODES = sorted({round(2 ** (step / 4)) for step in range(4 * 12 + 1)})
"""The p at which the curve is drawn: 1 to 4096."""


def terms_at(one: Scenario, p: int) -> list[float]:
    """S, V n and R n for p nodes."""
    size = 1.0 if one.bytes is None else one.bytes
    values = []
    for pieces in coefficients.of_pattern(one.pattern, one.bytes is not None):
        _, a, b, c = next(piece for piece in reversed(pieces) if piece[0] <= p)
        values.append(a + b * p + c / p)
    return [values[0], values[1] * size, values[2] * size]


def step(one: Scenario, p: int, alpha: float, beta: float, gamma: float) -> float:
    """Seconds of a step on p nodes."""
    latency, volume, reduced = terms_at(one, p)
    return one.t_comp / p + alpha * latency + beta * volume + gamma * reduced


def speedups(one: Scenario) -> list[float]:
    """S(p) at each of `NODES`."""
    return [one.t_comp / step(one, p, one.alpha, one.beta, one.gamma) for p in NODES]


def band(one: Scenario) -> list[tuple[float, float] | None]:
    """The 95 % interval of S(p) at each of `NODES` from resampled terms; None without them."""
    if not one.draws:
        return [None] * len(NODES)
    coefficients = np.array([terms_at(one, p) for p in NODES])
    steps = one.t_comp / np.array(NODES) + np.asarray(one.draws, dtype=float) @ coefficients.T
    low, high = np.quantile(one.t_comp / steps, [0.025, 0.975], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def draw(one: Scenario) -> str:
    """Draw the chart as the page first shows it, on scales that the sliders do not change."""
    found = speedups(one)
    curves = [
        Curve("95 %", NODES, found, band(one), "band", "S(p)"),
        Curve("S(p)", NODES, found, style="line"),
        Curve("S = p", [1, MOST_NODES], [1, MOST_NODES], style="dotted"),
    ]
    marks = [Mark(one.best["p"], f"p* = {one.best['p']}")]
    marks.append(Mark(one.dominated["p"] if one.dominated else MOST_NODES, "communication dominates", MOST_NODES))
    high = chart.upright(Scale(charts.SPEEDUP, 0.25, float(MOST_NODES), 1.0, 0.0))
    wide = Scale(charts.NODES, 1.0, float(MOST_NODES), chart.left_of(high), chart.WIDTH - 16.0)
    scales = "".join(
        f' data-{name}="{of.low:g} {of.high:g} {of.start:g} {of.end:g}"' for name, of in (("x", wide), ("y", high))
    )
    nodes = f' data-nodes="{" ".join(map(str, NODES))}"'
    shown = Series("speedup", one.name, charts.NODES, charts.SPEEDUP, curves, marks)
    return chart.draw(shown, (wide, high), scales + nodes)


def answer(one: Scenario) -> str:
    """The text on p* and on where communication dominates, as ``page.js`` shows it before a slider moves."""
    best = one.best
    told = (
        f"p* > {MOST_NODES}: more nodes shorten the step as far as the model is asked"
        if best["p"] == MOST_NODES
        else f"p* = {best['p']}, S(p*) = {best['speedup']:.2f}, efficiency {100 * best['efficiency']:.1f} %"
    )
    where = f"dominates from p = {one.dominated['p']}" if one.dominated else f"does not dominate up to p = {MOST_NODES}"
    return f"{told}; communication {where}"


def about(one: Scenario) -> str:
    """A text on how to read the chart."""
    band = "; shaded: 95 % of the fit's resamples" if one.draws else ""
    return f"{one.form}. Dotted: S = p, without communication{band}."


def table(one: Scenario) -> Table:
    """S(p) with its interval at powers of 2 and at p*."""
    shown = sorted({2**power for power in range(13)} | {one.best["p"]})
    rows = []
    for p in shown:
        took = step(one, p, one.alpha, one.beta, one.gamma)
        compute = one.t_comp / p
        rows.append([p, compute, took - compute, took, one.t_comp / took, (took - compute) / compute])
    columns = [
        Column("p"), *(Column(name, form=format_time) for name in ("T_comp/p", "T_comm", "T(p)")),
        Column("S(p)", form=formats.fixed(".2f")), Column("R(p)", form=formats.fixed(".3f")),
    ]  # fmt: skip
    return Table("", columns, rows)
