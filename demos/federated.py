"""Federated averaging with drop-outs and with clients that lie, and training with an all-reduce every H steps.

Rank 0 serves, the others are clients with a part each of scikit-learn's handwritten digits. Three questions:

* rounds over a subset of clients, some of whom drop out: which accuracy after how much time and how many bytes? The
  model is checked, bit by bit, against one process that does the same;
* some clients lie: which accuracy is left under a mean, and under robust rules?
* no server at all, and one all-reduce every H steps (DiLoCo): what does it save, and what does it cost in loss?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import click
import numpy as np

import emulator
from demos._lib import digits
from demos._lib.formulas import judge
from demos._lib.timing import affordable, begin_together, declared, live_s, measured
from emulator import costs
from emulator.errors import UsageError
from emulator.run.demo_run import Run
from emulator.run.options import SHARE, TIME, demo
from primitives.collectives.all_reduce import all_reduce
from primitives.federated.averaging import HEADER, Round, draw_clients, participate, serving
from primitives.federated.diloco import DiLoCo
from primitives.federated.rules import RULES, Aggregate, weighted_mean

SHAPE = (digits.FEATURES, digits.CLASSES)
COUNT = digits.FEATURES * digits.CLASSES
LOCAL_STEPS, BATCH, RATE = 10, 32, 0.5
STEPS = 160  # of each rank where they seldom average
GAPS = (1, 4, 16, 40)  # steps between two averages
HELD_OUT = 360  # images that no client trains on


@dataclass
class Setting:
    """Data and behaviour of all clients, so that any rank can compute any client's part for the check."""

    p: int
    seed: int
    dropout: float  # share of the asked clients that decline
    liars: int  # clients, the first ones
    declared: float  # seconds of a training
    slow: int  # clients, the last ones

    def __post_init__(self) -> None:
        images, labels = digits.load()
        self.test = images[:HELD_OUT], labels[:HELD_OUT]
        self.shards = _shards(self.p - 1)

    def absent(self, client: int, number: int) -> bool:
        """Whether a client declines a round."""
        return bool(np.random.default_rng((self.seed, 1, client, number)).random() < self.dropout)

    def seconds(self, client: int) -> float:
        """Declared time of a client's training; the last `slow` clients take ten times as long."""
        return self.declared * (10 if client >= self.p - self.slow else 1)

    def train(self, client: int, model: np.ndarray, number: int) -> tuple[np.ndarray, float]:
        """Do some local steps from `model`; the first `liars` send 10 times the opposite of what they learned."""
        shard, learned = self.shards[client - 1], model.copy()
        for step in range(number * LOCAL_STEPS, (number + 1) * LOCAL_STEPS):
            learned -= RATE * digits.batch_gradient(learned, shard, self.seed, client, step, BATCH)
        return (model - 10 * (learned - model) if client <= self.liars else learned), float(len(shard[1]))

    def score(self, model: np.ndarray) -> tuple[float, float]:
        """Loss and accuracy on the held-out images."""
        weights = model.reshape(SHAPE)
        return digits.loss(weights, *self.test), digits.accuracy(weights, *self.test)


