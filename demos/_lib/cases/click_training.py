"""Training a click model with parameter servers: a worker's step, a whole training, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emulator
from demos._lib.cases import clicks
from demos._lib.timing import begin_together
from emulator.run.demo_run import Run
from primitives.collectives.all_reduce import all_reduce
from primitives.parameter_server import SGD, Adagrad, Consistency, ParameterServer, Table, Worker

Array = NDArray[np.float64]
SERVERS = 2
BATCH, STEPS = 64, 80  # clicks of a step; steps of a worker
DENSE_RATE, RATE = 0.5, 0.15
STEP_S = 5e-3  # declared computing of a step


@dataclass(frozen=True)
class Training:
    """A configuration of the training.

    Attributes
    ----------
    dense : how the dense weights are exchanged: ``"all-reduce"`` between workers, or ``"servers"``
    steps, until_s : steps of a worker; with `until_s` it ends after so many seconds instead
    step_s, slow : declared computing of a step, and factors on it by rank
    """

    rule: Consistency
    dense: str
    steps: int = STEPS
    until_s: float | None = None
    step_s: float = STEP_S
    slow: dict[int, float] = field(default_factory=dict)
    servers: int = SERVERS
    replicas: int = 1

    def tables(self, data: clicks.Clicks) -> list[Table]:
        """The embedding table, and the dense weights if servers hold them."""
        own = Table("table", data.rows, data.width, update=Adagrad(RATE), placement="hash",
                    initial=lambda keys: clicks.initial(data.seed, data.width, keys))  # fmt: skip
        return [own, *([Table("dense", data.dense, update=SGD(DENSE_RATE))] if self.dense == "servers" else [])]

    def service(self, comm: Any, data: clicks.Clicks) -> ParameterServer:
        """The servers and workers on the ranks of `comm`."""
        return ParameterServer(
            comm, self.tables(data), servers=self.servers, consistency=self.rule, replicas=self.replicas
        )

    def workers_of(self, comm: Any) -> Any:
        """A communicator of only the workers, for their all-reduce; collective over `comm`."""
        return comm.Split(int(comm.Get_rank() >= self.servers), comm.Get_rank())


@dataclass
class Learner:
    """A worker with its clicks.

    Attributes
    ----------
    group : communicator of the workers, for the all-reduce of the dense weights; None where servers hold these
    dense : the dense weights that it used last
    seen : of each step: its end in seconds, the loss of its clicks before it trained on them, the generator's loss
    """

    worker: Worker
    comm: Any
    group: Any
    data: clicks.Clicks
    dense: Array = field(init=False)
    seen: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dense = np.zeros(self.data.dense)

    def step(self, number: int, seconds: float) -> None:
        """Pull the rows of the step's clicks, compute, push their gradients."""
        worker, data, workers = self.worker, self.data, len(self.worker.layout.workers)
        batch = data.batch(worker.rank, number, BATCH)
        keys = batch.keys.ravel()
        if self.group is None:
            self.dense = worker.pull("dense")
        rows = worker.pull("table", keys).reshape(*batch.keys.shape, data.width)
        by_dense, by_rows, loss = clicks.gradient(self.dense, rows, batch)
        by_dense, by_rows = by_dense / workers, by_rows / workers
        emulator.compute(self.comm, seconds)
        if self.group is None:
            worker.push("dense", by_dense)
        else:
            total = np.empty_like(by_dense)
            worker.away()
            all_reduce(self.group, by_dense, total)
            self.dense -= DENSE_RATE * total
        worker.push("table", by_rows.reshape(-1, data.width), keys, closes=True)
        self.seen.append((emulator.now(self.comm), loss, batch.least))


@dataclass
class TrainingResult:
    """The result of a training; complete on rank 0.

    Attributes
    ----------
    steps : (end in s, loss before it, the generator's loss) of all workers' steps, by time
    worker_bytes : sent and received by a worker in a step
    staleness : steps by which a read was stale at most
    """

    dense: Array
    table: Array
    steps: list[tuple[float, float, float]]
    worker_bytes: float = 0.0
    staleness: int = 0

    def loss(self, data: clicks.Clicks) -> float:
        """The loss on clicks with which no worker trained."""
        held_out = data.batch(clicks.HELD_OUT, 0, 4000)
        return clicks.loss(self.dense, self.table[held_out.keys], held_out)

    def reached(self, excess: float, window: int = 30) -> float | None:
        """When the loss above the generator's, over the last `window` steps of all workers, fell to `excess`."""
        over = np.array([mine - least for _, mine, least in self.steps])
        means = np.convolve(over, np.ones(window) / window, "valid")
        below = np.flatnonzero(means <= excess)
        return self.steps[int(below[0]) + window - 1][0] if below.size else None


def train(run: Run, data: clicks.Clicks, how: Training) -> TrainingResult:
    """Train on all ranks; collective."""
    group = how.workers_of(run.comm)
    service = how.service(run.comm, data)
    begin = run.control.bcast(begin_together(run))

    def work(worker: Worker) -> Learner:
        learner = Learner(worker, run.comm, group if how.dense == "all-reduce" else None, data)
        while worker.clock < how.steps if how.until_s is None else emulator.now(run.comm) - begin < how.until_s:
            learner.step(worker.clock, how.step_s * how.slow.get(worker.rank, 1.0))
        return learner

    learner = service.run(work)
    group.Free()
    seen = None if learner is None else ([(end - begin, *losses) for end, *losses in learner.seen], learner.dense)
    owned = {table.name: service.owned(table.name) for table in how.tables(data)}
    gathered = run.control.gather((owned, seen, service.summary()))
    weights = {"table": np.empty((data.rows, data.width)), "dense": np.empty(data.dense)}
    if gathered is None:
        return TrainingResult(weights["dense"], weights["table"], [])
    for name, values in weights.items():
        for parts, *_ in gathered:
            if name in parts:
                values[parts[name][0]] = parts[name][1]
    learned = [one for _, one, _ in gathered if one is not None]
    steps = sorted(step for of_worker, _ in learned for step in of_worker)
    moved = sum(summary.worker_bytes for *_, summary in gathered) / len(steps)
    stale = max(summary.staleness.largest for *_, summary in gathered)
    return TrainingResult(learned[0][1] if how.dense == "all-reduce" else weights["dense"], weights["table"], steps,
                   moved, stale)  # fmt: skip
