"""The reviewer: 17 rules, each giving slot, rule, figure and remedy. Errors fail a check, questions do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from emulator.costs import graphs
from emulator.design.choices import HURRIES, POLICIES
from emulator.design.model import Design, facts_and_design, legal_policies
from emulator.design.prices import balance, failures, message_level, pricing
from emulator.design.reviewing.cheaper_patterns import cheapest, touched_rows
from emulator.design.reviewing.contradictions import contradictions
from emulator.design.reviewing.findings import Case, Finding
from emulator.design.sheets.descriptions import age, size
from emulator.design.sheets.sheet import SLOTS, Sheet
from emulator.design.sheets.tables import State
from emulator.units import format_time

WAIT = 1.3
IMBALANCE = 1.5
NEEDED = {"mean": None, "median": (2, 1), "trimmed-mean": (2, 1), "krum": (2, 3)}
"""Updates that a rule needs for f liars: a f + b (`primitives.federated.rules`); a mean tolerates none."""


def check(sheet: Sheet, terms: dict[str, Any] | None = None) -> list[Finding]:
    """Review a complete sheet; findings in the order of the rules, empty if the sheet passes."""
    facts, design = facts_and_design(sheet, terms)
    priced = pricing.price(facts, design)
    nodes = min(pricing.chosen_nodes(sheet, priced), facts.job.most)
    case = Case(sheet, facts, design, message_level.exact(sheet, priced, nodes), nodes)
    return [finding for rule in RULES for finding in rule(case)]


def fits(case: Case) -> Iterator[Finding]:
    room = case.facts.job.memory
    needed = max(case.row["memory"], case.priced.server_memory)
    if needed <= room:
        return
    where = "server" if case.priced.server_memory > case.row["memory"] else "node"
    remedy = 'shard it: over servers (parameter-server), or over the nodes (split = "model", scatter-gather)'
    if where == "server":
        remedy = f"take at least {math.ceil(case.design.servers * needed / room)} servers"
    yield Finding(1, "partition", f"a {where} must hold {size(needed)} and has {size(room)}: "
                  f"{size(needed - room)} too much", remedy)  # fmt: skip


def staleness(case: Case) -> Iterator[Finding]:
    allowed, design = case.facts.job.staleness, case.design
    used = float(balance.staleness(design, np.array([case.nodes]))[0])
    if used > allowed:
        yield Finding(4, "consistency", f"{design.model} updates may be {age(used)}, the job tolerates "
                      f"{allowed:g}", f"bound <= {allowed:g}" if allowed else "synchronous")  # fmt: skip


def stragglers(case: Case) -> Iterator[Finding]:
    design = case.design
    if design.model != "synchronous" or design.hurried:
        return
    factor = float(balance.wait(case.facts, design, np.array([case.nodes]))[0])
    if factor > WAIT:
        yield Finding(5, "load_balancing", f"at p = {case.nodes} the slowest node takes {factor:.2f} times the mean "
                      f"(limit {WAIT})", _against_waiting(design), error=_remediable(case))  # fmt: skip


def _remediable(case: Case) -> bool:
    """Whether the facts allow a remedy for slow nodes other than fewer nodes."""
    design = case.design
    return any(kind.hurries for kind in design.kinds) or 2 * design.steps_between() - 1 <= case.facts.job.staleness


def _against_waiting(design: Design) -> str:
    """Remedies that shorten the wait for slow nodes with the patterns of a design."""
    names = [f'"{name}"' for name in HURRIES if any(name in kind.hurries for kind in design.kinds)]
    hurried = f"stragglers = {' or '.join(names)}, " if names else ""
    return f"{hurried}fewer nodes, more rounds between exchanges, or bounded staleness"


def coordinator(case: Case) -> Iterator[Finding]:
    design = case.design
    if "central" in (design.control, design.data) and design.if_lost is None:
        yield Finding(6, "coordination", "a central coordinator, and nothing is said of its loss",
                      "if_lost = \"restart\", \"elect\" or \"standby\"")  # fmt: skip


def central(case: Case) -> Iterator[Finding]:
    job, design = case.facts.job, case.design
    why = "no node can reach all others" if job.central == "none" else "data may not leave their owner"
    if job.central != "none" and job.sources != "isolated":
        return
    for name in ("control", "data"):
        if getattr(design, name) == "central":
            yield Finding(7, "coordination", f'{name} = "central", but {why}', f'{name} = "decentralized"')
    for flow in design.flows:
        if flow.kind.servers or (flow.kind.rounds and job.central == "none"):
            yield Finding(7, "communication", f"{flow.of}: {flow.pattern} has a central server, but {why}",
                          "gossip" if job.central == "none" else "federated or gossip")  # fmt: skip


def policy(case: Case) -> Iterator[Finding]:
    legal = legal_policies(case.design.flows)
    if case.design.policy not in legal:
        yield Finding(8, "fault_tolerance", f"policy {case.design.policy} does not go with {case.design.patterns}",
                      f"one of {', '.join(legal)}")  # fmt: skip


def interval(case: Case) -> Iterator[Finding]:
    design = case.design
    if design.interval is None or case.facts.job.mtbf is None or not failures.needs_checkpoints(case.facts, design):
        return
    p, memory = np.array([case.nodes]), np.array([max(case.row["memory"], case.priced.server_memory)])
    best = float(failures.daly(case.facts, design, p, memory)[0])
    off = max(design.interval / best, best / design.interval)
    if off > 2:
        yield Finding(9, "fault_tolerance", f"a checkpoint every {format_time(design.interval)} is {off:.1f} times "
                      f"off the best interval, {format_time(best)}", f"interval = \"{best:.0f} s\"")  # fmt: skip


def replicas(case: Case) -> Iterator[Finding]:
    given = case.sheet.fault_tolerance
    if given is None or POLICIES[given.policy].replicas == 1:
        return
    if given.replicas < given.survive:
        yield Finding(10, "fault_tolerance", f"{given.replicas} replicas do not survive {given.survive} failures",
                      f"replicas = {given.survive}")  # fmt: skip
    if given.replicas and given.replicas_on == "same-host":
        yield Finding(10, "fault_tolerance", "the replicas are on the host of the original: a host failure loses both",
                      "replicas_on = \"other-hosts\"")  # fmt: skip


def liars(case: Case) -> Iterator[Finding]:
    count = case.facts.job.liars
    if not count:
        return
    for flow in case.design.flows:
        needs = NEEDED[flow.rule]
        most = math.floor((case.nodes - 1) / 2)
        if needs is None:
            yield Finding(11, "communication", f"{flow.of}: {count} liars, and a mean tolerates none",
                          "rule = \"median\", \"trimmed-mean\" or \"krum\", with federated")  # fmt: skip
        elif case.nodes < needs[0] * count + needs[1]:
            yield Finding(11, "communication", f"{flow.of}: {flow.rule} tolerates {count} liars among "
                          f"{needs[0] * count + needs[1]} nodes or more, got {case.nodes}",
                          f"more nodes; {case.nodes} nodes tolerate at most {most} liars under the median")  # fmt: skip
        elif not balance.honest(case.facts, (flow,), np.array([case.nodes]))[0]:
            yield Finding(11, "communication", f"{flow.of}: {graphs.degrees(flow.graph, np.array([case.nodes]))[0]} "
                          f"neighbours in a {flow.graph} of {case.nodes} nodes cannot outvote {count} liars",
                          f"a graph of at least {2 * count + 1} neighbours, or federated")  # fmt: skip


def nodes(case: Case) -> Iterator[Finding]:
    best, knee = case.priced.best(), case.priced.knee()
    if best is None or knee is None:
        return
    fewer = message_level.exact(case.sheet, case.priced, best) if case.nodes > best else case.priced
    exact = case.facts.uniform or not (case.priced.first_order(case.nodes) or fewer.first_order(best))
    if case.nodes > best and (not exact or case.row["job"] > fewer.at(best)["job"]):
        yield Finding(12, "partition", f"p = {case.nodes} is above p* = {best}: more nodes make the job slower"
                      + case.how(exact), f"nodes = {knee} (5 % off the best time)", error=exact)  # fmt: skip
    elif case.nodes > 1.5 * knee:
        yield Finding(12, "partition", f"p = {case.nodes} is {case.nodes / knee:.1f} times the {knee} nodes that come "
                      f"within 5 % of the best time{case.how(exact=False)}", f"nodes = {knee}",
                      error=False)  # fmt: skip


def dominated(case: Case) -> Iterator[Finding]:
    if case.nodes > 1 and case.row["ratio"] >= 1:
        yield Finding(13, "communication", f"R({case.nodes}) = {case.row['ratio']:.2f}: communication takes longer "
                      f"than computing, from p = {case.priced.dominated()} on",
                      "fewer nodes, fewer bytes (compression, rounds), or more work per step", error=False)  # fmt: skip


def parts(case: Case) -> Iterator[Finding]:
    given = case.design.parts
    if given is not None and given < case.nodes:
        yield Finding(14, "partition", f"{given} parts leave {case.nodes - given} of {case.nodes} nodes without work",
                      f"parts >= {case.nodes}, best a multiple of it")  # fmt: skip
        return
    uneven = float(balance.imbalance(case.facts, case.design, np.array([case.nodes]))[0])
    for flow in case.design.flows:
        state = case.facts.parts[flow.of]
        if flow.servers and isinstance(state, State) and state.skew:
            uneven = max(uneven, balance.skewed(state.rows, state.skew, flow.servers, case.design.sharding))
    if uneven > IMBALANCE:
        yield Finding(14, "load_balancing", f"the fullest part has {uneven:.2f} times the mean (limit {IMBALANCE})",
                      "sharding = \"hash\" or \"dynamic\", or more parts")  # fmt: skip


def deadline(case: Case) -> Iterator[Finding]:
    limit, job = case.facts.job.deadline, case.facts.job
    if limit is None or case.row["answer"] <= limit:
        return
    met = None
    for missing in range(1, case.nodes):
        quorum = 1 - missing / case.nodes
        flows = tuple(replace(flow, quorum=quorum) for flow in case.design.flows)
        tried = replace(case.design, flows=flows, stragglers="quorum")
        if pricing.price(case.facts, tried, np.array([case.nodes])).answer[0] <= limit:
            met = quorum
            break
    remedy = f'quorum = "{math.floor(100 * met)} %" meets it' if met else "no quorum meets it: more nodes, or less work"
    yield Finding(15, "load_balancing", f"the 99th percentile of an answer is {format_time(case.row['answer'])} with a "
                  f"spread of {job.spread:g}, the deadline {format_time(limit)}", remedy)  # fmt: skip


def reasons(case: Case) -> Iterator[Finding]:
    for slot in SLOTS:
        tables = getattr(case.sheet, slot)
        for table in tables if isinstance(tables, tuple) else (tables,):
            missing = [name for name in ("why", "rejected") if not getattr(table, name).strip()]
            if missing:
                plain = slot == "communication" and table.kind.sums
                said = "; synchronous all-reduce purely by default?" if plain else ""
                yield Finding(16, slot, f"no {' and no '.join(missing)}{said}",
                              "one sentence each: the figure that decided, and the alternative")  # fmt: skip


RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    fits, cheapest, touched_rows, staleness, stragglers, coordinator, central, policy, interval, replicas, liars, nodes,
    dominated, parts, deadline, reasons, contradictions,
)  # fmt: skip
