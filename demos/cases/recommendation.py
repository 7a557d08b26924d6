"""Click prediction as a case study: an embedding table sharded over servers, and workers that touch few rows.

    mpirun -n 8 python -m demos.cases.recommendation --net 25gbe
    python -m demos.design drill demos/cases/recommendation.toml -n 8

The first ranks are parameter servers that hold the table by hash of the key, each with its Adagrad state; the others
are workers with clicks of their own. In a step a worker pulls the rows that its clicks touch, computes, and pushes
their gradients. The dense weights go by all-reduce where steps are synchronous (a barrier costs nothing then), and by
the servers where they are not. In the drill a server is killed for real and its backup takes over; from the next
checkpoint another rank fills its place, and every shard has two replicas again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from demos._lib.cases import case, clicks, output, terms
from demos._lib.cases.click_training import BATCH, DENSE_RATE, RATE, SERVERS, STEPS, Learner, Training, train
from emulator import costs
from emulator.design.model import design_of
from emulator.design.prices import pricing
from emulator.design.sheets.sheet import Sheet
from emulator.errors import UsageError
from emulator.run.demo_run import Run
from emulator.run.options import demo
from faults.checkpoint.part import Slice
from faults.checkpoint.store import Store
from faults.drill.job_spec import JobSpec
from faults.drill.training import digest
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns.catalogue import Pattern
from faults.plan.grammar import parse
from faults.recover.exclusion import Route, routing
from primitives.parameter_server import Consistency, ParameterServer, Worker
from primitives.parameter_server.placement import place

Array = NDArray[np.float64]
RANKS, WHY = 4, "two servers, so that a shard has a replica, and two workers, so that one can be slower"
RACE = 24  # steps of a worker beside a straggler
SLOW = 4.0  # times as long for the straggler, the last rank
TOLERANCE = 1e-9  # of a weight against the one-process run: an all-reduce adds in another order
EVERY = 10  # steps between checkpoints of the drill


def scaled(sheet: Sheet, ranks: int) -> Sheet:
    """The design with this case's table, and the sheet's ratio of servers to workers and compute time of a worker."""
    data, asked = clicks.Clicks(), design_of(sheet).servers
    nodes = pricing.chosen_nodes(sheet, pricing.predict(sheet))
    servers = max(1, round(ranks * asked / (asked + nodes)))
    table = {"bytes": 8 * data.rows * data.width, "rows": data.rows, "row_bytes": 8 * data.width,
             "touched": data.distinct(BATCH), "skew": 0.0, "servers": servers}  # fmt: skip
    dense = {"bytes": 8 * data.dense} | ({"servers": servers} if _dense(sheet) == "servers" else {})
    return case.cut(sheet, ranks - servers, dense=dense, table=table)


def _dense(sheet: Sheet) -> str:
    """How the sheet exchanges the dense weights."""
    summed = any(flow.of == "dense" and flow.pattern == "all-reduce" for flow in sheet.communication)
    return "all-reduce" if summed else "servers"


def data(control: MPI.Intracomm, sheet: Sheet) -> clicks.Clicks:
    """The generator of clicks; every worker draws its own."""
    return clicks.Clicks()


def timed(comm: MPI.Intracomm, sheet: Sheet, data: clicks.Clicks, steps: case.Steps) -> case.Ends:
    """Run training steps with the sheet's consistency, and the dense weights by its pattern."""
    assert sheet.consistency is not None
    kind = {"synchronous": "bsp", "bounded": "ssp"}.get(sheet.consistency.model or "", "async")
    rule = Consistency(kind, sheet.consistency.bound if kind == "ssp" else 0)
    how = Training(rule, _dense(sheet), servers=design_of(sheet).servers)
    workers = comm.Get_size() - how.servers
    seconds = sheet.job.t_comp / workers * steps.factors(workers)
    group = how.workers_of(comm)

    def work(worker: Worker) -> case.Ends:
        learner = Learner(worker, comm, group if how.dense == "all-reduce" else None, data)
        for number, amount in enumerate(seconds[:, worker.rank - how.servers].tolist()):
            learner.step(number, amount)
        return [end for end, *_ in learner.seen]

    return how.service(comm, data).run(work) or []


@demo("cases.recommendation", needs=RANKS, why=WHY)
def main(run: Run) -> None:
    """Predict clicks from a table on servers: answer, traffic, and staleness under a straggler."""
    made = clicks.Clicks(run.seed)
    _answer(run, made)
    _trade(run, made)
    output.terms(run, terms.compare(run, sys.modules[__name__], case.sheet_beside(__file__, run)))


