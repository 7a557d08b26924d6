"""How evenly work is spread over nodes, how long a step waits for the slowest, and how old updates get."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emulator.costs import graphs, waiting
from emulator.design.model import Design, Facts, Flow

Array = NDArray[np.float64]


def task_seconds(facts: Facts, p: NDArray[np.int64]) -> Array:
    """Seconds that a node needs for its tasks: as many as the fullest node has."""
    return sum((np.ceil(task.count / p) * task.seconds for task in facts.tasks), np.zeros(p.shape))


def imbalance(facts: Facts, design: Design, p: NDArray[np.int64]) -> Array:
    """Work of the fullest node over the mean."""
    uneven = np.ones(p.shape)
    if design.sharding == "dynamic" or design.stragglers == "stealing":
        return uneven
    if design.parts is not None:
        uneven = np.ceil(design.parts / p) * p / design.parts
    for state in facts.states:
        if design.holder(state) == "shards" and state.skew and state.rows:
            uneven = np.maximum(uneven, np.array([skewed(state.rows, state.skew, int(k), design.sharding) for k in p]))
    return uneven


@lru_cache(maxsize=1 << 16)
def skewed(rows: int, skew: float, k: int, sharding: str) -> float:
    """Accesses to the fullest of k shards over the mean, where row i is accessed in proportion to i^-skew.

    By range the first shard has the most popular rows. By hash the shards' loads have the variance
    (1/k)(1 - 1/k) sum f_i^2, and the largest of k normal draws lies about sqrt(2 ln k) deviations above the mean
    (extreme-value theory); a shard with the most popular row has at least that row.
    """
    if k <= 1 or sharding in ("even", "dynamic"):
        return 1.0
    total, squares = _zipf_sum(rows, skew), _zipf_sum(rows, 2 * skew)
    if sharding == "range":
        return k * _zipf_sum(max(1, rows // k), skew) / total
    spread = math.sqrt(2 * math.log(k) * (k - 1) * squares / total**2)
    return max(1 + spread, k / total)


@lru_cache(maxsize=1 << 14)
def _zipf_sum(rows: int, skew: float) -> float:
    """Sum of i^-skew for i = 1..rows, by Euler and Maclaurin beyond the first hundred."""
    few = min(rows, 100)
    total = sum(i**-skew for i in range(1, few + 1))
    if rows > few:
        whole = math.log(rows / few) if skew == 1 else (rows ** (1 - skew) - few ** (1 - skew)) / (1 - skew)
        total += whole + (rows**-skew - few**-skew) / 2
    return total


def staleness(design: Design, p: NDArray[np.int64]) -> Array:
    """Steps, beyond the next one, until every node has seen an update; infinite without a bound.

    A gossip's update reaches all nodes after as many exchanges as the graph's diameter.
    """
    steps = np.full(p.shape, float(design.steps_between()))
    if design.model == "asynchronous":
        return np.full(p.shape, np.inf)
    for flow in design.flows:
        far = graphs.diameters(flow.graph, p) if flow.kind.graph else 1.0
        steps = np.maximum(steps, design.steps_between() * far * flow.every)
    return steps - 1


def honest(facts: Facts, flows: Sequence[Flow], p: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether nodes in gossip have 2 f + 1 neighbours, of which a median leaves the extreme 2 f out, f being the liars.

    LeBlanc, Zhang, Koutsoukos and Sundaram, "Resilient asymptotic consensus in robust networks" (2013).
    """
    needed = 2 * facts.job.liars + 1 if facts.job.liars else 0
    fewest = [graphs.degrees(flow.graph, p) for flow in flows if flow.kind.graph]
    return np.all([each >= needed for each in fewest], axis=0) if fewest else np.ones(p.shape, dtype=bool)


def wait(facts: Facts, design: Design, p: NDArray[np.int64]) -> Array:
    """Expected time until enough nodes have finished a step, over the mean time of one node."""
    waiting_for_all = [flow for flow in design.flows if flow.kind.waits_for_all]  # whatever the bound
    if design.model == "asynchronous" and not waiting_for_all:
        return np.ones(p.shape)
    flows = waiting_for_all or design.flows
    steps = design.rounds * min(flow.every for flow in flows)
    spread = facts.job.spread / math.sqrt(steps)
    if knows_hosts(facts, design):
        return _unequal(spread, facts, tuple(p.tolist()), design.quorum, design.beside)
    if _repeats(facts, design):
        return _repeated(tuple(p.tolist()), spread)
    group = tuple(np.max([_awaited(flow, p) for flow in flows], axis=0).tolist())
    if design.model == "bounded" and design.bound and not waiting_for_all:
        return _bounded(group, spread, design.bound)
    return _slowest(group, spread, quorum=design.quorum, backup=_tasks_repeated(facts, design))


def knows_hosts(facts: Facts, design: Design) -> bool:
    """Whether `wait` includes the speeds of unequal hosts: nodes wait for a quorum, or for all at a barrier."""
    if facts.equal or design.pulls:
        return False
    kinds, synchronous = design.kinds, design.model == "synchronous"
    return any(kind.waits_for_all for kind in kinds) or (synchronous and not any(kind.graph for kind in kinds))


def _tasks_repeated(facts: Facts, design: Design) -> bool:
    """Whether an idle node runs a late task again, as any node can."""
    return design.stragglers == "backup" and design.hurried and any(task.count > 1 for task in facts.tasks)


def _repeats(facts: Facts, design: Design) -> bool:
    """Whether a node with a replica answers a late request again; without replicas none can."""
    late = design.stragglers == "backup" and design.hurried and not _tasks_repeated(facts, design)
    return late and design.replicas > 0


def _awaited(flow: Flow, p: NDArray[np.int64]) -> Array:
    return graphs.awaited(flow.graph, p) if flow.kind.graph else p.astype(float)


def _kept(function: Callable[..., Array]) -> Callable[..., Array]:
    """Cache what a function of an array of node counts returns; it is called with a tuple of them."""
    return lru_cache(maxsize=512)(lambda nodes, *arguments, **options: function(np.array(nodes), *arguments, **options))


_bounded, _repeated, _slowest = _kept(waiting.bounded), _kept(waiting.repeated), _kept(waiting.slowest)


@lru_cache(maxsize=64)
def _unequal(spread: float, facts: Facts, nodes: tuple[int, ...], quorum: float, beside: int) -> Array:
    """Time until all unequal nodes, or a quorum, after `beside` other ranks, are done; over the mean node's time."""
    each = [waiting.unequal(facts.nodes(p, beside), spread, quorum) for p in nodes]
    return np.array(each) / facts.slowdown(np.array(nodes), beside)


def late(facts: Facts, design: Design, p: NDArray[np.int64]) -> Array:
    """The 99th percentile of the quantity whose mean `wait` gives."""
    spread, nodes = facts.job.spread, tuple(p.tolist())
    if _repeats(facts, design):
        return _repeated(nodes, spread, 0.99)
    found = _slowest(nodes, spread, share=0.99, quorum=design.quorum, backup=_tasks_repeated(facts, design))
    if knows_hosts(facts, design):  # as much later than the mean as on equal hosts
        found = found / _slowest(nodes, spread, quorum=design.quorum) * wait(facts, design, p)
    return found
