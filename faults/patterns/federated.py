"""Federated averaging: clients train on their own data, a server averages the models that they send.

A client that dies, hangs or is late is left out of the round (`continue`); one that lies is outvoted by a robust rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from faults.drill.job_spec import JobSpec
from faults.drill.training import DATA, Training, digest
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns import work
from faults.recover.exclusion import Route, routing
from primitives.federated import rules
from primitives.federated.averaging import SERVER, participate, serving
from primitives.peers import Peers

MODEL = "model.npy"
_SLOWEST = 1e7  # bytes per second with which the ballast is given time to travel
_ROUNDING = 1e-9


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Do `spec.steps` rounds with all clients; the server writes the final model into the folder."""
    training = Training(np.load(folder / DATA), seed=spec.seed)
    with routing(job_comm(spec, tools), tools) as route:
        peers = Peers(route.comm, on_failure=route.lost)
        if route.rank == SERVER:
            return _serve(spec, folder, training, route, peers)
        rounds = participate(peers, _client(training, route))
    return {"place": route.rank, "role": "client", "rounds": rounds}


def _serve(spec: JobSpec, folder: Path, training: Training, route: Route, peers: Peers) -> dict[str, Any]:
    aggregate = rules.of(spec.options["rule"]).tolerating(spec.options["liars"])
    answered: list[list[int]] = []
    begin = np.concatenate([training.begin()["weights"], work.ballast(spec.options["ballast"])])
    deadline_s = spec.options["deadline_s"] + spec.options["ballast"] * spec.ranks / _SLOWEST
    with serving(peers, begin, aggregate=aggregate, deadline_s=deadline_s) as server:
        for _ in route.steps(spec.steps):
            done = server.round()
            answered.append([] if done.void else done.answered)
    model, load = np.split(server.model, [training.parameters])
    np.save(folder / MODEL, model)
    return {
        "place": SERVER,
        "role": "server",
        "steps": spec.steps,
        "answered": answered,
        "digest": digest({"model": model}),
        "wrong": int((np.abs(load - 1.0) > _ROUNDING).sum()),
    }


def _client(training: Training, route: Route) -> Any:
    clients = route.size - 1

    def train(model: np.ndarray, number: int) -> tuple[np.ndarray, float]:
        route.drill.working_on(number)
        route.look()  # a client hears from the server only, and would never know that another one died
        trained = model.copy()  # the ballast after the weights is sent back unchanged
        weights, begin = trained[: training.parameters], model[: training.parameters]
        with route.drill.computing():
            weights[:] = training.locally(begin, route.rank - 1, clients, number)
        change = weights - begin
        said = route.drill.falsified(change)  # a liar lies about what it found, not about what it was sent
        if said is not change:
            weights[:] = begin + said
        return trained, 1.0

    return train