def _answer(run: Run, data: clicks.Clicks) -> None:
    """Train synchronously with replicas; compare the weights with one process, and the traffic with a replica's."""
    steps = case.fewer(STEPS, run.size, 24)
    found = train(run, data, Training(Consistency("bsp"), "all-reduce", steps, replicas=2))
    if run.rank:
        return
    workers = list(range(SERVERS, run.size))
    dense, table = clicks.one_process(data, workers, steps, BATCH, DENSE_RATE, RATE)
    off = max(float(np.abs(found.dense - dense).max()), float(np.abs(found.table - table).max()))
    held_out = data.batch(clicks.HELD_OUT, 0, 4000)
    losses = {
        "this run": found.loss(data),
        "one process": clicks.loss(dense, table[held_out.keys], held_out),
        "the generator itself": held_out.least,
    }
    output.table(run, f"loss on clicks that were held out, {steps} steps of {len(workers)} workers",
                 {"who predicts": "name", "nats per click": "figures"}, list(losses.items()))  # fmt: skip
    output.verdict(run, off <= TOLERANCE, f"weights differ from the one-process run by at most {off:.1e} "
                                          f"(allowed {TOLERANCE:g})")  # fmt: skip
    whole = 8.0 * data.rows * data.width
    ring = 2 * float(costs.price("ring", 0.0, 1.0, 0.0, len(workers), whole).sent)
    less = f"{ring / found.worker_bytes:.0f} times less: {data.distinct(BATCH)} of {data.rows:,} rows"
    output.table(run, "bytes that a worker sends and receives in a step", {"table": "name", "bytes": "bytes"},
                 [["on servers, touched rows only", round(found.worker_bytes)],
                  ["replicated, all-reduced", round(ring)]],
                 [less])  # fmt: skip
    run.extra["answer"] = {"off": off, "losses": losses, "bytes": found.worker_bytes, "replicated": ring}


def _trade(run: Run, data: clicks.Clicks) -> None:
    """With one straggler, the time to the same loss by rule.

    One server holds all, dense weights as well: only then does every run on an emulated network give the same figures.
    """
    one: dict[str, Any] = {"slow": {run.size - 1: SLOW}, "servers": 1, "steps": case.fewer(RACE, run.size, 8)}
    first = train(run, data, Training(Consistency("bsp"), "servers", **one))
    took = run.control.bcast(first.steps[-1][0] if first.steps else 0.0)
    rules = {"bounded 8": Consistency("ssp", 8), "asynchronous": Consistency("async")}
    found = {"synchronous": first} | {
        name: train(run, data, Training(rule, "servers", until_s=took, **one)) for name, rule in rules.items()
    }
    if run.rank:
        return
    over = [mine - least for _, mine, least in first.steps]
    excess = float(np.mean(over[-60:])) * 1.02  # what the synchronous run has reached by its end
    rows: list[list[Any]] = [[name, made.reached(excess), len(made.steps), made.staleness, made.loss(data)]
                             for name, made in found.items()]  # fmt: skip
    output.table(run, f"one worker {SLOW:g} times as slow, all rules for {took:.2f} s",
                 {"rule": "name", "to the same loss": "time", "steps": "count", "staleness": "count",
                  "loss at the end": "figures"}, rows)  # fmt: skip
    run.extra["trade"] = rows
    bound = rows[1][3]
    output.verdict(run, bound <= 8, f"bounded: no read was more than {bound} steps stale (bound 8)")


