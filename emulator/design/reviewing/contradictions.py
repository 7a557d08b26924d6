"""Rule 17 of the reviewer: slots of a design that contradict each other, or that have no effect."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.design.choices import HURRIES, POLICIES
from emulator.design.reviewing.findings import Case, Finding
from emulator.design.sheets.tables import State
from emulator.policies import named

_Said = Iterator[tuple[str, str, str]]
"""Slot, contradiction, remedy."""


def contradictions(case: Case) -> Iterator[Finding]:
    """Find all contradictions; each names the slot to reconsider."""
    for rule in (_partition, _consistency, _coordination, _fault_tolerance, _load_balancing):
        for slot, text, remedy in rule(case):
            yield Finding(17, slot, text, remedy)


def _partition(case: Case) -> _Said:
    design, parts = case.design, case.facts.parts
    for flow in design.flows:
        if flow.of in design.replicated and flow.kind.servers:
            yield ("partition", f"{flow.of} is replicated on every node, but {flow.pattern} keeps it on servers",
                   f"leave {flow.of} out of replicated, or exchange it by another pattern")  # fmt: skip
    if design.split == "model" and not any(isinstance(p, State) and p.activations for p in parts.values()):
        yield ("partition", 'split = "model", and no state says its activations: nothing is exchanged',
               "activations of the state that is sharded")  # fmt: skip


def _consistency(case: Case) -> _Said:
    design = case.design
    if design.model != "bounded" and design.bound:
        yield "consistency", f"{design.model} with bound = {design.bound}", 'model = "bounded", or no bound'
    if design.model == "bounded" and not design.bound and design.rounds == 1:
        yield "consistency", "bounded with bound = 0 and rounds = 1 is synchronous", "say the bound"


def _coordination(case: Case) -> _Said:
    design = case.design
    if design.data == "decentralized" and all(kind.servers for kind in design.kinds) and design.servers == 1:
        yield ("coordination", 'data = "decentralized", but all of it passes one server',
               'data = "central", or more servers')  # fmt: skip
    if design.data == "central" and all(kind.graph for kind in design.kinds):
        yield "coordination", 'data = "central" with gossip only', 'data = "decentralized"'
    if design.if_lost == "nobody-needed" and "central" in (design.control, design.data):
        name = "control" if design.control == "central" else "data"
        yield ("coordination", f'if_lost = "nobody-needed", but {name} = "central"',
               'if_lost = "restart", "elect" or "standby"')  # fmt: skip


def _fault_tolerance(case: Case) -> _Said:
    design = case.design
    policy = POLICIES[design.policy]
    for field, needed in (("spares", policy.has_spares), ("replicas", policy.replicas > 1)):
        if needed and not getattr(design, field):
            yield "fault_tolerance", f"policy {policy.name} without {field}", f"{field} = 1 or more"
    if design.spares and not policy.has_spares:
        yield ("fault_tolerance", f"spares = {design.spares}, but policy {design.policy} uses none",
               f'policy = "{named(lambda one: one.has_spares)}", or no spares')  # fmt: skip


def _load_balancing(case: Case) -> _Said:
    design = case.design
    if design.stragglers in HURRIES and not design.hurried:
        yield ("load_balancing", f'stragglers = "{design.stragglers}", but {design.patterns} waits for every node',
               'stragglers = "none"')  # fmt: skip
    elif design.stragglers in ("quorum", "drop") and design.quorum >= 1:
        yield ("load_balancing", f'stragglers = "{design.stragglers}" with a quorum of 100 %',
               "[[communication]] quorum below 100 %")  # fmt: skip
    for flow in design.flows:
        if flow.quorum < 1 and design.stragglers not in ("quorum", "drop"):
            yield ("load_balancing", f'{flow.of} has a quorum of {flow.quorum:.0%}, but stragglers = '
                   f'"{design.stragglers}" waits for every node', 'stragglers = "quorum"')  # fmt: skip
