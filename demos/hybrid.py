"""Hybrid: the dense part of a model all-reduced, its embedding table hash-sharded over parameter servers.

    mpirun -n 16 python -m demos.hybrid --servers 4

            rows of the batch            dense gradients
    servers <---------------> workers  <----- ring ----->  workers
     table / k each            embed -> mean -> hidden -> yes or no

A table that fits on no worker stays on the servers: each worker pulls only the rows that its batch touches and
pushes only their gradients. Prints what that saves against a copy of the table on every worker, whose gradient
would be all-reduced; the result is checked against the same training in one process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import emulator
from demos._lib import docstrings
from demos._lib.docstrings import Example
from demos._lib.formulas import slowest_path
from emulator import costs
from emulator.errors import UsageError
from emulator.run.options import TIME, demo
from emulator.run.session import Run
from primitives.collectives.all_reduce import all_reduce
from primitives.parameter_server import SGD, ParameterServer, Summary, Table, Worker

Array = NDArray[np.float64]
WIDTH, HIDDEN = 16, 32
DENSE = WIDTH * HIDDEN + HIDDEN + HIDDEN + 1
EXAMPLES = 1500  # of each label
LIMIT = 1e-9  # difference from the one-process run: sums are in another order


@dataclass(frozen=True)
class Setup:
    """Sizes and rates of the training; `table_rate` and `dense_rate` are learning rates."""

    servers: int
    rows: int
    steps: int
    batch: int
    step_s: float
    table_rate: float = 20.0
    dense_rate: float = 0.5

    def table(self) -> Table:
        """The embedding table; every row starts from its own key, so that no rank needs all of it."""
        return Table("embedding", self.rows, WIDTH, update=SGD(self.table_rate), initial=embeddings, placement="hash")


def embeddings(keys: NDArray[np.int64]) -> Array:
    """Initial rows, small and different, from the keys alone."""
    phase = np.outer(keys % 9973 + 1.0, np.arange(1, WIDTH + 1))
    return 0.1 * np.sin(phase)


def dense_start() -> Array:
    """Initial dense parameters: W1, b1, w2, b2 in one vector."""
    dense = np.random.default_rng(1).normal(size=DENSE) * 0.5
    dense[WIDTH * HIDDEN : WIDTH * HIDDEN + HIDDEN] = 0
    return dense


def forward_backward(dense: Array, table: Array, keys: NDArray[np.int64], batch: list[Example]) -> Any:
    """Mean cross-entropy of a batch, and its gradients: of the dense part, and of the rows.

    `table` has the rows of the sorted distinct `keys`, shape (keys, WIDTH).
    """
    w1 = dense[: WIDTH * HIDDEN].reshape(WIDTH, HIDDEN)
    b1, w2, b2 = np.split(dense[WIDTH * HIDDEN :], [HIDDEN, 2 * HIDDEN])
    places = [np.searchsorted(keys, example.rows) for example in batch]
    mean = np.stack([table[place].mean(axis=0) for place in places])
    hidden = np.tanh(mean @ w1 + b1)
    chance = 1 / (1 + np.exp(-(hidden @ w2 + b2[0])))
    label = np.array([example.label for example in batch])
    loss = -np.log(np.where(label == 1, chance, 1 - chance) + 1e-300).mean()
    d_out = (chance - label) / len(batch)
    d_hidden = np.outer(d_out, w2) * (1 - hidden**2)
    d_mean = d_hidden @ w1.T
    d_rows = np.zeros_like(table)
    for place, gradient in zip(places, d_mean, strict=True):
        d_rows[place] += gradient / len(place)
    gradient = np.concatenate([(mean.T @ d_hidden).ravel(), d_hidden.sum(axis=0), hidden.T @ d_out, [d_out.sum()]])
    return float(loss), gradient, d_rows


def batch_of(examples: list[Example], rank: int, step: int, size: int) -> tuple[list[Example], NDArray[np.int64]]:
    """A worker's batch and the distinct rows that it touches."""
    chosen = np.random.default_rng((rank, step)).integers(0, len(examples), size)
    batch = [examples[i] for i in chosen]
    return batch, np.unique(np.concatenate([example.rows for example in batch]))


