"""Training with parameter servers: servers hold the model, every worker computes its shards of each batch.

A worker that dies is left out (`continue`): the others go on without its shards of the batch. A server that dies is
replaced by the next replica of its shards (`replicate`): nothing is lost, and workers send again what no reply
has confirmed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from faults.drill.job_spec import JobSpec
from faults.drill.training import DATA, Training, digest
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns import work
from faults.record.journal import What
from faults.recover.exclusion import Route, routing
from primitives.parameter_server import SGD, Consistency, Momentum, ParameterServer, Table
from primitives.parameter_server import Worker as Client

BALLAST = "ballast"


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Train for `spec.steps` iterations of every worker, synchronously (bsp)."""
    training = Training(np.load(folder / DATA), shards=spec.options["shards"], seed=spec.seed)
    servers = spec.policy.replicas
    workers = range(servers, spec.ranks)
    with routing(job_comm(spec, tools), tools) as route:
        route.need("worker", workers)
        route.need("server", range(servers))
        table = Table(
            "model",
            training.parameters,
            update=Momentum(training.rate, training.momentum),
            initial=training.begin()["weights"],
        )
        load = work.ballast(spec.options["ballast"])
        tables = [table, *([Table(BALLAST, load.size, update=SGD(1.0))] if load.size else [])]
        service = ParameterServer(
            route.comm, tables, servers=servers, consistency=Consistency("bsp"), replicas=servers,
            on_failure=lambda failure: _look(route, failure, service),
        )  # fmt: skip
        if route.rank in workers:
            found = service.run(_stepper(route, training, spec.steps, workers, load, servers))
            assert found is not None
            final, wrong = found
            return {
                "place": route.rank,
                "role": "worker",
                "steps": spec.steps,
                "digest": digest({"weights": final}),
                "wrong": wrong,
            }
        route.follow(workers)
        service.run(lambda worker: None)
        return {"place": route.rank, "role": "server", "shards": _applied(service, spec.steps, load)}


def _look(route: Route, failure: MPI.Exception | None, service: ParameterServer) -> set[int]:
    """The dead ranks; the new primary of a shard journals that it has taken it over."""
    dead, layout = route.look(failure), service.layout
    if service.server is None or dead <= layout.dead:
        return dead
    for shard in service.server.shards:
        before = layout.chain(shard)
        if before[0] in dead and next((rank for rank in before if rank not in dead), None) == route.rank:
            route.drill.journal.write(What.TOOK_OVER, shard=shard, whom=before[0])
    return dead


def _stepper(
    route: Route, training: Training, steps: int, workers: range, load: np.ndarray, shards: int
) -> Callable[[Client], tuple[np.ndarray, int]]:
    """Make a worker's loop (pull, compute its shards, push), returning the model and the count of damaged ballasts."""
    own = training.own(route.rank - workers.start, len(workers))

    def train(worker: Client) -> tuple[np.ndarray, int]:
        wrong = 0
        for step in route.steps(steps):
            if work.loaded(load.nbytes, step):
                # All of a shard has seen the same pushes, of which a death may have kept one from the other shard.
                wrong += np.unique(worker.pull(BALLAST)).size > shards
                worker.push(BALLAST, load)
            weights = worker.pull("model")
            with route.drill.computing():
                parts = training.gradients(weights, step, own)[:, :-1]
            total = np.add.reduce(parts, axis=0) if own else np.zeros(training.parameters)
            worker.push("model", total / training.batch, closes=True)
        return worker.pull("model"), wrong

    return train


def _applied(service: ParameterServer, steps: int, load: np.ndarray) -> list[dict[str, Any]]:
    """Each shard's part of the model, its bits, and how many steps of each worker took effect, for the oracle."""
    assert service.server is not None
    last = np.cumsum([1 + work.loaded(load.nbytes, step) for step in range(steps)])  # push of each step
    return [
        {
            "shard": index,
            "first": int(shard.parts[0].keys[0]),
            "last": int(shard.parts[0].keys[-1]) + 1,
            "applied": {
                str(worker): int(np.searchsorted(last, pushes, side="right"))
                for worker, pushes in shard.applied.items()
            },
            "digest": digest({"values": shard.parts[0].values, "velocity": shard.parts[0].state[0]}),
        }
        for index, shard in service.server.shards.items()
    ]
