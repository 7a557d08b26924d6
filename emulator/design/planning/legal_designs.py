"""The legal combinations of the six slots, from which the planner chooses, and the rules that exclude the others.

A cut has a reason in one line, whose last part, after a colon, is the rule; nothing is dropped without one.
Coordination has no price: central control is taken where the facts allow it, because one place then sees failures and
stragglers.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from emulator.design.choices import POLICIES
from emulator.design.model import Design, Facts, Flow, legal_policies
from emulator.design.prices import balance
from emulator.design.sheets.descriptions import size
from emulator.design.sheets.tables import State, Task

BOUNDS = (1, 2, 4, 8, 16)
ROUNDS = (1, 2, 4, 8, 16, 32, 64)
SERVERS = (1, 2, 4, 8, 16, 32, 64)
GRAPHS = ("one-peer", "ring", "torus")
QUORUMS = (0.95, 0.9)


@dataclass
class Menu:
    """The values of the slots that may be combined; a test uses a smaller menu."""

    bounds: tuple[int, ...] = BOUNDS
    rounds: tuple[int, ...] = ROUNDS
    servers: tuple[int, ...] = SERVERS
    graphs: tuple[str, ...] = GRAPHS
    quorums: tuple[float, ...] = QUORUMS
    cut: Counter[str] = field(default_factory=Counter)

    def designs(self, facts: Facts) -> Iterator[Design]:
        """Every legal design, without its policy."""
        parts = [list(self._flows(facts, part)) for part in facts.parts.values()]
        for chosen in itertools.product(*parts):
            sharded = [flow.of for flow, holder in chosen if holder == "shards"]
            whole = tuple(flow.of for flow, holder in chosen if holder == "every node")
            flows = tuple(flow for flow, _ in chosen)
            counts = {flow.servers for flow in flows if flow.servers}
            if len(counts) > 1:
                self.cut["one set of servers serves all state parts"] += 1
                continue
            split = "model" if any(self._activates(facts, name) for name in sharded) else "data"
            # Without examples there are no data to divide: it is work that is divided.
            split = "work" if split == "data" and (facts.tasks or not facts.job.examples) else split
            base = Design(split, flows, whole, by="given" if facts.job.sources == "isolated" else "hash")
            base = _coordinated(facts, base)
            _ = base.holders, base.kinds, base.servers  # known once, they are handed down to all variants
            yield from self._consistencies(facts, base)

    @staticmethod
    def _activates(facts: Facts, name: str) -> bool:
        part = facts.parts[name]
        return isinstance(part, State) and part.activations > 0

    def _flows(self, facts: Facts, part: State | Task) -> Iterator[tuple[Flow, str]]:
        """Yield the ways to hold and exchange one part: (flow, holder)."""
        job = facts.job
        for flow, holder in self._all_flows(facts, part):
            if reason := illegal(facts, part, flow, holder):
                self.cut[f"{part.name}: {flow.pattern}: {reason}"] += 1
            elif isinstance(part, State) and (lack := _lacks_memory(facts, part, flow, holder)):
                self.cut[f"{part.name}: {flow.pattern}, {lack}"] += 1
            else:
                rule = "median" if job.liars else "mean"
                yield replace(flow, rule=rule if flow.kind.robust else "mean"), holder

    def _all_flows(self, facts: Facts, part: State | Task) -> Iterator[tuple[Flow, str]]:
        if isinstance(part, Task):
            yield Flow(part.name, "scatter-gather"), "nobody"
            return
        asked = any(part.name in task.needs for task in facts.tasks)
        yield Flow(part.name, "all-reduce"), "every node"
        if part.activations:
            yield Flow(part.name, "all-reduce"), "shards"
        if asked:
            yield Flow(part.name, "scatter-gather"), "shards"
            return
        yield Flow(part.name, "federated"), "every node"
        for servers in self.servers:
            yield Flow(part.name, "parameter-server", servers=servers), "servers"
        for graph in self.graphs:
            yield Flow(part.name, "gossip", graph=graph), "every node"

    def _consistencies(self, facts: Facts, base: Design) -> Iterator[Design]:
        allowed = facts.job.staleness
        # A worker of a sharded table pulls the rows of every step: it cannot make steps by itself.
        pulls = any(isinstance(part := facts.parts[flow.of], State) and part.touched and flow.servers
                    for flow in base.flows)  # fmt: skip
        rounds = (1,) if pulls or facts.tasks else self.rounds
        found = [base.but(rounds=every) for every in rounds if every - 1 <= allowed]
        if any(kind.rounds for kind in base.kinds):
            found = [one.but(model="bounded" if one.rounds > 1 else "synchronous") for one in found]
        elif not all(kind.waits_for_all for kind in base.kinds):
            found += [base.but(model="bounded", bound=bound) for bound in self.bounds if bound <= allowed]
            found += [base.but(model="asynchronous")] if math.isinf(allowed) else []
        elif base.asks and math.isinf(allowed):
            found = [base.but(model="asynchronous")]  # eventual: answers do not wait for news of the state
        for one in found:
            yield from self._balances(facts, one)

    def _balances(self, facts: Facts, base: Design) -> Iterator[Design]:
        asks = any(kind.requests for kind in base.kinds)
        fixed = facts.job.sources == "isolated"
        shardings = ["even"] if fixed else ["dynamic"] if all(kind.graph for kind in base.kinds) else ["hash"]
        if facts.tasks and any(task.count > 1 for task in facts.tasks) and not fixed:
            shardings.append("dynamic")
        for sharding in shardings:
            one = base.but(sharding=sharding)
            yield one
            if base.model == "asynchronous" and not asks:
                continue
            if asks:
                yield one.but(stragglers="backup")
            if any(kind.coordinator for kind in base.kinds) and facts.job.staleness:
                drops = any(kind.rounds for kind in base.kinds)
                for quorum in self.quorums:
                    flows = tuple(replace(f, quorum=quorum) if f.kind.coordinator else f
                                  for f in base.flows)  # fmt: skip
                    yield one.but(flows=flows, stragglers="drop" if drops else "quorum")


def policies(facts: Facts, base: Design) -> Iterator[Design]:
    """The design under every policy that its patterns have."""
    legal = [POLICIES[name] for name in sorted(legal_policies(base.flows))]
    if facts.job.central == "none" or facts.job.sources == "isolated":  # no other node has the data of one that is gone
        legal = [policy for policy in legal if not policy.refills]
    if base.stragglers == "backup" and any(base.holder(state) == "shards" for state in facts.states):
        # A request goes again only to another node with the shard.
        legal = [policy for policy in legal if policy.replicas > 1]
    for policy in legal:
        for spares in (1, 2) if policy.has_spares else (0,):
            yield base.but(policy=policy.name, spares=spares, replicas=policy.replicas - 1)


def _coordinated(facts: Facts, base: Design) -> Design:
    free = facts.job.central == "none" or facts.job.sources == "isolated"
    control = "decentralized" if free else "central"
    if_lost = "nobody-needed" if facts.job.central == "none" else "elect" if free else "restart"
    return base.but(control=control, data="central" if base.asks and not free else "decentralized",
                   if_lost=if_lost)  # fmt: skip


def illegal(facts: Facts, part: State | Task, flow: Flow, holder: str) -> str:
    """The rule that forbids a flow; empty if none does."""
    job, kind = facts.job, flow.kind
    if job.central == "none" and not kind.graph:
        return "no node can reach all others"
    if job.sources == "isolated" and (kind.servers or kind.requests or holder == "shards"):
        return "data may not leave their owner"
    if kind.graph and not job.staleness:
        return "neighbours' averages are not exact, and staleness = 0"
    if kind.graph and job.liars and not balance.honest(facts, (flow,), np.arange(1, job.most + 1)).any():
        return f"{flow.graph} has too few neighbours to outvote {job.liars} liars, {2 * job.liars + 1} are needed"
    if job.liars and not kind.robust:
        return f"a sum tolerates none of {job.liars} liars"
    if flow.servers > job.most:
        return f"{flow.servers} servers, and {job.most} nodes can be had"
    return ""


def _lacks_memory(facts: Facts, part: State, flow: Flow, holder: str) -> str:
    """Why a state part does not fit into its holder's memory even on the most nodes; empty if it fits."""
    whole = part.bytes * (1 + part.copies)
    share = {"servers": flow.servers, "shards": facts.job.most}.get(holder, 1)
    if whole / share <= facts.job.memory:
        return ""
    return f"{size(whole / share)} held by {holder}: too much for a node of {size(facts.job.memory)}"


def grid(most: int) -> np.ndarray:
    """Node counts of the search: all up to 64, then steps of 3 %, powers of two (cheapest for sums), and `most`."""
    steps = np.round(64 * 1.03 ** np.arange(1, 400)).astype(int)
    beyond = np.unique([*steps, *(2 ** np.arange(7, 15)), most])
    return np.concatenate([np.arange(1, min(64, most) + 1), beyond[(beyond > 64) & (beyond <= most)]])
