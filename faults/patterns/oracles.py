"""The oracle of each pattern: it computes the right result in one process without MPI.

An oracle is given what the ranks that reached the end reported. It says whether they agree with the fault-free run
or, where a death loses work by design, with exactly what is left without that work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emulator.launch import mpirun
from faults.drill.job_spec import JOURNAL, JobSpec
from faults.drill.training import DATA, REDUCTIONS, Training, digest
from faults.patterns import work
from faults.record import journal
from faults.record.journal import What
from primitives.federated import rules

Results = Sequence[dict[str, Any]]
Finding = tuple[bool, str]
_AGREED, _ACCURACY = 1e-5, 0.05


@lru_cache(maxsize=16)
def _alone(data: bytes, steps: int, seed: int, shards: int, reduction: str) -> tuple[str, tuple[float, ...]]:
    training = Training(np.frombuffer(data).reshape(-1, 65), shards=shards, seed=seed)
    state, losses = training.alone(steps, reduction)
    return digest(state | {"losses": np.array(losses)}), tuple(losses)


def _torn(results: Results) -> str:
    """A message if the ballast did not arrive unchanged; else empty."""
    wrong = sum(v.get("wrong", 0) for v in results)
    return f"the ballast arrived torn ({wrong} wrong)" if wrong else ""


def same_training(spec: JobSpec, folder: Path, results: Results) -> Finding:
    """Ring training: compare the state bit for bit, or to rounding with plain additions."""
    reduction = spec.options["reduction"]
    data = np.load(folder / DATA).tobytes()
    expected, losses = _alone(data, spec.steps, spec.seed, spec.options["shards"], reduction)
    working = [v for v in results if v["place"] is not None]
    if torn := _torn(working):
        return False, torn
    if spec.checkpoint["levels"]:
        astray = [v["place"] for v in working if v["own"] != _own(spec, v["place"])]
        if astray:
            return False, f"the private state of rank {astray[0]} differs from the replay of its steps"
    if all(v["digest"] == expected for v in working):
        return True, f"loss {losses[-1]:.4f}, bit-equal to the fault-free run on {len(working)} ranks"
    off = max(float(np.abs(np.subtract(v["losses"], losses)).max()) for v in working)
    if off < REDUCTIONS[reduction].rounding:
        return True, f"loss {losses[-1]:.4f}, equal to the fault-free run to {off:.0e}"
    return False, f"the loss curve is off by up to {off:.2g}"


def _own(spec: JobSpec, place: int) -> str:
    """The digest of the private arrays of one rank."""
    own = work.own_state(spec.options["own"])
    for step in range(spec.steps):
        work.own_step(own, place, step)
    return digest(own)


def same_answers(spec: JobSpec, folder: Path, results: Results) -> Finding:
    """Scatter-gather: check every answer, whichever rank gave it."""
    expected = digest({"answers": work.answers(spec.steps, spec.options["tasks"])})
    if any(v["digest"] != expected for v in results):
        return False, "an answer differs"
    needed = spec.steps * spec.options["tasks"]
    return True, f"all {needed} answers right, {sum(v['executions'] for v in results)} tasks run by those left"


def replayed_service(spec: JobSpec, folder: Path, results: Results) -> Finding:
    """Parameter server: apply the pushes that took effect in one process; every replica must have the same bits."""
    if torn := _torn(results):
        return False, torn
    training = Training(np.load(folder / DATA), shards=spec.options["shards"], seed=spec.seed)
    kept = [s for v in results if v["role"] == "server" for s in v["shards"]]
    shards = {s["shard"]: s for s in kept}
    if any(shards[s["shard"]] != s for s in kept):
        return False, "the replicas of a shard differ"
    living = [v["place"] for v in results if v["role"] == "worker"]
    if lost := [rank for rank in living for s in kept if s["applied"].get(str(rank), 0) < spec.steps]:
        return False, f"pushes of rank {lost[0]}, which survived, were lost"
    workers = range(spec.policy.replicas, spec.ranks)
    weights, complete = _replay(training, spec.steps, workers, list(shards.values()))
    finals = {v["digest"] for v in results if v["role"] == "worker"}
    if finals != {digest({"weights": weights})}:
        return False, "the model differs from the replay of the pushes that took effect"
    accuracy = training.accuracy(weights)
    counted = "every push counted" if complete else "every push of the survivors counted"
    replicas = f", {len(kept)} replicas of {len(shards)} shards" if len(kept) > len(shards) else ""
    return True, f"bit-equal to the replay in one process{replicas}, {counted}, {accuracy:.1%} right"


def _replay(training: Training, steps: int, workers: range, shards: list[dict[str, Any]]) -> tuple[np.ndarray, bool]:
    """Replay the server's arithmetic with each worker's pushes as far as each shard has seen them."""
    weights = training.begin()["weights"].copy()
    velocity = np.zeros_like(weights)
    complete = True
    for step in range(steps):
        total: np.ndarray | None = None
        for worker in workers:
            own = training.own(worker - workers.start, len(workers))
            seen = [s for s in shards if step < min(int(s["applied"].get(str(worker), 0)), steps)]
            complete = complete and len(seen) == len(shards)
            if not seen:
                continue
            parts = training.gradients(weights, step, own)[:, :-1]
            pushed = (np.add.reduce(parts, axis=0) if own else np.zeros_like(weights)) / training.batch
            total = np.zeros_like(weights) if total is None else total
            for shard in seen:
                total[shard["first"] : shard["last"]] += pushed[shard["first"] : shard["last"]]
        if total is not None:
            velocity = training.momentum * velocity + total
            weights = weights - training.rate * velocity
    return weights, complete


def replayed_gossip(spec: JobSpec, folder: Path, results: Results) -> Finding:
    """Gossip: compare the bits with a replay without the missed messages; the survivors must agree."""
    if torn := _torn(results):
        return False, torn
    values = _mixed(spec, journal.read(folder / JOURNAL))
    for result in results:
        if result["value"] != values[result["place"]].tolist():
            return False, f"rank {result['place']} holds another value than the replay of its messages"
    ends = values[[v["place"] for v in results]]
    spread = float((ends.max(axis=0) - ends.min(axis=0)).max())
    if spread > _AGREED:
        return False, f"the survivors differ by {spread:.1g}"
    mean = np.mean([work.opinion(rank, spec.seed) for rank in range(spec.ranks)], axis=0)
    off = float(np.abs(ends.mean(axis=0) - mean).max())
    return True, f"bit-equal to the replay, {len(ends)} ranks agree to {spread:.0e}, off the first mean by {off:.2g}"


def _mixed(spec: JobSpec, records: Sequence[dict[str, Any]]) -> np.ndarray:
    """Replay all rounds; a rank uses its own value for a missed message, so dead ranks are replayed but not heard."""
    mpirun.prepare()  # the primitives import MPI, which must not be initialised in the launcher
    from faults.patterns.gossip import mixing_of

    weights = mixing_of(spec.ranks, spec.seed).weights
    since = {(r["member"], r["whom"]): r["step"] for r in records if r["what"] == What.MISSED}
    values = np.array([work.opinion(rank, spec.seed) for rank in range(spec.ranks)])
    for step in range(spec.steps):
        heard = [{j: j if step < since.get((i, j), spec.steps) else i for j in row} for i, row in enumerate(weights)]
        values = np.array([sum(row[j] * values[heard[i][j]] for j in sorted(row)) for i, row in enumerate(weights)])
    return values


def replayed_rounds(spec: JobSpec, folder: Path, results: Results) -> Finding:
    """Federated: without liars compare the bits with a replay; with liars the accuracy with the honest one."""
    if torn := _torn(results):
        return False, torn
    training = Training(np.load(folder / DATA), seed=spec.seed)
    server = next((v for v in results if v["role"] == "server"), None)
    if server is None:
        return False, "the server left no result"
    clients = spec.ranks - 1
    model = np.load(folder / "model.npy")
    all_clients = [list(range(1, spec.ranks))] * spec.steps
    honest = training.accuracy(_average(training, clients, all_clients, spec))
    reached = training.accuracy(model)
    if any(event.kind.falsifies for event in spec.events):
        fine = reached > honest - _ACCURACY
        return fine, f"{reached:.1%} right with liars among {clients} clients, {honest:.1%} without"
    replayed = _average(training, clients, server["answered"], spec)
    if digest({"model": replayed}) != server["digest"]:
        return False, "the model is not the average of the answers"
    given = sum(map(len, server["answered"]))
    return True, f"bit-equal to the replay of {given} of {clients * spec.steps} answers, {reached:.1%} right"


def _average(training: Training, clients: int, answered: Sequence[Sequence[int]], spec: JobSpec) -> np.ndarray:
    """Replay the rounds of training and averaging with the clients that answered in each."""
    model, aggregate = training.begin()["weights"], rules.of(spec.options["rule"]).tolerating(spec.options["liars"])
    for number, those in enumerate(answered):
        if those:
            rows = np.array([training.locally(model, client - 1, clients, number) for client in those])
            model = aggregate(rows, np.ones(len(rows)))
    return model
