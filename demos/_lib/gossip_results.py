"""Records of the gossip demo for its result: convergence, times with their predictions, rumours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from demos._lib.formulas import formula, judge
from demos._lib.timing import keep
from emulator import costs
from emulator.measure.repetitions import Series
from emulator.run.demo_run import Run
from primitives.gossip import mixing, rumour
from primitives.gossip.mixing import Mixing

ROUNDING = 1e-13  # relative distance below which an average is exact


def measured_contraction(distances: Sequence[float]) -> float:
    """Contraction per round over the second half of the rounds, where the slowest mode dominates.

    Random rounds may hit the mean exactly by chance: such a last round says nothing about the others.
    """
    if distances[-1] <= ROUNDING * distances[0]:
        if len(distances) <= 3:
            return 0.0
        distances = distances[:-1]
    half = (len(distances) - 1) // 2
    return float((distances[-1] / distances[half]) ** (1 / max(1, len(distances) - 1 - half)))


def convergence(run: Run, way: Any, distances: list[float], wrong: int, error: float) -> dict[str, Any]:
    """Record of one averaging method: gap, contraction, rounds and bytes, predicted and measured."""
    took = len(distances) - 1
    bound = None if way.sigma is None else way.exact or mixing.rounds_to(error, way.sigma)
    reached = way.exact is not None or distances[-1] <= error * distances[0]
    if not reached:
        run.warn(f"{way.name} has not reached {error:g} in {took} rounds")
    elif wrong:
        run.fail(f"{way.name}: {wrong} column means differ from the one-process answer")
    return {
        "way": way.name, "degree": way.degree, "spectral_gap": way.gap, "contraction_predicted": way.sigma,
        "contraction_measured": 0.0 if way.exact is not None else measured_contraction(distances),
        "rounds_predicted": bound, "rounds": took, "reached": reached, "error": error, "wrong": wrong,
        "bytes_sent_per_rank": way.degree * took * way.nbytes, "distances": distances,
    }  # fmt: skip


def terms(schedule: Sequence[Mixing]) -> costs.Terms:
    """Cost coefficients of these rounds, by the largest number of messages of a rank in each."""
    return costs.terms("gossip", schedule[0].graph.size, degrees=tuple(m.graph.degree for m in schedule))


def predict(schedule: Sequence[Mixing], size: int, path: Any) -> float:
    """Seconds of these rounds with messages of `size` bytes on an idle network whose paths all equal `path`.

    Where ranks send different numbers of messages the rounds are followed message by message.
    """
    if all(m.graph.regular for m in schedule):
        return terms(schedule).seconds(size, path.alpha, path.beta)
    sends = [[[(j, size) for j in to] for to in m.graph.neighbours] for m in schedule]
    return costs.timeline(sends, path.alpha, path.beta)


def times(run: Run, series: list[Series], schedules: dict[tuple[str, int], list[Mixing]]) -> None:
    """Add measured times to the result, with rounds * (alpha + degree n beta).

    Alpha and beta are those of the configured network; on the bare transport they are fitted to these very times.
    """
    path = None if run.network is None else run.network.between(0, 1)
    found = formula(
        run, series, lambda name, p, size: predict(schedules[name, p], size, path),
        lambda name, p: terms(schedules[name, p]), "gossip",
    )  # fmt: skip
    judge(run, "averages", keep(run, series, found))


def rumours(run: Run, mode: str, given: int, seen: list[Any]) -> dict[str, Any]:
    """Summarise the rumours of one mode: rounds until the last rank knew, bytes, time and its prediction."""
    last = [max(heard.at for heard, _ in ranks if heard.at is not None) for ranks, _, _ in seen]
    missing = sum(not whole for ranks, _, _ in seen for _, whole in ranks)
    if missing:
        run.fail(f"{mode}: {missing} ranks were never told, or not in full, within {given} rounds")
    row = {
        "mode": mode, "rounds_given": given, "rounds": last, "expected": rumour.expected_rounds(run.size, mode),
        "bounds": costs.rumour_rounds(run.size) if mode == "push" else None,
        "informative": float(np.mean([sum(h.informative for h, _ in ranks) for ranks, _, _ in seen])),
        "messages": float(np.mean([sum(h.messages for h, _ in ranks) for ranks, _, _ in seen])),
        "seconds": [took for _, took, _ in seen], "missing": missing, "predicted": None,
    }  # fmt: skip
    if run.network is not None:
        path = run.network.between(0, 1)
        followed = [rumour.traffic(run.size, 1024, mode, rounds=given, seed=seed)[0] for _, _, seed in seen]
        row["predicted"] = [costs.timeline(exchanges, path.alpha, path.beta) for exchanges in followed]
    return row
