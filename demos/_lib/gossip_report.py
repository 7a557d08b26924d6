"""What the gossip demo prints and keeps: tables, predictions, verdicts. Rank 0 only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emulator import costs
from emulator.measure.series import Series
from emulator.report.formats import microseconds, percent
from emulator.run.session import Run
from emulator.units import format_size
from primitives.gossip import mixing, rumour
from primitives.gossip.mixing import Mixing

ROUNDING = 1e-13  # relative distance below which an average is exact
WITHIN = 0.10  # of each other: measured and predicted time on an emulated network


def table(title: str, *columns: str) -> Any:
    """Make a plain table; the first column is text."""
    from rich.table import Table

    laid = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        laid.add_column(column, justify="right" if index else "left", no_wrap=True)
    return laid


def number(value: float | None, form: str = ".3f") -> str:
    """A figure, or a dash for none."""
    return "-" if value is None else format(value, form)


def measured_contraction(distances: Sequence[float]) -> float:
    """Factor per round over the second half of the rounds, where the slowest mode rules.

    Random rounds may hit the mean exactly by chance: such a last round says nothing about the others.
    """
    if distances[-1] <= ROUNDING * distances[0]:
        if len(distances) <= 3:
            return 0.0
        distances = distances[:-1]
    half = (len(distances) - 1) // 2
    return float((distances[-1] / distances[half]) ** (1 / max(1, len(distances) - 1 - half)))


def convergence(run: Run, rows: list[dict[str, Any]], error: float) -> None:
    """Print gap, contraction, rounds and bytes of every way to average, and check the answers."""
    laid = table(
        f"the mean of 30 columns among {run.size} ranks, to {error:g} of the first distance",
        "graph", "degree", "gap", "contraction", "measured", "rounds", "taken", "sent per rank", "wrong",
    )  # fmt: skip
    run.extra["convergence"] = []
    for row in rows:
        way, distances = row["way"], row["distances"]
        took = len(distances) - 1
        bound = None if way.sigma is None else way.exact or mixing.rounds_to(error, way.sigma)
        measured = 0.0 if way.exact is not None else measured_contraction(distances)
        reached = way.exact is not None or distances[-1] <= error * distances[0]
        sent = way.degree * took * way.nbytes
        laid.add_row(
            way.name, number(way.degree, ".2g"), number(way.gap), number(way.sigma), number(measured),
            number(bound, "d"), str(took) if reached else f"> {took}", f"{sent / 1024:.1f} KiB", str(row["wrong"]),
        )  # fmt: skip
        run.extra["convergence"].append({
            "way": way.name, "degree": way.degree, "spectral_gap": way.gap, "contraction_predicted": way.sigma,
            "contraction_measured": measured, "rounds_predicted": bound, "rounds": took, "bytes_sent_per_rank": sent,
            "distances": distances,
        })  # fmt: skip
        if not reached:
            run.warn(f"{way.name} has not reached {error:g} in {took} rounds")
        elif row["wrong"]:
            run.fail(f"{way.name}: {row['wrong']} column means differ from the one-process answer")
    run.echo(laid, "")


def degrees(schedule: Sequence[Mixing]) -> tuple[int, ...]:
    """Largest number of messages of a rank, round by round."""
    return tuple(m.graph.degree for m in schedule)


def predict(schedule: Sequence[Mixing], size: int, path: Any) -> float:
    """Seconds of these rounds with messages of `size` bytes on an idle network whose paths are all like `path`."""
    if all(m.graph.regular for m in schedule):
        ranks = schedule[0].graph.size
        return float(costs.seconds("gossip", ranks, size, path.alpha, path.beta, degrees=degrees(schedule)))
    sends = [[[(j, size) for j in to] for to in m.graph.neighbours] for m in schedule]
    return costs.timeline(sends, path.alpha, path.beta)


def _formula(run: Run, series: list[Series], shapes: list[list[Mixing]]) -> tuple[Sequence[float | None], str]:
    """Predicted times: from the configured network, or from alpha and beta fitted to the measurements themselves."""
    if run.network is None:
        if len({one.job.bytes for one in series}) < 2:
            return [None] * len(series), "no formula: fitting alpha and beta takes two --sizes"
        from emulator.measure.fit import Point, fit

        def terms(schedule: list[Mixing]) -> costs.Terms:
            return costs.terms("gossip", schedule[0].graph.size, degrees=degrees(schedule))

        pairs = list(zip(series, shapes, strict=True))
        line = fit([Point(s.job.bytes, terms(w), s.seconds, ranks=s.job.ranks) for s, w in pairs], seed=run.seed)
        run.fits.append(line.record("collective", "gossip"))
        return [line.predict(terms(w), s.job.bytes) for s, w in pairs], "alpha and beta fitted to these very times"
    path = run.network.between(0, 1)
    predicted = [predict(w, one.job.bytes, path) for one, w in zip(series, shapes, strict=True)]
    return predicted, "configured alpha and beta; where degrees differ, followed message by message"


def times(run: Run, series: list[Series], shapes: list[list[Mixing]]) -> None:
    """Print measured times beside rounds * (alpha + degree n beta), and hold an ideal network to 10 %."""
    predicted, origin = _formula(run, series, shapes)
    columns = ("gossip", "ranks", "bytes", "time us", "formula us", "off by", "wrong")
    laid = table(f"time of an average ({origin})", *columns)
    worst = 0.0
    for one, expected in zip(series, predicted, strict=True):
        seconds = one.summary()
        off = None if expected is None else expected / seconds["median"] - 1
        worst = max(worst, abs(off or 0.0))
        laid.add_row(
            one.job.pattern.removeprefix("gossip "), str(one.job.ranks), format_size(one.job.bytes),
            microseconds(seconds["median"]), microseconds(expected), percent(off, signed=True), str(one.wrong),
        )  # fmt: skip
        run.measurements.append({
            "pattern": one.job.pattern, "ranks": one.job.ranks, "bytes": one.job.bytes, "seconds": seconds,
            "algbw": one.job.bytes / seconds["median"], "busbw": None, "predicted": expected, "native": None,
            "wrong": one.wrong,
        })  # fmt: skip
        run.samples += one.rows()
        if one.wrong:
            run.fail(f"{one.job.pattern} of {one.job.bytes} bytes on {one.job.ranks} ranks: {one.wrong} wrong elements")
    run.echo(laid)
    if ideal(run):
        passed = worst <= WITHIN
        run.echo(f"formulas hold to {worst:.1%} (at most {WITHIN:.0%}): {'PASS' if passed else 'FAIL'}", "")
        if not passed:
            run.fail(f"times must be within {WITHIN:.0%} of the formula on this network, one is {worst:.1%} off")


def ideal(run: Run) -> bool:
    """Whether the formulas are all that happens: one rank per host, equal steady paths, no sharing, no compute."""
    network = run.network
    if network is None or run.options.compute != "none":
        return False
    path = network.between(0, 1)
    alone = len({network.host_of(rank) for rank in range(run.size)}) == run.size
    equal = {network.between(a, b) for a in range(run.size) for b in range(run.size) if a != b} == {path}
    return alone and equal and not path.links and path.jitter is None and path.loss is None


def rumour_row(run: Run, mode: str, given: int, seen: list[Any]) -> dict[str, Any]:
    """Sum up the rumours of one mode: rounds until the last rank knew, bytes, time and its prediction."""
    last = [max(heard.at for heard, _ in ranks if heard.at is not None) for ranks, _, _ in seen]
    missing = sum(not whole for ranks, _, _ in seen for _, whole in ranks)
    if missing:
        run.fail(f"{mode}: {missing} ranks were never told, or not in full, within {given} rounds")
    row = {
        "mode": mode, "rounds_given": given, "rounds": last, "expected": rumour.expected_rounds(run.size, mode),
        "informative": float(np.mean([sum(h.informative for h, _ in ranks) for ranks, _, _ in seen])),
        "messages": float(np.mean([sum(h.messages for h, _ in ranks) for ranks, _, _ in seen])),
        "seconds": [took for _, took, _ in seen], "missing": missing, "predicted": None,
    }  # fmt: skip
    if run.network is not None:
        path = run.network.between(0, 1)
        followed = [rumour.traffic(run.size, 1024, mode, rounds=given, seed=seed)[0] for _, _, seed in seen]
        row["predicted"] = [costs.timeline(exchanges, path.alpha, path.beta) for exchanges in followed]
    return row


def rumours(run: Run, rows: list[dict[str, Any]]) -> None:
    """Print rounds beside their exact expectation (and, for push, the published bounds), and time."""
    low, high = costs.rumour_rounds(run.size)
    laid = table(
        f"rumours of 1 KiB among {run.size} ranks", "mode", "rounds until all know", "expected", "bounds (push)",
        "rounds given", "messages", "with the rumour", "time us", "followed us", "off by",
    )  # fmt: skip
    for row in rows:
        spread = np.std(row["rounds"], ddof=1) / math.sqrt(len(row["rounds"])) if len(row["rounds"]) > 1 else math.nan
        interval = "" if math.isnan(spread) else f" ± {1.96 * spread:.2f}"
        took = float(np.median(row["seconds"]))
        expected = None if row["predicted"] is None else float(np.median(row["predicted"]))
        laid.add_row(
            row["mode"], f"{np.mean(row['rounds']):.2f}{interval}", number(row["expected"], ".2f"),
            f"{low:.2f} .. {high:.2f}" if row["mode"] == "push" else "-", str(row["rounds_given"]),
            number(row["messages"], ".0f"), number(row["informative"], ".0f"), microseconds(took),
            microseconds(expected), "-" if expected is None else percent(expected / took - 1, signed=True),
        )  # fmt: skip
        if expected is not None and ideal(run) and abs(expected / took - 1) > WITHIN:
            run.fail(f"the time of {row['mode']} must be within {WITHIN:.0%} of its prediction")
    run.extra["rumours"] = rows
    run.echo(laid)