@cache
def _shards(clients: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each client's images and labels, read only, so that simulated ranks share them."""
    images, labels = (part[HELD_OUT:] for part in digits.load())
    return [(images[k::clients], labels[k::clients]) for k in range(clients)]


@demo("federated", needs=3, sizes="5200")
@click.option("--rounds", "count", type=click.IntRange(1), default=20, show_default=True)
@click.option("--clients", type=click.IntRange(1), help="Clients asked in each round; absent: half of them.")
@click.option("--dropout", type=SHARE, default="20 %", show_default=True, help="Share of asked clients that decline.")
@click.option(
    "--liars",
    type=click.IntRange(0),
    help="Clients that send false models in the second comparison; absent: as many as Krum tolerates.",
)
@click.option(
    "--deadline",
    type=TIME,
    help="Time after which a round ends without the clients that have not answered; absent: wait for all.",
)
@click.option("--slow", type=click.IntRange(0), default=0, show_default=True, help="Clients ten times as slow.")
@click.option(
    "--step-time",
    type=TIME,
    default="1 ms",
    show_default=True,
    help="Declared time of a training or DiLoCo step on an emulated network with --compute none.",
)
def main(
    run: Run, count: int, clients: int | None, dropout: float, liars: int | None, deadline: float | None, slow: int,
    step_time: float,
) -> None:  # fmt: skip
    """Train federated, with drop-outs and liars, and with rare communication.

    mpirun -n 16 python -m demos.federated --net home
    """
    others = run.size - 1
    asked = max(1, others // 2) if clients is None else clients
    liars = max(0, RULES["krum"].most_liars(others)) if liars is None else liars
    most = max(rule.most_liars(others) for rule in RULES.values())
    if liars > most:
        raise UsageError(
            f"no rule tolerates {liars} liars among {others} clients (the honest must outnumber them): at most {most}"
        )
    if others > digits.IMAGES - HELD_OUT:
        raise UsageError(f"the data have {digits.IMAGES - HELD_OUT} images to train on, fewer than one for each of "
                         f"{others} clients: start fewer ranks")  # fmt: skip
    if asked > others:
        raise UsageError(f"--clients lies between 1 and the {others} clients there are, got {asked}")
    if dropout >= 1:
        raise UsageError(f"--dropout lies in [0 %, 100 %), got {100 * dropout:g} %: a client must take part")
    if slow > others:
        raise UsageError(f"--slow lies between 0 and the {others} clients, got {slow}")
    setting = Setting(run.size, run.seed, dropout, 0, declared(run, step_time), slow)
    rows, model = _federate(run, setting, count, asked, weighted_mean, deadline)
    if run.rank == 0:
        _keep_rounds(run, rows, setting.declared if not slow else None, 8 * (HEADER + COUNT))
        if deadline is None:
            _check(run, setting, model, count, asked)
    run.show()
    _lie(run, setting, count, liars)
    run.show()
    _seldom(run, setting)


def _federate(
    run: Run, setting: Setting, count: int, asked: int, aggregate: Aggregate, deadline: float | None = None,
) -> tuple[list[dict[str, Any]], np.ndarray]:  # fmt: skip
    """Do the rounds; the server returns one row for each, and the model."""
    begin = begin_together(run)
    rows: list[dict[str, Any]] = []
    model = np.zeros(COUNT)
    if run.rank > 0:
        participate(run.comm, partial(_client, run, setting))
        return rows, model
    with serving(
        run.comm, model, per_round=asked, aggregate=aggregate, deadline_s=deadline, seed=run.seed
    ) as server:  # fmt: skip
        for _ in range(count):
            record = server.round()
            loss, accuracy = setting.score(server.model)
            rows.append({"record": record, "at": run.now() - begin, "loss": loss, "accuracy": accuracy})
        return rows, server.model


def _client(run: Run, setting: Setting, model: np.ndarray, number: int) -> tuple[np.ndarray, float] | None:
    if setting.absent(run.rank, number):
        return None
    if setting.declared:
        emulator.compute(run.comm, setting.seconds(run.rank))
    return setting.train(run.rank, model, number)


def _check(run: Run, setting: Setting, model: np.ndarray, count: int, asked: int) -> None:
    """Compute all clients' parts in one process: the model must have the same bits."""
    alone = np.zeros(COUNT)
    for number in range(count):
        drawn = draw_clients(list(range(1, run.size)), asked, run.seed, number)
        answers = [setting.train(c, alone, number) for c in drawn if not setting.absent(c, number)]
        if answers:
            alone = weighted_mean(np.array([m for m, _ in answers]), np.array([w for _, w in answers]))
    wrong = int((alone != model).sum())
    run.extra["check"] = {"wrong": wrong, "weights": COUNT}
    if wrong:
        run.fail(f"the federated model must equal the one-process model, {wrong} weights differ")


def _lie(run: Run, setting: Setting, count: int, liars: int) -> None:
    """Run all rules with all clients in every round, the first few lying: one row for each rule."""
    rows = []
    each = live_s(run, 2 * len(RULES) * (run.size - 1) * (2 + LOCAL_STEPS * digits.GRADIENT))
    if count * each > run.budget / 2:
        asked, count = count, max(1, int(run.budget / 2 / each))
        run.warn(f"rules were compared after {count} rounds: --budget {run.budget:g} is too short for all {asked}")
    for rule in RULES.values():
        accuracy: list[Any] = []
        for number in sorted({0, liars}):
            expected = number if rule.tolerates else 0
            if expected > rule.most_liars(run.size - 1):
                accuracy.append(None)
                continue
            lying = replace(setting, dropout=0.0, liars=number, slow=0)
            seen, _ = _federate(run, lying, count, run.size - 1, rule.tolerating(expected))
            accuracy.append(seen[-1]["accuracy"] if seen else 0.0)
        rows.append({"rule": rule.name, "liars": liars, "accuracy": accuracy})
        honest, lied = accuracy[0], accuracy[-1]
        if run.rank == 0 and rule.tolerates and liars and lied is not None and lied < honest - 0.1:
            run.warn(f"{rule.name} loses {100 * (honest - lied):.0f} % accuracy to {liars} liars")
    run.extra["liars"] = rows


def _seldom(run: Run, setting: Setting) -> None:
    """Train with the same number of local steps, with an all-reduce after every 1, 4, 16, 40 of them."""
    shard = setting.shards[run.rank % (run.size - 1)]

    def inner(model: np.ndarray, step: int) -> np.ndarray:
        if setting.declared:
            emulator.compute(run.comm, setting.declared)
        return model - RATE * digits.batch_gradient(model, shard, run.seed, run.rank, step, BATCH)

    def mean(vector: np.ndarray) -> np.ndarray:
        return all_reduce(run.comm, vector, algorithm="ring") / run.size

    rows = []
    for gap in _affordable(run):
        begin = begin_together(run)
        plain = gap == 1  # every step: synchronous data-parallel SGD, the thing to compare with
        outer = DiLoCo(np.zeros(COUNT), mean, lr=1.0 if plain else 0.7, momentum=0.0 if plain else 0.5)
        for _ in range(STEPS // gap):
            outer.round(inner, gap)
        took = max(run.control.allgather(run.now() - begin))
        same = len(set(run.control.allgather(outer.model.tobytes()))) == 1
        loss, accuracy = setting.score(outer.model)
        row = {"every": gap, "rounds": STEPS // gap, "seconds": took, "loss": loss, "accuracy": accuracy, "same": same}
        if run.rank == 0:
            rows.append(_keep_seldom(run, row, 8 * COUNT, setting.declared))
    run.extra |= {"diloco": rows, "steps": STEPS}


def _affordable(run: Run) -> list[int]:
    """Those of `GAPS` whose all-reduces a simulation of many ranks can do in half of its budget."""
    costs_s = [live_s(run, run.size * (STEPS * digits.GRADIENT + STEPS // gap * 2 * (run.size - 1))) for gap in GAPS]
    kept = affordable(reversed([*zip(GAPS, costs_s, strict=True)]), run.budget / 2)
    if dropped := [gap for gap in GAPS if gap not in kept]:
        run.warn(f"left out: an all-reduce every {', '.join(map(str, dropped))} steps on {run.size} ranks, "
                 f"for which --budget {run.budget:g} is too short")  # fmt: skip
    return kept[::-1]


def _keep_rounds(run: Run, rows: list[dict[str, Any]], training: float | None, n: int) -> None:
    """Add the rounds, of a model of n bytes with its header, to the result and compare their times with the formula.

    `training` is in seconds, that of every client; None where clients differ, so that no formula holds.
    """
    kept = [
        {**vars(row["record"]), "at": row["at"], "loss": row["loss"], "accuracy": row["accuracy"],
         "predicted": _round_time(run, row["record"], training, n)}
        for row in rows
    ]  # fmt: skip
    asked = len(kept[0]["asked"])
    closed = None
    if run.network is not None and training is not None:
        path = run.network.between(0, 1)
        closed = training + costs.seconds("federated", asked, n, path.alpha, path.beta)
    run.measurements.append(
        measured("federated round", asked + 1, n, [one["seconds"] for one in kept], predicted=closed)
    )
    run.extra["rounds"] = kept
    if not any(one["late"] for one in kept):
        judge(run, "federated rounds", [(one["predicted"], one["seconds"]) for one in kept])


def _round_time(run: Run, record: Round, training: float | None, n: int) -> float | None:
    """A round followed message by message; with all clients taking part this is 2 alpha + (m + 1) n beta + training."""
    if run.network is None or training is None:
        return None
    path = run.network.between(0, 1)
    down: list[list[tuple[int, int]]] = [[] for _ in range(run.size)]
    up: list[list[tuple[int, int]]] = [[] for _ in range(run.size)]
    down[0] = [(c, n) for c in record.asked]
    for client in record.asked:
        up[client] = [(0, n if client in record.answered else 8 * HEADER)]
    return costs.timeline([down, up], path.alpha, path.beta) + (training if record.answered else 0.0)


def _keep_seldom(run: Run, row: dict[str, Any], n: int, declared: float) -> dict[str, Any]:
    """Record one gap between all-reduces of n bytes, with the bytes each rank moved and the predicted time."""
    row["bytes_per_rank"] = 2 * (run.size - 1) / run.size * n * row["rounds"]
    row["predicted"] = None
    if run.network is not None:
        path = run.network.between(0, 1)
        each = costs.exact("ring", run.size, n // 8, 8, path.alpha, path.beta)
        row["predicted"] = row["rounds"] * each + STEPS * declared
    if not row["same"]:
        run.fail(f"with H = {row['every']} the ranks' models must be equal bit by bit, they are not")
    return row


if __name__ == "__main__":
    main()