@demo("hybrid", needs=2)
@click.option("--servers", type=click.IntRange(min=1), default=1, show_default=True, help="The first ranks serve.")
@click.option("--rows", type=click.IntRange(min=1), default=1 << 18, show_default=True, help="Of the embedding table.")
@click.option("--steps", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Examples per worker.")
@click.option("--step-time", type=TIME, default="2 ms", show_default=True, help="Declared computing per iteration.")
def main(run: Run, servers: int, rows: int, steps: int, batch: int, step_time: float) -> None:
    if servers >= run.size:
        raise UsageError(f"--servers must leave a rank to work, got {servers} of {run.size} ranks: start more ranks")
    setup = Setup(servers, rows, steps, batch, step_time)
    corpus = run.control.bcast(docstrings.load(rows, EXAMPLES) if run.rank == 0 else None)
    workers = list(range(servers, run.size))
    ps = ParameterServer(run.comm, [setup.table()], servers=servers)
    ring = run.comm.Split(0 if run.rank in workers else 1, run.rank)
    run.control.Barrier()
    outcome = ps.run(lambda worker: train(run, setup, worker, ring, corpus[run.rank - servers :: len(workers)]))
    seen = run.control.gather((outcome, ps.owned("embedding"), ps.summary()))
    if seen is not None:
        conclude(run, setup, workers, corpus, seen)


def train(run: Run, setup: Setup, worker: Worker, ring: Any, mine: list[Example]) -> tuple[Array, float, list[float]]:
    """Train on a worker; returns its dense parameters, the seconds it took and its losses."""
    dense, losses, count = dense_start(), [], ring.Get_size()
    batch, keys = batch_of(mine, worker.rank, 0, setup.batch)
    pull = worker.pull_async("embedding", keys)
    begin = emulator.now(run.comm)
    for step in range(setup.steps):
        loss, gradient, d_rows = forward_backward(dense, pull.wait(), keys, batch)
        emulator.compute(run.comm, setup.step_s)
        worker.push("embedding", d_rows / count, keys, closes=True)
        batch, keys = batch_of(mine, worker.rank, step + 1, setup.batch)
        pull = worker.pull_async("embedding", keys)  # under way while the dense part goes round the ring
        dense -= setup.dense_rate * all_reduce(ring, gradient / count, algorithm="ring")
        losses.append(loss)
    pull.wait()
    return dense, emulator.now(run.comm) - begin, losses


def one_process(setup: Setup, workers: list[int], corpus: list[Example]) -> tuple[Array, Array, list[float]]:
    """The same training without messages, with the whole table in one place."""
    dense, table, losses = dense_start(), embeddings(np.arange(setup.rows)), []
    parts = [corpus[i :: len(workers)] for i in range(len(workers))]
    for step in range(setup.steps):
        d_dense, d_table, total = np.zeros_like(dense), np.zeros_like(table), 0.0
        for rank, mine in zip(workers, parts, strict=True):
            batch, keys = batch_of(mine, rank, step, setup.batch)
            loss, gradient, d_rows = forward_backward(dense, table[keys], keys, batch)
            d_dense += gradient / len(workers)
            d_table[keys] += d_rows / len(workers)
            total += loss / len(workers)
        dense -= setup.dense_rate * d_dense
        table -= setup.table_rate * d_table
        losses.append(total)
    return dense, table, losses


def conclude(run: Run, setup: Setup, workers: list[int], corpus: list[Example], seen: list[Any]) -> None:
    """Check against one process, and keep losses and traffic."""
    outcomes = [one for one, _, _ in seen if one is not None]
    table = np.empty((setup.rows, WIDTH))
    for _, (keys, values), _ in seen:
        table[keys] = values
    dense, _, _ = outcomes[0]
    expected_dense, expected_table, expected = one_process(setup, workers, corpus)
    apart = max(np.abs(dense - expected_dense).max(), np.abs(table - expected_table).max())
    if not apart <= LIMIT:
        run.fail(f"parameters differ from the one-process run by {apart:.1e}")
    run.extra |= {
        "loss": np.mean([losses for _, _, losses in outcomes], axis=0), "one_process_loss": expected,
        "check": {"apart": apart, "limit": LIMIT},
        "setup": {"documents": len(corpus), "workers": len(workers), "servers": setup.servers, "rows": setup.rows,
                  "width": WIDTH, "table_bytes": table.nbytes},
        "traffic": _traffic(run, setup, len(workers), table.nbytes, sum((one for _, _, one in seen), Summary())),
        "step_seconds": max(seconds for _, seconds, _ in outcomes) / setup.steps,
    }  # fmt: skip


def _traffic(run: Run, setup: Setup, count: int, table: int, summary: Summary) -> dict[str, Any]:
    """Bytes in and out of a worker's port per step, beside those of a replicated table, and that one's time."""
    share = 2 * costs.terms("ring", count).volume  # of n, in and out of every port
    sparse = summary.worker_bytes / sum(summary.clocks.values())
    dense, replicated = share * DENSE * 8, share * (DENSE * 8 + table)
    ring = None
    if run.network is not None and count > 1:
        ring = costs.seconds("ring", count, DENSE * 8 + table, *slowest_path(run)) + setup.step_s
    saved = replicated / (sparse + dense) if count > 1 else 0.0
    return {"sparse": sparse, "dense": dense, "replicated": replicated, "saved": saved, "replicated_seconds": ring}


if __name__ == "__main__":
    main()
