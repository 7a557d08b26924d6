"""Decentralised training: stochastic gradient descent where each rank averages with its neighbours only.

Every rank holds a part of scikit-learn's handwritten digits and a softmax model. A step is a gradient on a local batch
and one round of gossip (D-PSGD: Lian et al., NeurIPS 2017); beside it the same with an all-reduce, which is checked
against the one-process answer. Sparse graphs are cheaper per step and let the models drift apart: the table shows
which loss each reaches after as many steps, and when each is at the loss that all of them reach.
"""

from __future__ import annotations

import itertools
from typing import Any

import click
import numpy as np

import emulator
from demos._lib import digits
from demos._lib.formulas import judge
from demos._lib.gossip_results import predict
from demos._lib.timing import begin_together, declared, measured
from emulator import costs
from emulator.run.options import TIME, demo
from emulator.run.session import Run
from primitives.collectives.all_reduce import all_reduce
from primitives.gossip import graphs, mix, mixing, schedules
from primitives.gossip.mixing import Mixing

BATCH = 16
SHAPE = (digits.FEATURES, digits.CLASSES)
WIRE = 8 * digits.FEATURES * digits.CLASSES
LOOKS = 12  # times that the loss is evaluated


@demo("decentralised", needs=2, sizes="5200")
@click.option("--steps", type=click.IntRange(LOOKS), default=120, show_default=True)
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=0.5, show_default=True, help="Learning rate.")
@click.option(
    "--step-time",
    type=TIME,
    default="100 us",
    show_default=True,
    help="Declared compute time of a step on an emulated network with --compute none.",
)
@click.option(
    "--skew/--even", default=True, show_default=True, help="Each rank has images of few digits only, or of all."
)
def main(run: Run, steps: int, rate: float, step_time: float, skew: bool) -> None:  # fmt: skip
    """Train over gossip on several graphs, beside all-reduce.

    mpirun -n 16 python -m demos.decentralised --net 1gbe
    """
    shards = run.control.bcast(_shards(run.size, skew) if run.rank == 0 else None)
    step_s = declared(run, step_time)
    rows = []
    for name, schedule in _ways(run.size).items():
        rows.append({"way": name, "schedule": schedule, **_train(run, shards, schedule, steps, rate, step_s)})
    if run.rank == 0:
        _check(run, rows[0], shards, steps, rate)
        _conclude(run, rows, steps, step_s)


def _shards(p: int, skew: bool) -> list[tuple[Any, Any]]:
    images, labels = digits.load()
    if skew:
        order = np.argsort(labels, kind="stable")
        images, labels = images[order], labels[order]
        return list(zip(np.array_split(images, p), np.array_split(labels, p), strict=True))
    return [(images[k::p], labels[k::p]) for k in range(p)]


def _ways(p: int) -> dict[str, list[Mixing] | None]:
    """All-reduce, graphs and schedules."""
    return {
        "all-reduce": None,
        **{name: [mixing.of_graph(graphs.named(name, p))] for name in ("ring", "torus", "exponential")},
        "one-peer exponential": schedules.one_peer_exponential(p),
        "base graph": schedules.base_graph(p),
    }


def _step(run: Run, schedule: list[Mixing] | None, model: np.ndarray, change: np.ndarray, number: int) -> np.ndarray:
    """The next model, by all-reduce (no schedule) or by a round of gossip."""
    if schedule is None:
        return model + all_reduce(run.comm, change, algorithm="ring") / run.size
    moved = model + change
    mix(run.comm, moved, schedule[number % len(schedule)])
    return moved


def _change(model: np.ndarray, shard: tuple[Any, Any], rank: int, number: int, rate: float) -> np.ndarray:
    """One local step: minus the rate times the gradient on this rank's batch of this step."""
    return -rate * digits.batch_gradient(model, shard, 0, rank, number, BATCH)


