"""Click prediction as a case study: an embedding table that is sharded over servers, and workers that touch few rows.

    mpirun -n 8 python -m demos.cases.recommendation --net 25gbe
    python -m demos.design drill demos/cases/recommendation.toml -n 8

The first ranks are parameter servers that hold the table by hash of the key, each with its Adagrad state; the others
are workers with clicks of their own. In a step a worker pulls the rows that its clicks touch, computes, and pushes
their gradients. The dense weights go by all-reduce where steps are synchronous (a barrier costs nothing then), and by
the servers where they are not. In the drill a server is killed for real and its backup takes over; then a checkpoint of
the backup's shards rebuilds the lost replica.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import emulator
from demos._lib import case, clicks, screen
from demos._lib.timing import begin_together
from emulator import costs
from emulator.design import pricing
from emulator.design.model import design_of
from emulator.design.sheet import Sheet
from emulator.errors import UsageError
from emulator.run.options import demo
from emulator.run.session import Run
from faults.checkpoint.store import Store
from faults.drill.job_spec import JobSpec
from faults.inject.drill_context import DrillContext
from faults.patterns.catalogue import Pattern
from faults.plan.grammar import parse
from faults.recover.exclusion import routing
from primitives.collectives.all_reduce import all_reduce
from primitives.parameter_server import SGD, Adagrad, Consistency, ParameterServer, Table, Worker
from primitives.parameter_server.shard import Shard
from primitives.parameter_server.table import Part

Array = NDArray[np.float64]
RANKS, WHY = 4, "two servers, so that a shard has a replica, and two workers, so that one can be slower"
SERVERS = 2
BATCH, STEPS, RACE = 64, 80, 24  # clicks of a step; steps of a worker, and with a straggler
DENSE_RATE, RATE = 0.5, 0.15
STEP_S = 5e-3  # declared computing of a step in the demo
SLOW = 4.0  # times as long for the straggler, the last rank
TOLERANCE = 1e-9  # of a weight against the one-process run: an all-reduce adds in another order


@dataclass(frozen=True)
class Training:
    """One way to train; `slow` has factors on the computing time by rank."""

    name: str
    rule: Consistency
    dense: str  # "all-reduce" or "servers"
    steps: int = STEPS
    until_s: float | None = None  # end after so many seconds instead
    step_s: float = STEP_S
    slow: dict[int, float] = field(default_factory=dict)
    servers: int = SERVERS
    replicas: int = 1

    def tables(self, data: clicks.Clicks) -> list[Table]:
        """The embedding table, and the dense weights where servers hold them."""
        own = Table("table", data.rows, data.width, update=Adagrad(RATE), placement="hash",
                    initial=lambda keys: clicks.initial(data.seed, data.width, keys))  # fmt: skip
        return [own, *([Table("dense", data.dense, update=SGD(DENSE_RATE))] if self.dense == "servers" else [])]


@dataclass
class Seen:
    """What a worker saw: (end of a step in s, loss of its clicks before it trained on them, the generator's loss)."""

    steps: list[tuple[float, float, float]]
    dense: Array


def learn(worker: Worker, comm: Any, group: Any, data: clicks.Clicks, how: Training, begin: float) -> Seen:
    """A worker's steps: pull the touched rows, compute, push their gradients."""
    dense, total, seen = np.zeros(data.dense), np.zeros(data.dense), Seen([], np.zeros(0))
    truth = data.truth
    while worker.clock < how.steps if how.until_s is None else emulator.now(comm) - begin < how.until_s:
        batch = data.batch(worker.rank, worker.clock, BATCH)
        keys = batch.keys.ravel()
        if how.dense == "servers":
            dense = worker.pull("dense")
        rows = worker.pull("table", keys).reshape(*batch.keys.shape, data.width)
        losses = clicks.loss(dense, rows, batch), clicks.loss(truth[0], truth[1][batch.keys], batch)
        by_dense, by_rows = clicks.gradient(dense, rows, batch)
        by_dense, by_rows = by_dense / len(worker.layout.workers), by_rows / len(worker.layout.workers)
        emulator.compute(comm, how.step_s * how.slow.get(worker.rank, 1.0))
        if how.dense == "servers":
            worker.push("dense", by_dense)
        else:
            all_reduce(group, by_dense, total)
            dense -= DENSE_RATE * total
        worker.push("table", by_rows.reshape(-1, data.width), keys, closes=True)
        seen.steps.append((emulator.now(comm) - begin, *losses))
    seen.dense = dense
    return seen


@dataclass
class Trained:
    """What came of a training; complete on rank 0."""

    dense: Array
    table: Array
    steps: list[tuple[float, float, float]]  # of all workers, by time
    worker_bytes: float  # sent and received by a worker in a step
    staleness: int

    def loss(self, data: clicks.Clicks) -> float:
        """On clicks that no worker trained on."""
        held_out = data.batch(clicks.HELD_OUT, 0, 4000)
        return clicks.loss(self.dense, self.table[held_out.keys], held_out)

    def reached(self, excess: float, window: int = 30) -> float | None:
        """When the loss above the generator's, over the last `window` steps of all workers, fell to `excess`."""
        over = np.array([mine - least for _, mine, least in self.steps])
        means = np.convolve(over, np.ones(window) / window, "valid")
        below = np.flatnonzero(means <= excess)
        return self.steps[int(below[0]) + window - 1][0] if below.size else None


def train(run: Run, data: clicks.Clicks, how: Training) -> Trained:
    """Train on all ranks; collective."""
    group = run.comm.Split(int(run.rank >= how.servers), run.rank)
    service = ParameterServer(
        run.comm, how.tables(data), servers=how.servers, consistency=how.rule, replicas=how.replicas
    )  # fmt: skip
    begin = run.control.bcast(begin_together(run))
    seen = service.run(lambda worker: learn(worker, run.comm, group, data, how, begin))
    group.Free()
    owned = {table.name: service.owned(table.name) for table in how.tables(data)}
    gathered = run.control.gather((owned, seen, service.summary()))
    weights = {"table": np.empty((data.rows, data.width)), "dense": np.empty(data.dense)}
    if gathered is None:
        return Trained(weights["dense"], weights["table"], [], 0.0, 0)
    for name, values in weights.items():
        for parts, *_ in gathered:
            if name in parts:
                values[parts[name][0]] = parts[name][1]
    learned = [one for _, one, _ in gathered if one is not None]
    steps = sorted(step for one in learned for step in one.steps)
    moved = sum(summary.worker_bytes for *_, summary in gathered) / len(steps)
    stale = max(summary.staleness.largest for *_, summary in gathered)
    return Trained(learned[0].dense if how.dense == "all-reduce" else weights["dense"], weights["table"], steps,
                   moved, stale)  # fmt: skip


def scaled(sheet: Sheet, ranks: int) -> Sheet:
    """The design with this case's table, as many servers to a worker as in the sheet, and its time of a worker.

    Beside an all-reduce there are two servers: without pacing a single one waits in emulated order, until its patience
    ends, for a worker that waits for another one in the all-reduce.
    """
    data, asked = clicks.Clicks(), design_of(sheet).servers
    nodes = pricing.chosen_nodes(sheet, pricing.predict(sheet))
    servers = max(1 if _dense(sheet) == "servers" else 2, round(ranks * asked / (asked + nodes)))
    table = {"bytes": 8 * data.rows * data.width, "rows": data.rows, "row_bytes": 8 * data.width,
             "touched": data.distinct(BATCH), "skew": 0.0, "servers": servers}  # fmt: skip
    dense = {"bytes": 8 * data.dense} | ({"servers": servers} if _dense(sheet) == "servers" else {})
    return case.cut(sheet, ranks - servers, dense=dense, table=table)


def _dense(sheet: Sheet) -> str:
    """How the sheet exchanges the dense weights."""
    summed = any(flow.of == "dense" and flow.pattern == "all-reduce" for flow in sheet.communication)
    return "all-reduce" if summed else "servers"


def data(control: MPI.Intracomm, sheet: Sheet) -> clicks.Clicks:
    """The generator of the clicks: every worker draws its own."""
    return clicks.Clicks()


def timed(comm: MPI.Intracomm, sheet: Sheet, data: clicks.Clicks, steps: case.Steps) -> case.Ends:
    """Steps of the training by the sheet's consistency, dense weights by the pattern that it gives them."""
    assert sheet.consistency is not None
    kind = {"synchronous": "bsp", "bounded": "ssp"}.get(sheet.consistency.model or "", "async")
    servers = design_of(sheet).servers
    workers = comm.Get_size() - servers
    seconds = sheet.job.t_comp / workers * steps.factors(workers)
    rule = Consistency(kind, sheet.consistency.bound if kind == "ssp" else 0)
    how = Training("", rule, _dense(sheet), steps.count, servers=servers)
    group = comm.Split(int(comm.Get_rank() >= servers), comm.Get_rank())
    service = ParameterServer(comm, how.tables(data), servers=servers, consistency=how.rule)

    def work(worker: Worker) -> case.Ends:
        ends: case.Ends = []
        for amount in seconds[:, worker.rank - servers]:
            step = replace(how, steps=worker.clock + 1, step_s=float(amount))
            learn(worker, comm, group, data, step, 0.0)
            ends.append(emulator.now(comm))
        return ends

    return service.run(work) or []


@demo("cases.recommendation", needs=2)
def main(run: Run) -> None:
    """Predict clicks from a table on servers: answer, traffic, and staleness under a straggler."""
    if run.size < RANKS:
        raise UsageError(f"recommendation needs {RANKS} ranks ({WHY}), got {run.size}: give mpirun a larger -n")
    made = clicks.Clicks(run.seed)
    _answer(run, made)
    _trade(run, made)
    screen.terms(run, case.compare(run, sys.modules[__name__], case.sheet_beside(__file__, run)))


def _answer(run: Run, data: clicks.Clicks) -> None:
    """Train synchronously with replicas; hold the weights to the one-process run, and the traffic to a replica's."""
    found = train(run, data, Training("synchronous", Consistency("bsp"), "all-reduce", replicas=2))
    if run.rank:
        return
    workers = list(range(SERVERS, run.size))
    dense, table = clicks.one_process(data, workers, STEPS, BATCH, DENSE_RATE, RATE)
    off = max(float(np.abs(found.dense - dense).max()), float(np.abs(found.table - table).max()))
    held_out = data.batch(clicks.HELD_OUT, 0, 4000)
    losses = {
        "this run": found.loss(data),
        "one process": clicks.loss(dense, table[held_out.keys], held_out),
        "the generator itself": clicks.loss(data.truth[0], data.truth[1][held_out.keys], held_out),
    }
    screen.table(run, f"loss on clicks that were held out, {STEPS} steps of {len(workers)} workers",
                 {"who predicts": "name", "nats per click": "figures"}, list(losses.items()))  # fmt: skip
    screen.verdict(run, off <= TOLERANCE, f"weights differ from the one-process run by at most {off:.1e} "
                                          f"(allowed {TOLERANCE:g})")  # fmt: skip
    whole = 8.0 * data.rows * data.width
    ring = 2 * float(costs.price("ring", 0.0, 1.0, 0.0, len(workers), whole).sent)
    less = f"{ring / found.worker_bytes:.0f} times less: {data.distinct(BATCH)} of {data.rows:,} rows"
    screen.table(run, "bytes that a worker sends and receives in a step", {"table": "name", "bytes": "bytes"},
                 [["on servers, touched rows only", round(found.worker_bytes)],
                  ["replicated, all-reduced", round(ring)]],
                 [less])  # fmt: skip
    run.extra["answer"] = {"off": off, "losses": losses, "bytes": found.worker_bytes, "replicated": ring}


def _trade(run: Run, data: clicks.Clicks) -> None:
    """One straggler: how long until the same loss, by rule.

    One server holds all, dense weights as well: only then does every run on an emulated network give the same figures.
    """
    one: dict[str, Any] = {"slow": {run.size - 1: SLOW}, "servers": 1, "steps": RACE}
    first = train(run, data, Training("synchronous", Consistency("bsp"), "servers", **one))
    took = run.control.bcast(first.steps[-1][0] if first.steps else 0.0)
    ways = [
        Training("bounded 8", Consistency("ssp", 8), "servers", until_s=took, **one),
        Training("asynchronous", Consistency("async"), "servers", until_s=took, **one),
    ]
    found = {"synchronous": first} | {how.name: train(run, data, how) for how in ways}
    if run.rank:
        return
    over = [mine - least for _, mine, least in first.steps]
    excess = float(np.mean(over[-60:])) * 1.02  # what the synchronous run has reached by its end
    rows: list[list[Any]] = [[name, made.reached(excess), len(made.steps), made.staleness, made.loss(data)]
                             for name, made in found.items()]  # fmt: skip
    screen.table(run, f"one worker {SLOW:g} times as slow, all rules for {took:.2f} s",
                 {"rule": "name", "to the same loss": "time", "steps": "count", "staleness": "count",
                  "loss at the end": "figures"}, rows)  # fmt: skip
    run.extra["trade"] = rows
    bound = rows[1][3]
    screen.verdict(run, bound <= 8, f"bounded: no read was more than {bound} steps stale (bound 8)")


# -- the drill: a server is killed, its backup takes over, and a checkpoint rebuilds the replica ---------


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """One rank of a synchronous training in which servers or workers die."""
    data, how = clicks.Clicks(spec.seed), Training("", Consistency("bsp"), "servers", step_s=0.0, replicas=SERVERS)
    workers = range(SERVERS, spec.ranks)
    with routing(MPI.COMM_WORLD, tools) as route:
        route.need("server", range(SERVERS))
        route.need("worker", workers)
        service = ParameterServer(route.comm, how.tables(data), servers=SERVERS, consistency=how.rule,
                                  replicas=SERVERS, on_failure=route.look)  # fmt: skip
        if route.rank in workers:

            def work(worker: Worker) -> tuple[Array, Array]:
                for step in route.steps(spec.steps):
                    learn(worker, route.comm, None, data, replace(how, steps=step + 1), 0.0)
                return worker.pull("dense"), worker.pull("table")

            found = service.run(work)
            assert found is not None
            dense, table = clicks.one_process(data, list(workers), spec.steps, BATCH, DENSE_RATE, RATE)
            off = max(float(np.abs(found[0] - dense).max()), float(np.abs(found[1] - table).max()))
            return {"place": route.rank, "off": off}
        route.follow(workers)
        service.run(lambda worker: None)
        return {"place": route.rank, "rebuilt": _rebuilt(service, how, data, folder / "checkpoint", spec.steps)}


def _rebuilt(service: ParameterServer, how: Training, data: clicks.Clicks, folder: Path, step: int) -> int:
    """Write this server's shards, with Adagrad's state, and fill a new server's from them; how many values differ."""
    assert service.server is not None
    store, names = Store(folder, f"server {service.server.rank}", keep=1), [one.name for one in how.tables(data)]
    state: dict[str, Array] = {}
    for index, shard in service.server.shards.items():
        for name, part in zip(names, shard.parts, strict=True):
            state |= {f"{name} {index} {at}": one for at, one in enumerate([part.values, *part.state])}
    store.save(step, state, 0, 1)
    read = store.load(step)
    fresh = {index: Shard(index, [Part(t, p, index) for t, p in zip(service.layout.tables, service.layout.placements,
                                                                    strict=True)], (), how.rule, True)
             for index in service.server.shards}  # fmt: skip
    differ = 0
    for index, shard in fresh.items():
        for name, part in zip(names, shard.parts, strict=True):
            for at, values in enumerate([part.values, *part.state]):
                values[:] = read[f"{name} {index} {at}"]
                differ += int(np.count_nonzero(values != state[f"{name} {index} {at}"]))
    return differ


def _matches(spec: JobSpec, folder: Path, results: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    off = [one["off"] for one in results if "off" in one]
    differ = [one["rebuilt"] for one in results if "rebuilt" in one]
    if not off or not differ:
        return False, "no worker or no server is left"
    if len(off) < spec.ranks - SERVERS:
        return not sum(differ), f"{len(off)} workers went on without the clicks of the dead"
    text = f"weights differ from one process by at most {max(off):.1e}, a replica from its checkpoint in {sum(differ)}"
    return max(off) <= TOLERANCE and not sum(differ), text


def _check(job: JobSpec) -> None:
    struck = set().union(*(parse(line).target.ranks for line in job.faults))
    if struck >= set(range(SERVERS)):
        raise UsageError(
            f"one of the {SERVERS} servers must stay whole, the faults meet all: the sheet says "
            f"replicas = {SERVERS - 1}, which survives that many"
        )


DRILL = Pattern(
    "recommendation", "a click model whose shards have replicas", ("replicate",), 40, _matches,
    "the weights of the one-process training", options={"program": "demos.cases.recommendation"}, phases={},
    transfer="", leader="server", needs_roles=True, least_ranks=RANKS, fewest=2,
    check=_check,
)  # fmt: skip


if __name__ == "__main__":
    main()
