"""All-reduce: times with native ones, fitted terms, predictions, and the number of nodes to request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emulator import costs
from emulator.report import formats
from emulator.report.model import Axis, Curve, Detail, Item, Row, Scenario, Series, Text, spread
from emulator.report.views import charts, common, fits
from emulator.report.views.speedup import optimum, scenario
from emulator.speedup import MOST_NODES
from emulator.units import format_size, format_time

_MOST_SCENARIOS = 6


def finding(result: common.Result) -> str | None:
    """A sentence on the largest all-reduce on the most ranks, against the native one, and p*; None without any."""
    rows = common.patterns(result)
    if not rows:
        return None
    largest = max(row["bytes"] for row in rows)
    most = max(row["ranks"] for row in rows)
    these = [row for row in rows if (row["bytes"], row["ranks"]) == (largest, most)]
    best = min(these, key=lambda row: row["seconds"]["median"], default=rows[-1])
    native = common.ratio(best)
    beside = f", {native:.2f} times as long as the native call" if native else ""
    told = [
        f"An all-reduce by {best['pattern']} of {format_size(largest)} on {most} ranks takes "
        f"{format_time(best['seconds']['median'])}{beside}."
    ]
    for one in result.get("meaning") or ():
        if one["pattern"] == best["pattern"] and one["terms"]["alpha"] and one["best"]["p"] < MOST_NODES:
            p, gained = one["best"]["p"], one["best"]["speedup"]
            bounds = f" [{one['best_ci95'][0]}, {one['best_ci95'][1]}]" if one.get("best_ci95") else ""
            told.append(
                f"With a core for each rank, a step of {format_time(one['t_comp'])} that ends with it is shortest on "
                f"p* = {p}{bounds} nodes, {gained:.1f} times as fast as on one{common.knee(one)}; more nodes make it "
                "slower."
            )
    return " ".join(told)


def view(result: common.Result) -> Iterator[Item]:
    """The whole result of one launch or of several pooled ones."""
    yield from common.measurements(result)
    known = result.get("meaning") or ()
    best = max(known, key=lambda one: float(one["best"]["speedup"]), default=None)
    key = ["link", best["pattern"]] if best else []
    yield from fits.fits(result, key=key)
    yield from fits.misfits([fit for fit in result["fits"] if not key or fit["pattern"] in key])
    yield from fits.earlier(result)
    if result.get("left_out"):
        yield Text(_too_crowded(result), "warning")
    if result["fits"]:
        yield from map(Detail, _what_terms_are(result))
    yield from fits.held_out(result)
    yield from fits.checks(result.get("checks") or ())
    unchecked = [Text(f"not checked: {text}", "dim") for text in result.get("unchecked") or ()]
    yield from unchecked[:1]
    yield from map(Detail, unchecked[1:])
    for one in known:
        lines = _meaning(one, fits.sampled(result))
        yield from lines if one is best else map(_detail, lines)
    plots = list(charts.plots(result))
    alone = [one for one in plots if one.name in ("time-link", "time-reduction")]
    yield from (one for one in plots if one not in alone)
    with_alpha = [one for one in known if one["terms"]["alpha"]]
    yield from (_scenario(one, result) for one in with_alpha[:_MOST_SCENARIOS])
    yield from charts.predictions(result)
    yield from _terms(result)
    yield from alone


def _too_crowded(result: common.Result) -> str:
    ranks, cores = ", ".join(map(str, result["left_out"])), result["environment"]["cores"]
    unknown = "" if result.get("meaning") else ", and p* is not known"
    return f"p = {ranks}: more than 8 ranks per core ({cores} cores), where scheduling is measured: not fitted{unknown}"


def _terms(result: common.Result) -> Iterator[Series]:
    """The fitted times on the most ranks by term: latency, bandwidth and reduction."""
    for one in result.get("meaning") or ():
        rows = [row for row in charts.timed(result) if row["pattern"] == one["pattern"] and row.get("predicted")]
        most = [row for row in rows if row["ranks"] == max(row["ranks"] for row in rows)]
        most = [most[number] for number in spread(len(most))]
        fit = next((fit for fit in result["fits"] if fit["pattern"] == one["pattern"]), None)
        if not most or fit is None:
            continue
        shared = most[0]["ranks"] > result["environment"]["cores"] * len(result["environment"]["hosts"] or "1")
        shares: dict[str, list[float]] = {"latency": [], "bandwidth": [], "reduction": []}
        for row in most:
            for name, value in _parts(row, charts.segment(fit, row["bytes"]), shared).items():
                shares[name].append(value)
        names = [format_size(row["bytes"]) for row in most]
        curves = [Curve(name, names, values, style="bars") for name, values in shares.items()]
        title = f"{one['pattern']} on {most[0]['ranks']} ranks: fitted time by term"
        about = "alpha S(p), beta V(p) n and gamma R(p) n of the fit, as shares of their sum"
        share = Axis("share of the time", "%", 100.0)
        yield Series(f"terms-{one['pattern']}", title, Axis("bytes"), share, curves, stacked=True, about=about)


def _parts(row: Row, fitted: Row, shared: bool) -> dict[str, float]:
    """Shares of the three terms in a fitted time, on ranks that take turns on cores or not."""
    alpha, beta, gamma = ((fitted.get(name) or {}).get("value") or 0.0 for name in ("alpha", "beta", "gamma"))
    alpha += (fitted.get("turn") or 0.0) * shared
    price = costs.price(row.get("algorithm") or row["pattern"], alpha, beta, gamma, row["ranks"], row["bytes"])
    whole = price.latency + price.bandwidth + price.reduction or 1.0
    return {name: getattr(price, name) / whole for name in ("latency", "bandwidth", "reduction")}


def _scenario(one: Row, result: common.Result) -> Scenario:
    fit: Row = next((fit for fit in result["fits"] if fit["pattern"] == one["pattern"]), {})
    draws = charts.segment(fit, one["bytes"]).get("draws") or ()
    stands = one.get("algorithm", one["pattern"])
    title = f"S(p) of steps with an all-reduce by {one['pattern']} of {format_size(one['bytes'])}"
    return scenario(title, one["form"], stands, one["t_comp"], one["terms"], one["bytes"], draws, one)


def _range(one: Row) -> str:
    fitted = one.get("fitted")
    return f", fitted to {format_size(fitted[0])} to {format_size(fitted[1])}" if fitted else ""


def _detail(item: str | Text | Detail) -> Detail:
    return item if isinstance(item, Detail) else Detail(item)


def _what_terms_are(result: common.Result) -> Iterator[str | Text]:
    crowding = result["environment"]["oversubscription"]
    if crowding > 1 and result["clock"] == "wall":
        yield Text(
            "p ranks on c < p cores take turns: the model of a collective is multiplied by p / c, here by "
            f"{crowding:g} at most, and its terms are those of ranks with a core each",
            "dim",
        )
    for fit in result["fits"]:
        if fit.get("turn"):
            yield f"a step of {fit['pattern']} takes {format_time(fit['turn'])} longer where ranks share cores"
    for pattern, factors in (result.get("contention") or {}).items():
        known = [f"{term} x {_factor(one)}" for term, one in factors.items() if one is not None]
        if known:
            yield (
                f"a step of {pattern} beside a bare message between two idle ranks: {', '.join(known)} "
                "(queues and shared caches, and what the algorithm itself does for a step)"
            )


def _factor(one: Row) -> str:
    return f"{one['value']:.3g}" + (f" {formats.interval(one['ci95'], 1.0)}" if one["ci95"] else "")


def _meaning(one: dict[str, Any], sampled: str) -> Iterator[str | Text | Detail]:
    n, t_comp, terms = format_size(one["bytes"]), format_time(one["t_comp"]), one["terms"]
    stands = one.get("algorithm", one["pattern"])
    name = one["pattern"] if stands == one["pattern"] else f"auto, here {stands},"
    yield Text(f"{name} of {n} in each step, {t_comp} on one node (--t-comp)", lead="What it means: ")
    yield Detail(
        f"  with a core for each rank: alpha {format_time(terms['alpha'])}, beta {terms['beta'] * 1e9:.4g} ns/B, gamma "
        f"{terms['gamma'] * 1e9:.4g} ns/B{_range(one)} ({one['form']})"
    )
    if not terms["alpha"]:
        yield Text(
            "  p* is not known: the fit gives alpha 0, the latency is lost in the noise; a larger --budget", "warning"
        )
        return
    yield from (f"  {line}" for line in optimum(one))
    if one.get("best_ci95") and sampled:
        yield Detail(f"  the interval of p*{sampled}: what launches of the same command differ by")
    textbook = one.get("textbook")
    if textbook:
        yield Detail(
            f"  for the textbook's calculator: python -m demos.speedup --t-comp {one['t_comp']:g}s "
            f"--alpha {textbook['alpha']:.4g}s --beta {textbook['beta']:.4g}s"
        )
