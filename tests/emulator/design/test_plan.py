"""The planner: the section's rows from five cases' facts, brute force on a small menu, sheets that it writes."""

from __future__ import annotations

import numpy as np
import pytest

from emulator.design import check, parse, plan
from emulator.design.model import design_of, facts_of
from emulator.design.planning.legal_designs import Menu, grid, policies
from emulator.design.planning.planner import EQUAL, simplicity
from emulator.design.prices import pricing
from emulator.design.sheets.descriptions import slots
from emulator.design.sheets.writer import facts_text, sheet_text
from emulator.errors import UsageError
from tests.emulator.design.sheets import CASES, sheet

ROWS = {
    "rag": ({"query": "scatter-gather"}, "work", "asynchronous", "central", {"replicate", "reexecute"}),
    "federated": ({"model": "federated"}, "data", "bounded", "decentralized", {"continue"}),
    "recommendation": ({"table": "parameter-server"}, "data", "bounded", "central", {"replicate"}),
    "swarm": ({"map": "gossip"}, "work", "asynchronous", "decentralized", {"continue"}),
    "agentic": ({"layers": "all-reduce", "episode": "scatter-gather"}, "model", "synchronous", "central",
                {"respawn", "shrink", "spare"}),
}  # fmt: skip
"""The section's table: patterns, partition, consistency (eventual is asynchronous), control, fault tolerance."""


@pytest.mark.parametrize("name", ROWS)
def test_the_facts_of_a_case_lead_to_the_sections_row(name):
    found = plan(sheet(name=name))
    patterns, split, model, control, policy = ROWS[name]
    design = found.winner.design
    assert patterns.items() <= {flow.of: flow.pattern for flow in design.flows}.items()
    assert (design.split, design.model, design.control) == (split, model, control)
    assert design.policy in policy
    assert found.default.reason
    assert ("must not be built" in found.default.reason) == (name in ("federated", "swarm"))
    for one in found.ranked:
        assert one.reason
        assert "\n" not in one.reason


def test_the_sections_students_come_to_their_patterns():
    """A: an all-reduce needs no servers and is no slower; B: the table by a parameter server. Machines are named."""
    first, second = plan(sheet(name="example_a")), plan(sheet(name="example_b"))
    assert first.winner.design.flows[0].pattern == "all-reduce"
    assert first.winner.design.model == "synchronous"
    assert first.winner.priced.extra_nodes == 0
    assert first.default.score <= first.winner.score * (1 + EQUAL)
    assert "against 27 nodes + 64 servers" in first.winner.reason
    assert {flow.of: flow.pattern for flow in second.winner.design.flows}["table"] == "parameter-server"
    shown = slots(second.facts, second.winner.design, second.winner.nodes)["partition"]
    assert f"{second.winner.nodes} nodes + {second.winner.design.servers} servers" in shown


def test_the_search_looks_at_powers_of_two_and_at_all_nodes():
    """A sum by halves and doubles is cheapest at a power of two: without these a slower design seems the best."""
    for most in (1, 7, 64, 65, 128, 1000, 1024, 16384):
        p = grid(most)
        assert p[-1] == most
        assert (np.diff(p) > 0).all()
        assert {2**k for k in range(15) if 2**k <= most} <= set(p.tolist())


@pytest.mark.parametrize("name", ROWS)
def test_a_case_sheet_is_what_the_planner_writes(name):
    """Its slots are the winner's, and the reviewer has no objection."""
    given = sheet(name=name)
    assert design_of(given).flows == plan(given).winner.design.flows
    assert not [one for one in check(given) if one.error]


@pytest.mark.parametrize("name", ["recommendation", "federated", "swarm"])
@pytest.mark.parametrize("objective", ["time", "cost", "knee"])
def test_brute_force_finds_nothing_better(name, objective):
    facts = facts_of(sheet(name=name))
    small = {"bounds": (2, 8), "rounds": (1, 8, 64), "servers": (16, 32), "graphs": ("one-peer", "ring")}
    found = plan(sheet(name=name), objective, menu=Menu(**small))
    scores = {}
    for base in Menu(**small).designs(facts):
        for design in policies(facts, base):
            priced = pricing.price(facts, design, grid(facts.job.most), fresh=True)
            if objective == "time":
                scores[design] = float(priced.job.min())
            elif objective == "cost":
                scores[design] = float(priced.node_seconds.min())
            else:
                knee = priced.knee()
                scores[design] = priced.at(knee)["node_seconds"] if knee else np.inf
    best = min(scores.values())
    assert found.winner.score <= best * (1 + EQUAL) * (1 + 1e-9)
    close = [design for design, score in scores.items() if score <= (1 + EQUAL) * best]
    assert simplicity(found.winner.design)[0] <= min(simplicity(one)[0] for one in close if one in close) + 1


def test_the_winner_as_a_sheet():
    text = (CASES / "recommendation.toml").read_text()
    found = plan(parse(text))
    written = parse(sheet_text(found, text))
    assert design_of(written) == found.winner.design
    assert all(table.why and table.rejected for table in written.communication)
    assert "# Adagrad's accumulator" in facts_text(text)
    assert "[partition]" not in facts_text(text)


def test_crossovers_are_sentences_with_a_figure():
    said = " ".join(plan(sheet(name="recommendation")).crossovers)
    assert "beats all-reduce below" in said
    assert "% touched rows" in said


def test_no_feasible_design_says_why():
    with pytest.raises(UsageError, match=r"no design is feasible for 'clicks'.*too much for a node of"):
        plan(sheet('job.memory="1 MB"'))
    with pytest.raises(UsageError, match="objective is one of"):
        plan(sheet(), "fame")


@pytest.mark.parametrize("objective", ["time", "cost"])
def test_the_quick_bound_is_never_above_the_price(objective):
    facts = facts_of(sheet(name="recommendation"))
    p, memo = grid(facts.job.most), {}
    for base in Menu(servers=(16, 32), rounds=(1, 8), bounds=(2,)).designs(facts):
        least = pricing.least(facts, base, p, memo, nodes=objective == "cost")
        for design in policies(facts, base):
            priced = pricing.price(facts, design, p)
            assert least <= (priced.node_seconds if objective == "cost" else priced.job).min() * (1 + 1e-9)
