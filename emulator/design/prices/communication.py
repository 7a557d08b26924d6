"""The communication of a design: the time of one exchange of each state part or task, by `emulator.costs`.

Where groups of nodes share a card, an uplink or a pipe between regions, they are taken to send through it at once: a
price of first order, which `emulator.design.prices.skeleton` follows message by message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator import costs
from emulator.costs import graphs
from emulator.design.model import Design, Facts, Flow
from emulator.design.prices import balance
from emulator.design.sheets.tables import State, Task

Array = NDArray[np.float64]


def algorithm_of(facts: Facts, flow: Flow, n: float, p: int) -> str:
    """The all-reduce algorithm of a flow at p: its own, or the quickest by formula."""
    if flow.algorithm != "auto":
        return flow.algorithm
    return min(AUTO, key=lambda name: float(_reduced(facts, name, np.array([p]), n).seconds[0]))


AUTO = ("ring", "rabenseifner", "recursive_doubling")
"""All-reduce algorithms of which the quickest is taken."""


def _reduced(facts: Facts, algorithm: str, p: Any, n: float) -> costs.Price:
    """Price an all-reduce; messages to a neighbour stay on its host, rack or region, except one."""
    one = costs.price(algorithm, facts.alpha, facts.beta, facts.gamma, p, n)
    return _sharing(facts, one, p, stays=costs.collective(algorithm).neighbours)


def _sharing(
    facts: Facts, one: costs.Price, p: Any, stays: bool = False, servers: int = 0, meanwhile: Any = 0.0
) -> costs.Price:
    """The price where groups of nodes send through one card or link at the same time: it carries all their bytes.

    Parameters
    ----------
    stays : nodes send to their neighbours only: of a group one message at a time leaves it
    servers : servers, which are neighbours of one another as well; what passes one of them is the price's `port`
    meanwhile : seconds of computing in which messages travel
    """
    for each in facts.shared:
        if not stays or each.dealt:
            members = each.members(np.asarray(p))
            one = one.through(each.beta * members * one.sent - meanwhile)
            one = one.through(each.beta * np.minimum(members, servers) * one.port - meanwhile) if servers else one
    return one


def volume(design: Design, flow: Flow, part: State | Task) -> float:
    """The n of a flow's formula: bytes that a node exchanges in one operation."""
    if isinstance(part, Task):
        return part.answer_bytes * flow.compression
    if flow.kind.servers:
        return part.sparse * flow.compression
    if design.holder(part) == "shards":
        return part.activations * flow.compression
    return part.dense * flow.compression


def silent(facts: Facts, flow: Flow) -> bool:
    """Whether a state part has no messages of its own: tasks request it, and their answers carry it."""
    part = facts.parts[flow.of]
    if not isinstance(part, State) or part.activations or not flow.kind.requests:
        return False
    return any(part.name in task.needs for task in facts.tasks)


def flow_price(facts: Facts, design: Design, flow: Flow, p: Any) -> costs.Price:
    """Price of one operation of a flow by `emulator.costs`, over an array of p."""
    part = facts.parts[flow.of]
    n = volume(design, flow, part)
    terms = (facts.alpha, facts.beta, facts.gamma)
    if silent(facts, flow):
        return costs.Price(*([np.zeros(np.shape(p))] * 6))
    if flow.kind.servers:
        compute = facts.slowdown(np.asarray(p), design.beside) * facts.job.t_comp / p
        options: dict[str, Any] = {"servers": flow.servers, "consistency": design.model, "replicas": design.replicas,
                   "sharing": facts.sharing}  # fmt: skip
        found = costs.price("parameter_server", *terms, p, n, compute=compute, **options)
        if design.model == "asynchronous" and not facts.equal:
            found = _at_own_rates(facts, costs.price("parameter_server", *terms, p, n, **options), p, design.beside)
        meanwhile = compute if design.model != "synchronous" else 0.0
        return _sharing(facts, found, p, servers=flow.servers, meanwhile=meanwhile)
    if flow.kind.graph:
        return _gossip_price(facts, design, flow, p, n)
    if flow.kind.rounds:
        return _sharing(facts, costs.price("federated", *terms, p, n, sharing=facts.sharing), p)
    if flow.kind.requests:
        request = part.request_bytes / n if isinstance(part, Task) and n else 0.0
        options = {"request": request}
        if isinstance(part, Task) and part.count > 1:
            options |= {"batches": part.count, "compute": part.seconds, "prefetch": 0 if design.hurried else 1}
        name = "tasks" if len(options) > 1 else "scatter_gather"
        return _sharing(facts, costs.price(name, *terms, p, n, **options), p)
    if flow.algorithm != "auto":
        return _reduced(facts, flow.algorithm, p, n)
    every = [_reduced(facts, name, p, n) for name in AUTO]
    pick = np.argmin([np.broadcast_to(one.seconds, np.shape(p)) for one in every], axis=0)
    fields = ("latency", "bandwidth", "reduction", "waiting", "sent", "port")
    return costs.Price(*(np.choose(pick, [np.broadcast_to(getattr(one, name), np.shape(p)) for one in every])
                         for name in fields))  # fmt: skip