def _train(
    run: Run, shards: list[tuple[Any, Any]], schedule: list[Mixing] | None, steps: int, rate: float, step_s: float
) -> dict[str, Any]:
    """Train; rank 0 gets the loss of the mean model over time. Evaluating it costs no emulated time."""
    model = np.zeros(WIRE // 8)
    begin, looked, curve = begin_together(run), 0.0, []
    for number in range(steps):
        change = _change(model, shards[run.rank], run.rank, number, rate)
        if step_s:
            emulator.compute(run.comm, step_s)
        model = _step(run, schedule, model, change, number)
        if (number + 1) * LOOKS // steps > number * LOOKS // steps:
            before = run.now()
            curve.append(_look(run, model, shards, before - begin - looked, number + 1))
            looked += run.now() - before
    return {"curve": curve, "model": run.control.bcast(model)}


def _look(run: Run, model: np.ndarray, shards: list[tuple[Any, Any]], seconds: float, step: int) -> dict[str, Any]:
    mean = run.control.allreduce(model) / run.size
    apart = float(np.sqrt(run.control.allreduce(float(((model - mean) ** 2).sum())) / run.size))
    images, labels = shards[run.rank]
    losses = run.control.allreduce(digits.loss(mean.reshape(SHAPE), images, labels) * len(labels))
    loss = losses / run.control.allreduce(len(labels))
    return {"step": step, "seconds": max(run.control.allgather(seconds)), "loss": loss, "apart": apart}


def _check(run: Run, row: dict[str, Any], shards: list[tuple[Any, Any]], steps: int, rate: float) -> None:
    """One process does the same steps: the all-reduced model must be the same up to rounding."""
    model = np.zeros(WIRE // 8)
    for number in range(steps):
        model = model + sum(_change(model, s, k, number, rate) for k, s in enumerate(shards)) / run.size
    off = float(np.abs(model - row["model"]).max())
    run.extra["check"] = {"apart": off, "steps": steps}
    if off > 1e-9:
        run.fail(f"the all-reduced model must equal the one-process model to 1e-9, it is {off:.1e} off")


def _predicted(run: Run, schedule: list[Mixing] | None, steps: int, step_s: float) -> float | None:
    if run.network is None:
        return None
    path = run.network.between(0, 1)
    if schedule is None:
        return steps * (step_s + costs.exact("ring", run.size, WIRE // 8, 8, path.alpha, path.beta))
    return steps * step_s + predict([schedule[k % len(schedule)] for k in range(steps)], WIRE, path)


def _when(curve: list[dict[str, Any]], loss: float) -> float:
    """Seconds at which a curve first has this loss, interpolated; at 0 s that of a zero model."""
    points = [{"seconds": 0.0, "loss": float(np.log(digits.CLASSES))}, *curve]
    for before, after in itertools.pairwise(points):
        if after["loss"] <= loss:
            share = (before["loss"] - loss) / max(before["loss"] - after["loss"], 1e-300)
            return float(before["seconds"] + min(1.0, max(0.0, share)) * (after["seconds"] - before["seconds"]))
    return float("inf")


def _conclude(run: Run, rows: list[dict[str, Any]], steps: int, step_s: float) -> None:
    """Keep each way's time per step, bytes and losses; the common loss is the least that all have reached."""
    common, p, pairs = max(min(look["loss"] for look in row["curve"]) for row in rows), run.size, []
    for row in rows:
        took, schedule = row["curve"][-1]["seconds"], row["schedule"]
        expected = _predicted(run, schedule, steps, step_s)
        pairs.append((expected, took))
        degree = 2 * (p - 1) / p if schedule is None else float(np.mean([m.graph.degree for m in schedule]))
        each = None if expected is None else expected / steps
        name = f"train {row['way']}"
        run.measurements.append(measured(name, p, WIRE, [took / steps], predicted=each, bytes_per_rank=degree * WIRE))
    run.extra["curves"] = {row["way"]: row["curve"] for row in rows}
    run.extra["common_loss"] = {"loss": common, "seconds": {row["way"]: _when(row["curve"], common) for row in rows}}
    judge(run, "times of training", pairs)


if __name__ == "__main__":
    main()