# -- the drill: a server is killed, its backup takes over, and a checkpoint rebuilds the replica ---------


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Run one rank of a synchronous training in which servers or workers die.

    Between two checkpoints a dead server's backup answers alone. At the next one a worker takes the dead one's place
    beside its own work, and reads the shards that it is to keep.
    """
    data, how = clicks.Clicks(spec.seed), Training(Consistency("bsp"), "servers", replicas=SERVERS)
    servers, workers = list(range(SERVERS)), list(range(SERVERS, spec.ranks))
    ends = [*range(EVERY, spec.steps, EVERY), spec.steps]
    weights: dict[str, Array] = {}
    with routing(job_comm(spec, tools), tools, stages=len(ends)) as route:
        store, steps = _store(folder), route.steps(spec.steps)
        if route.rank in servers:
            route.follow(workers)

        def work(worker: Worker) -> dict[str, Array]:
            learner = Learner(worker, route.comm, None, data)
            for step in islice(steps, end - begin):
                learner.step(step, 0.0)
            return {name: worker.pull(name) for name in ("table", "dense")} if end == spec.steps else {}

        for begin, end in zip([0, *ends], ends, strict=False):
            route.need("server", servers)
            route.need("worker", workers)
            service = ParameterServer(
                route.comm, how.tables(data), servers=servers, workers=workers, consistency=how.rule,
                replicas=min(SERVERS, len(servers)), on_failure=route.look,
            )  # fmt: skip
            if begin:
                fill(service, store.load(begin))
            weights = service.run(work) or weights
            living = _checkpoint(route, service, store, end)
            workers = [rank for rank in workers if rank in living]
            servers = [rank for rank in dict.fromkeys((*servers, *workers)) if rank in living][:SERVERS]
            if end < spec.steps:
                route.renew()
        for _ in steps if route.rank in workers else ():  # commits the last step
            pass
    shards = service.server.shards if service.server else {}
    return {"place": route.rank, "weights": digest(weights) if weights else None,
            "shards": {str(index): digest(shard.arrays()) for index, shard in shards.items()}}  # fmt: skip


def _store(folder: Path) -> Store:
    return Store(folder / "checkpoint", "recommendation", keep=1)


def _checkpoint(route: Route, service: ParameterServer, store: Store, step: int) -> list[int]:
    """Let each living server write the shards that it heads, again if one dies meanwhile; returns the living ranks."""
    living: list[int] = []
    while living != (found := route.agree()):
        living = found
        service.layout.dead.update(route.dead)
        writers = [rank for rank in service.layout.servers if rank in living]
        if service.server is not None:
            own = [shard for index, shard in service.server.shards.items()
                   if service.layout.chain(index)[0] == route.rank]  # fmt: skip
            arrays = {name: array for shard in own for name, array in shard.arrays().items()}
            slices = {name: Slice(array.reshape(-1), 0, array.size, array.shape) for name, array in arrays.items()}
            store.save_slices(step, slices, writers.index(route.rank), len(writers))
    return living


def fill(service: ParameterServer, arrays: Mapping[str, Array]) -> None:
    """Fill this server's shards with the values and Adagrad's state from a checkpoint."""
    for shard in service.server.shards.values() if service.server is not None else ():
        for name, array in shard.arrays().items():
            array[:] = arrays[name]


def _matches(spec: JobSpec, folder: Path, results: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Compare the last checkpoint with one process, the workers' weights with the checkpoint, and replicas."""
    data, read = clicks.Clicks(spec.seed), _store(folder).load(spec.steps)
    kept = {"table": np.empty((data.rows, data.width)), "dense": np.empty(data.dense)}
    for name, kind in (("table", "hash"), ("dense", "range")):
        placement = place(kind, len(kept[name]), SERVERS)
        for index in range(SERVERS):
            kept[name][placement.keys(index)] = read[f"{name} {index} 0"]
    pulled = {one["weights"] for one in results if one["weights"]}
    copies = [[one["shards"][str(index)] for one in results if str(index) in one["shards"]] for index in range(SERVERS)]
    whole = all(len(of) >= SERVERS and len(set(of)) == 1 for of in copies)
    text = f"every shard is on {min(map(len, copies))} servers" + (", bit by bit" if whole else "")
    if pulled != {digest(kept)}:
        return False, f"the workers' weights are not those of the checkpoint; {text}"
    if sum(bool(one["weights"]) for one in results) < spec.ranks - SERVERS:
        return whole, f"the others went on without the clicks of the dead; {text}"
    dense, table = clicks.one_process(data, list(range(SERVERS, spec.ranks)), spec.steps, BATCH, DENSE_RATE, RATE)
    off = max(float(np.abs(kept["dense"] - dense).max()), float(np.abs(kept["table"] - table).max()))
    return whole and off <= TOLERANCE, f"weights differ from one process by at most {off:.1e}; {text}"


def _check(job: JobSpec) -> None:
    """Refuse faults that leave no server between two checkpoints, or no worker."""
    struck: set[int] = set()
    servers: dict[int, set[int]] = {}  # that are struck, by the checkpoint before
    for fault in map(parse, job.faults):
        struck.update(fault.target.ranks)
        for stage in range(-(-job.steps // EVERY)) if fault.when.step is None else [fault.when.step // EVERY]:
            servers.setdefault(stage, set()).update(set(fault.target.ranks).intersection(range(SERVERS)))
    if any(len(ranks) == SERVERS for ranks in servers.values()):
        raise UsageError(
            f"at least one of the {SERVERS} servers must survive between two checkpoints (every {EVERY} steps); the "
            f"plan hits all of them: leave one out (replicas = {SERVERS - 1} survives {SERVERS - 1})"
        )
    if struck.issuperset(range(SERVERS, job.ranks)):
        raise UsageError(
            f"at least one worker (ranks {SERVERS} to {job.ranks - 1}) must survive, the plan hits all: leave one out"
        )


DRILL = Pattern(
    "recommendation", "a click model whose shards have replicas", ("replicate",), 40, _matches,
    "the weights of the one-process training", options={"program": "demos.cases.recommendation"},
    leader="server", least_ranks=RANKS, fewest=2, check=_check,
)  # fmt: skip


if __name__ == "__main__":
    main()