def _at_own_rates(facts: Facts, idle: costs.Price, p: NDArray[np.int64], beside: int) -> costs.Price:
    """The price where nodes of unequal speed, each at its own rate, together are no faster than the servers.

    A node that computes for c has a round of c + a + w, a alone with the servers and w for their queue, which is as
    long as the servers need: the mean of 1/(c + a + w) is at most 1/B, B the servers' time for all nodes once.

    Parameters
    ----------
    idle : the price for nodes that do not compute, whose queue is B - a
    """
    alone = idle.seconds - idle.waiting
    slowdowns = np.unique(facts.slowdowns)[:, None]
    shares = np.cumsum(facts.nodes(p.max(), beside) == slowdowns, axis=1)[:, p - 1] / p
    own = slowdowns * facts.job.t_comp / p + alone
    low, high = np.zeros(p.shape), idle.waiting
    for _ in range(40):
        middle = (low + high) / 2
        full = (shares / np.maximum(own + middle, 1e-300)).sum(axis=0) * idle.seconds > 1
        low, high = np.where(full, middle, low), np.where(full, high, middle)
    return replace(idle, waiting=high)


def _gossip_price(facts: Facts, design: Design, flow: Flow, p: Any, n: float) -> costs.Price:
    """Price one round with the graph's neighbours, of which a small group has fewer.

    Where neighbours are not waited for, messages travel while the next steps are computed: a round of C seconds of
    computing takes max(C, d n beta, (alpha + d n beta) / bound) (`primitives.gossip.push_sum`).
    """
    counts = graphs.degrees(flow.graph, np.asarray(p))
    sent = counts * n
    free = costs.Price(facts.alpha * (counts > 0), facts.beta * sent, 0.0, np.zeros(np.shape(p)), sent, sent)
    shared = _sharing(facts, free, p, stays=flow.graph == "ring")
    latency, bandwidth = shared.latency, shared.bandwidth
    if design.model != "synchronous":
        compute = (facts.job.t_comp / p + balance.task_seconds(facts, np.asarray(p))) * design.rounds * flow.every
        trip = (latency + bandwidth) / (design.bound if design.model == "bounded" and design.bound else np.inf)
        latency = np.maximum(0.0, trip - np.maximum(compute, bandwidth))
        bandwidth = np.maximum(0.0, bandwidth - compute)
    return costs.Price(latency, bandwidth, 0.0, np.zeros(np.shape(p)), sent, sent)


def per_step(facts: Facts, design: Design, flow: Flow, p: NDArray[np.int64]) -> Array:
    """Rows of latency, bandwidth, reduction, queueing and bytes of a flow per step, after overlap and `every`."""
    one = flow_price(facts, design, flow, p)
    often = 1 / (flow.every * design.rounds)
    hidden = (1 - flow.overlap) * often
    part = facts.parts[flow.of]
    uneven: Any = 1.0
    if flow.servers and isinstance(part, State) and part.skew and part.rows:
        uneven = balance.skewed(part.rows, part.skew, flow.servers, design.sharding)
    shares = ((one.latency, hidden), (one.bandwidth, hidden * uneven), (one.reduction, hidden),
              (one.waiting, hidden * uneven), (one.sent, often))  # fmt: skip
    return np.array([np.broadcast_to(value, p.shape) * factor for value, factor in shares])
