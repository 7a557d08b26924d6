"""Softmax regression trained through a parameter server, and the same training in one process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emulator
from demos._lib import digits
from demos._lib.timing import begin_together
from emulator.run.demo_run import Run
from primitives.parameter_server import SGD, Consistency, ParameterServer, Summary, Table, Worker

Array = NDArray[np.float64]
SNAPSHOTS = 12


@dataclass(frozen=True)
class Task:
    """A configuration of the training: ranks, steps, rates and declared times."""

    servers: int  # the first ranks serve, the others work
    steps: int  # iterations of each worker
    step_s: float  # declared computing of one iteration, in seconds
    slow: dict[int, float] = field(default_factory=dict)  # factors on it by rank
    rate: float = 0.5
    batch: int = 32  # images per worker and iteration
    seed: int = 0  # of the batches
    placement: str = "range"
    until_s: float | None = None  # stop after this many seconds instead of `steps` iterations
    options: dict[str, Any] = field(default_factory=dict)  # of `ParameterServer`

    def table(self) -> Table:
        """The weights, one row for each pixel."""
        return Table("w", digits.FEATURES, digits.CLASSES, update=SGD(self.rate), placement=self.placement)


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training; complete on rank 0 only."""

    weights: Array  # final ones, from the servers
    seconds: float  # from the first start to the last worker's end
    # (seconds, the worker's iterations, weights that it read) of the first worker that is not slowed down
    history: list[tuple[float, int, Array]]
    summary: Summary  # of all ranks
    waited: list[float]  # seconds that each worker waited in its training (leaving not counted)

    def rates(self) -> dict[str, float]:
        """Iterations per second of all workers, share of time they waited for replies, bytes per iteration."""
        steps = sum(self.summary.clocks.values())
        waiting = sum(self.waited) / (self.seconds * len(self.waited))
        bytes_per_step = self.summary.worker_bytes / steps
        return {"steps_per_second": steps / self.seconds, "waiting": waiting, "bytes_per_step": bytes_per_step}


def train(run: Run, task: Task, rule: Consistency) -> TrainingResult:
    """Train on all ranks of `run`, as servers and workers. Collective."""
    comm = run.comm
    ps = ParameterServer(comm, [task.table()], servers=task.servers, consistency=rule, **task.options)
    workers = list(ps.layout.workers)
    shard = digits.share(run.control, workers)
    begin = run.control.bcast(begin_together(run))
    history: list[tuple[float, int, Array]] = []
    every = max(1, task.steps // SNAPSHOTS)

    def work(worker: Worker) -> tuple[float, float]:
        pull = worker.pull_async("w")
        while worker.clock < task.steps if task.until_s is None else emulator.now(comm) - begin < task.until_s:
            weights = pull.wait()
            if worker.clock % every == 0:
                history.append((emulator.now(comm) - begin, worker.clock, weights))
            gradient = _gradient(task, weights, shard, worker.rank, worker.clock, len(workers))
            emulator.compute(comm, task.step_s * task.slow.get(worker.rank, 1.0))
            pull = worker.push_pull("w", gradient)
        pull.wait()
        return emulator.now(comm) - begin, worker.channel.waited

    return _gather(run, task, ps, ps.run(work), history)


def _gradient(task: Task, weights: Array, shard: tuple[Any, Any], rank: int, step: int, workers: int) -> Array:
    return digits.batch_gradient(weights, shard, task.seed, rank, step, task.batch) / workers


def _gather(
    run: Run, task: Task, ps: ParameterServer, took: tuple[float, float] | None, history: list[Any]
) -> TrainingResult:
    seen = run.control.gather((ps.owned("w"), took, history, ps.summary()))
    weights = np.empty((digits.FEATURES, digits.CLASSES))
    if seen is None:
        return TrainingResult(weights, 0.0, history, ps.summary(), [])
    for (keys, values), *_ in seen:
        weights[keys] = values
    steady = next((rank for rank in ps.layout.workers if task.slow.get(rank, 1.0) <= 1), ps.layout.workers[0])
    summary = sum((one[3] for one in seen), Summary())
    times = [one[1] for one in seen if one[1] is not None]
    return TrainingResult(
        weights, max(took for took, _ in times), seen[steady][2], summary, [waited for _, waited in times]
    )


def one_process(task: Task, workers: list[int]) -> Array:
    """Train without messages: in every iteration all workers' gradients in rank order, then one update."""
    images, labels = digits.load()
    parts = [(images[i :: len(workers)].copy(), labels[i :: len(workers)].copy()) for i in range(len(workers))]
    weights = np.zeros((digits.FEATURES, digits.CLASSES))
    rule = task.table().update
    for step in range(task.steps):
        total = np.zeros_like(weights)
        for rank, shard in zip(workers, parts, strict=True):
            total += _gradient(task, weights, shard, rank, step, len(workers))
        rule.apply(weights, [], slice(0, len(weights)), total)
    return weights
