"""A training whose every step depends on what was read before, and its one-process answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from primitives.parameter_server import SGD, Adagrad, Momentum, ParameterServer, Table, Update, Worker

ROWS, SPARSE, STEPS = 23, 40, 6
UPDATES: dict[str, Update] = {"sgd": SGD(0.1), "momentum": Momentum(0.1), "adagrad": Adagrad(0.5)}
ROLES: dict[str, dict[str, Any]] = {
    "one server": {"servers": 1},
    "two servers": {"servers": 2},
    "three servers, one worker": {"servers": 3, "workers": 1},
    "all both": {"servers": [0, 1, 2, 3], "workers": [0, 1, 2, 3]},
    "some both": {"servers": [0, 2], "workers": [1, 2, 3]},
    "one both": {"servers": [3], "workers": [3]},
}


def tables(update: str, placement: str) -> list[Table]:
    rule = UPDATES[update]
    return [
        Table("dense", ROWS, update=rule, initial=np.linspace(-1, 1, ROWS), placement=placement),
        Table("sparse", SPARSE, 3, np.float32, rule, lambda keys: keys[:, None] / 7 + np.zeros(3), "hash"),
    ]


def batch(rank: int, step: int) -> np.ndarray:
    return np.random.default_rng((rank, step)).integers(0, SPARSE, 5)


def gradients(rank: int, step: int, dense: np.ndarray, sparse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depend on what was read, so that a wrong read shows in everything after it."""
    noise = np.random.default_rng((rank, step, 1))
    return dense * 0.3 + noise.normal(size=ROWS), (sparse * 0.3 + noise.normal(size=(5, 3))).astype(np.float32)


def train(worker: Worker) -> tuple[np.ndarray, np.ndarray]:
    for step in range(STEPS):
        keys = batch(worker.rank, step)
        ahead = worker.pull_async("dense")
        sparse = worker.pull("sparse", keys)
        dense_gradient, sparse_gradient = gradients(worker.rank, step, ahead.wait(), sparse)
        worker.push("dense", dense_gradient)
        worker.push("sparse", sparse_gradient, keys, closes=True)
    return worker.pull("dense"), worker.pull("sparse")


def sequential(workers: list[int], specs: list[Table]) -> tuple[np.ndarray, np.ndarray]:
    """The same training in one process: sum the workers' gradients in rank order, then update."""
    dense = np.array(specs[0].initial)
    sparse = specs[1].initial(np.arange(SPARSE)).astype(np.float32)  # type: ignore[operator]
    states = [spec.update.state(values) for spec, values in zip(specs, (dense, sparse), strict=True)]
    for step in range(STEPS):
        sums = np.zeros_like(dense), np.zeros_like(sparse)
        touched: set[int] = set()
        for rank in workers:
            keys = batch(rank, step)
            dense_gradient, sparse_gradient = gradients(rank, step, dense, sparse[keys])
            merged = np.zeros_like(sparse)
            np.add.at(merged, keys, sparse_gradient)
            distinct = np.unique(keys)
            sums[0][:] += dense_gradient
            sums[1][distinct] += merged[distinct]
            touched.update(distinct.tolist())
        specs[0].update.apply(dense, states[0], slice(0, ROWS), sums[0])
        rows = np.array(sorted(touched))
        specs[1].update.apply(sparse, states[1], rows, sums[1][rows])
    return dense, sparse


def check_bit_equal(comm: Any, roles: str, update: str, placement: str, **options: Any) -> ParameterServer:
    specs = tables(update, placement)
    ps = ParameterServer(comm, specs, **ROLES[roles], **options)
    got = ps.run(train)
    expected = sequential(list(ps.layout.workers), specs)
    if got is not None:
        assert got[0].tobytes() == expected[0].tobytes()
        assert got[1].tobytes() == expected[1].tobytes()
    for name, whole in zip(("dense", "sparse"), expected, strict=True):
        keys, values = ps.owned(name)
        assert values.tobytes() == whole[keys].tobytes()
    return ps
