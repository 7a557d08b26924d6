"""Click prediction: the generator, the model, and the training on servers beside one process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demos._lib import clicks
from demos.cases import recommendation
from demos.cases.recommendation import DENSE_RATE, RATE, SERVERS, Training
from primitives.parameter_server import Consistency, ParameterServer
from tests.demos.launched import run_demo
from tests.ranks import on_ranks

SMALL = clicks.Clicks(3, rows_each=200)


@on_ranks(6, net="25gbe", dense=["all-reduce", "servers"], replicas=[1, 2])
def test_synchronous_weights_are_those_of_one_process(comm: Any, dense: str, replicas: int) -> None:
    how = Training("", Consistency("bsp"), dense, steps=6, step_s=0.0, replicas=replicas)
    group = comm.Split(int(comm.Get_rank() >= SERVERS), comm.Get_rank())
    service = ParameterServer(comm, how.tables(SMALL), servers=SERVERS, consistency=how.rule, replicas=replicas)
    found = service.run(lambda worker: recommendation.learn(worker, comm, group, SMALL, how, 0.0))
    by_dense, table = clicks.one_process(SMALL, list(range(SERVERS, 6)), 6, recommendation.BATCH, DENSE_RATE, RATE)
    keys, values = service.owned("table")
    assert np.allclose(values, table[keys], rtol=0, atol=1e-9)
    assert (len(keys) > 0) == (comm.Get_rank() < SERVERS)
    if found is not None and dense == "all-reduce":
        assert np.allclose(found.dense, by_dense, rtol=0, atol=1e-9)


@on_ranks(6, net="25gbe")
def test_a_worker_moves_its_touched_rows_and_nothing_else(comm: Any) -> None:
    how = Training("", Consistency("bsp"), "servers", steps=4, step_s=0.0)
    service = ParameterServer(comm, how.tables(SMALL), servers=SERVERS, consistency=how.rule)
    service.run(lambda worker: recommendation.learn(worker, comm, None, SMALL, how, 0.0))
    if service.worker is not None:
        rank = comm.Get_rank()
        rows = [len(np.unique(SMALL.batch(rank, step, recommendation.BATCH).keys)) for step in range(4)]
        least = sum(rows) * 2 * 8 * SMALL.width  # every row once each way
        assert least < service.summary().worker_bytes < 1.3 * least + 4 * 4096


def test_keys_are_zipf_and_clicks_follow_the_generator() -> None:
    data = clicks.Clicks(1)
    batch = data.batch(0, 0, 20_000)
    first = np.bincount(batch.keys[:, 0], minlength=10)[:8]
    expected = 20_000 * np.arange(1, 9) ** -data.skew / (np.arange(1, data.rows_each + 1) ** -data.skew).sum()
    assert np.allclose(first, expected, rtol=0.15)
    odds = clicks.loss(*(data.truth[0], data.truth[1][batch.keys]), batch)
    share = batch.clicked.mean()
    assert odds < -(share * np.log(share) + (1 - share) * np.log(1 - share)) - 0.05
    again = data.batch(0, 0, 20_000)
    assert np.array_equal(again.keys, batch.keys)


def test_the_gradient_is_that_of_the_loss() -> None:
    data = clicks.Clicks(2, rows_each=50)
    batch = data.batch(0, 0, 7)
    draw = np.random.default_rng(0)
    dense, rows = draw.standard_normal(data.dense), draw.standard_normal((7, data.fields, data.width))
    by_dense, by_rows = clicks.gradient(dense, rows, batch)
    for index in ((0, 0, 0), (3, 1, 4), (6, 3, 7)):
        up, down = rows.copy(), rows.copy()
        up[index] += 1e-6
        down[index] -= 1e-6
        slope = (clicks.loss(dense, up, batch) - clicks.loss(dense, down, batch)) / 2e-6
        assert by_rows[index] == pytest.approx(slope, abs=1e-7)
    step = 1e-6 * np.eye(data.dense)[3]
    slope = (clicks.loss(dense + step, rows, batch) - clicks.loss(dense - step, rows, batch)) / 2e-6
    assert by_dense[3] == pytest.approx(slope, abs=1e-7)


def test_first_rows_depend_on_their_key_only_and_spread_evenly() -> None:
    whole = clicks.initial(5, 8, np.arange(1000))
    assert np.array_equal(clicks.initial(5, 8, np.array([7, 990])), whole[[7, 990]])
    assert abs(whole.mean()) < 0.002
    assert whole.min() >= -0.05 <= whole.max() <= 0.05
    assert len(np.unique(whole)) == whole.size


def test_it_learns_towards_the_generator() -> None:
    data = clicks.Clicks(0)
    held_out = data.batch(clicks.HELD_OUT, 0, 4000)
    losses = []
    for steps in (2, 80):
        dense, table = clicks.one_process(data, [2, 3, 4], steps, 64, DENSE_RATE, RATE)
        losses.append(clicks.loss(dense, table[held_out.keys], held_out))
    assert losses[1] < losses[0] - 0.03
    assert losses[1] > clicks.loss(data.truth[0], data.truth[1][held_out.keys], held_out)


def test_the_time_to_a_loss_is_when_the_mean_of_the_last_steps_reaches_it() -> None:
    steps = [(float(t), 1.0 if t < 5 else 0.0, 0.0) for t in range(10)]
    trained = recommendation.Trained(np.zeros(0), np.zeros(0), steps, 0.0, 0)
    assert trained.reached(0.0, window=3) == 7.0
    assert trained.reached(0.5, window=2) == 5.0
    assert trained.reached(-1.0, window=2) is None


def test_the_drill_is_held_to_one_process_and_its_checkpoint() -> None:
    job: Any = SimpleNamespace(ranks=4, steps=40)
    good: list[dict[str, Any]] = [{"place": 1, "rebuilt": 0}, {"place": 2, "off": 1e-12}, {"place": 3, "off": 1e-12}]
    matches = recommendation.DRILL.matches
    assert matches(job, Path(), good)[0]
    assert not matches(job, Path(), [good[0] | {"rebuilt": 2}, *good[1:]])[0]
    assert not matches(job, Path(), [*good[:2], {"place": 3, "off": 1e-3}])[0]
    assert not matches(job, Path(), good[1:])[0]


def test_a_drill_leaves_a_server_whole() -> None:
    from emulator.errors import UsageError
    from faults.drill.request import Request
    from faults.patterns.catalogue import CATALOGUE

    CATALOGUE["recommendation"] = recommendation.DRILL
    try:
        with pytest.raises(UsageError, match=r"one of the 2 servers must stay whole.* replicas = 1"):
            Request("recommendation", 6, ["kill 0 @ step 3", "kill 1 @ step 9"]).spec()
        assert Request("recommendation", 6, ["kill 1 @ step 3", "kill 4 @ step 9"]).spec().recovery == "replicate"
    finally:
        del CATALOGUE["recommendation"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [("recommendation", "two servers"), ("federated", "no rule bears a liar"), ("swarm", "two halves")],
)
def test_too_few_ranks_are_told_how_many_and_why(name: str, rule: str, tmp_path: Path) -> None:
    done = run_demo(f"cases.{name}", 3, tmp_path)
    lines = [line for line in done.text.splitlines() if line.startswith("error:")]
    assert done.status == 2
    assert len(lines) == 1
    assert f"{name} needs 4 ranks (" in lines[0]
    assert rule in lines[0]
