"""Click prediction: the generator, the model, and the training on servers beside one process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demos._lib.cases import click_training, clicks
from demos._lib.cases.click_training import BATCH, DENSE_RATE, RATE, SERVERS, Learner, Training
from demos.cases import recommendation
from faults.checkpoint.store import Store
from faults.drill.training import digest
from primitives.parameter_server import Consistency, ParameterServer, Worker
from primitives.parameter_server.placement import place
from tests.demos.launched import refuse_simulated
from tests.simulated import on_simulated_ranks

SMALL = clicks.Clicks(3, rows_each=200)


def _steps(worker: Worker, comm: Any, group: Any, count: int) -> Learner:
    learner = Learner(worker, comm, group, SMALL)
    for step in range(count):
        learner.step(step, 0.0)
    return learner


@on_simulated_ranks(6, net="25gbe", dense=["all-reduce", "servers"], replicas=[1, 2])
def test_synchronous_weights_are_those_of_one_process(comm: Any, dense: str, replicas: int) -> None:
    how = Training(Consistency("bsp"), dense, replicas=replicas)
    group, service = how.workers_of(comm), how.service(comm, SMALL)
    found = service.run(lambda worker: _steps(worker, comm, group if dense == "all-reduce" else None, 6))
    by_dense, table = clicks.one_process(SMALL, list(range(SERVERS, 6)), 6, BATCH, DENSE_RATE, RATE)
    keys, values = service.owned("table")
    assert np.allclose(values, table[keys], rtol=0, atol=1e-9)
    assert (len(keys) > 0) == (comm.Get_rank() < SERVERS)
    if found is not None and dense == "all-reduce":
        assert np.allclose(found.dense, by_dense, rtol=0, atol=1e-9)


@on_simulated_ranks(6, net="25gbe")
def test_a_worker_moves_its_touched_rows_and_nothing_else(comm: Any) -> None:
    service = Training(Consistency("bsp"), "servers").service(comm, SMALL)
    service.run(lambda worker: _steps(worker, comm, None, 4))
    if service.worker is not None:
        rank = comm.Get_rank()
        rows = [len(np.unique(SMALL.batch(rank, step, BATCH).keys)) for step in range(4)]
        least = sum(rows) * 2 * 8 * SMALL.width  # every row once each way
        assert least < service.summary().worker_bytes < 1.3 * least + 4 * 4096


@on_simulated_ranks(4)
def test_a_replica_filled_from_a_checkpoint_goes_on_as_the_first(comm: Any) -> None:
    how = Training(Consistency("bsp"), "servers", replicas=2)
    first = how.service(comm, SMALL)
    first.run(lambda worker: _steps(worker, comm, None, 3))
    written = comm.bcast(first.server.shards[0].arrays() | first.server.shards[1].arrays() if first.server else None)
    kept = {name: array.copy() for name, array in written.items()}
    second = ParameterServer(comm, how.tables(SMALL), servers=[1, 2], workers=[2, 3], consistency=how.rule, replicas=2)
    recommendation.fill(second, kept)

    def work(worker: Worker) -> None:
        learner = Learner(worker, comm, None, SMALL)
        for step in range(3, 6):
            learner.step(step, 0.0)

    second.run(work)
    _, table = clicks.one_process(SMALL, [2, 3], 6, BATCH, DENSE_RATE, RATE)
    keys, values = second.owned("table")
    assert np.allclose(values, table[keys], rtol=0, atol=1e-9)
    assert (len(keys) > 0) == (comm.Get_rank() in (1, 2))


def test_keys_are_zipf_and_clicks_follow_the_generator() -> None:
    data = clicks.Clicks(1)
    batch = data.batch(0, 0, 20_000)
    first = np.bincount(batch.keys[:, 0], minlength=10)[:8]
    expected = 20_000 * np.arange(1, 9) ** -data.skew / (np.arange(1, data.rows_each + 1) ** -data.skew).sum()
    assert np.allclose(first, expected, rtol=0.15)
    odds = clicks.loss(*(data.truth[0], data.truth[1][batch.keys]), batch)
    assert odds == batch.least
    share = batch.clicked.mean()
    assert odds < -(share * np.log(share) + (1 - share) * np.log(1 - share)) - 0.05
    clicks._drawn.cache_clear()
    again = data.batch(0, 0, 20_000)
    assert np.array_equal(again.keys, batch.keys)


def test_the_gradient_is_that_of_the_loss() -> None:
    data = clicks.Clicks(2, rows_each=50)
    batch = data.batch(0, 0, 7)
    draw = np.random.default_rng(0)
    dense, rows = draw.standard_normal(data.dense), draw.standard_normal((7, data.fields, data.width))
    by_dense, by_rows, loss = clicks.gradient(dense, rows, batch)
    assert loss == clicks.loss(dense, rows, batch)
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
    trained = click_training.TrainingResult(np.zeros(0), np.zeros(0), steps)
    assert trained.reached(0.0, window=3) == 7.0
    assert trained.reached(0.5, window=2) == 5.0
    assert trained.reached(-1.0, window=2) is None


def test_the_drill_is_held_to_one_process_its_checkpoint_and_its_replicas(tmp_path: Path) -> None:
    job: Any = SimpleNamespace(ranks=4, steps=3, seed=0)
    dense, table = clicks.one_process(clicks.Clicks(0), [2, 3], 3, BATCH, DENSE_RATE, RATE)
    weights = {"table": table, "dense": dense}
    arrays = {f"{name} {shard} 0": weights[name][place(kind, len(weights[name]), SERVERS).keys(shard)]
              for name, kind in (("table", "hash"), ("dense", "range")) for shard in range(SERVERS)}  # fmt: skip
    store = Store(tmp_path / "checkpoint", "recommendation", keep=1)
    store.save(3, arrays, 0, 1)
    replicas = {"weights": None, "shards": {"0": "a", "1": "b"}}
    worker = {"weights": digest(weights), "shards": {}}
    good = [replicas, worker | {"shards": {"0": "a", "1": "b"}}, worker]
    matches = recommendation.DRILL.matches
    assert matches(job, tmp_path, good)[0]
    assert matches(job, tmp_path, good[:2])[0]  # a worker died
    assert not matches(job, tmp_path, [replicas, worker, worker])[0]  # the shards have one replica
    assert not matches(job, tmp_path, [good[0] | {"shards": {"0": "a", "1": "c"}}, *good[1:]])[0]
    assert not matches(job, tmp_path, [*good[:2], worker | {"weights": "other"}])[0]
    store.save(3, {name: array + 1e-3 for name, array in arrays.items()}, 0, 1)
    assert not matches(job, tmp_path, good)[0]


def test_a_drill_leaves_a_server_whole() -> None:
    from emulator.errors import UsageError
    from faults.drill.request import Request

    def recovery(*lines: str, ranks: int = 6) -> str:
        return Request("recommendation", ranks, lines, options=recommendation.DRILL.options).spec().recovery

    for second in ("1 @ step 9", "1 @ time 50 ms"):
        with pytest.raises(UsageError, match=r"one of the 2 servers must survive between .*replicas = 1"):
            recovery("kill 0 @ step 3", f"kill {second}")
    with pytest.raises(UsageError, match=r"one worker \(ranks 2 to 3\) must survive"):
        recovery("kill 2 @ step 3", "kill 3 @ step 9", ranks=4)
    assert recovery("kill 0 @ step 3", "kill 1 @ step 10") == "replicate"
    assert recovery("kill 1 @ step 3", "kill 4 @ step 9") == "replicate"


FEWEST = {"recommendation": "two servers", "federated": "no rule tolerates a liar", "swarm": "two halves"}


@pytest.mark.parametrize("name", FEWEST)
def test_too_few_ranks_are_told_how_many_and_why(name: str) -> None:
    line = refuse_simulated(f"cases.{name}", 3, "")
    assert f"{name} needs at least 4 ranks (" in line
    assert FEWEST[name] in line
