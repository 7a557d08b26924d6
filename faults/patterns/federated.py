"""Federated averaging: clients train on data that they keep, a server averages what they send.

A client that dies, hangs or is late is left out of the round (`continue`); one that lies is outvoted by a robust rule.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from faults.conditions import carrier
from faults.instruments import Instruments
from faults.job import JobSpec
from faults.recover.route import Route, routing
from faults.training import DATA, Training, digest
from primitives.federated import robust
from primitives.federated.averaging import SERVER, participate, serving, weighted_mean
from primitives.peers import Peers

MODEL = "model.npy"


def run(spec: JobSpec, folder: Path, tools: Instruments) -> dict[str, Any]:
    """Do `spec.steps` rounds with all clients; the server writes the final model into the folder."""
    training = Training(np.load(folder / DATA), seed=spec.seed)
    with routing(carrier(spec, tools), tools) as route:
        peers = Peers(route.comm, on_failure=route.lost)
        if route.rank == SERVER:
            return _serve(spec, folder, training, route, peers)
        rounds = participate(peers, _client(training, route))
    return {"place": route.rank, "role": "client", "rounds": rounds}


def _serve(spec: JobSpec, folder: Path, training: Training, route: Route, peers: Peers) -> dict[str, Any]:
    rule, liars = spec.options["rule"], spec.options["liars"]
    aggregate = weighted_mean if rule == "mean" else lambda rows, weights: robust.RULES[rule](rows, liars)
    answered: list[list[int]] = []
    begin = training.begin()["weights"]
    with serving(peers, begin, aggregate=aggregate, deadline_s=spec.options["deadline_s"]) as server:
        for _ in route.steps(spec.steps):
            done = server.round()
            answered.append([] if done.void else done.answered)
    np.save(folder / MODEL, server.model)
    return {
        "place": SERVER,
        "role": "server",
        "steps": spec.steps,
        "answered": answered,
        "digest": digest({"model": server.model}),
    }


def _client(training: Training, route: Route) -> Any:
    clients = route.size - 1

    def train(model: np.ndarray, number: int) -> tuple[np.ndarray, float]:
        route.tools.working_on(number)
        route.look()  # a client hears from the server only, and would never know that another one died
        began = time.thread_time()
        trained = training.locally(model, route.rank - 1, clients, number)
        if route.tools.injector is None:
            return trained, 1.0
        route.tools.injector.drag(time.thread_time() - began)
        change = trained - model
        said = route.tools.injector.spoken(change)  # a liar lies about what it found, not about what it was sent
        return (trained if said is change else model + said), 1.0

    return train
