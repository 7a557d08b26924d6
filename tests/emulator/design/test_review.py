"""Each of the reviewer's 17 rules: a sheet that trips it, and its neighbour that does not."""

from __future__ import annotations

import pytest

from emulator.design import check, parse
from tests.emulator.design.sheets import CASES, sheet

B = "example_b"
TABLE_REDUCED = ("communication.table.pattern=all-reduce", "communication.table.servers=0")
FEDERATED = ("communication.pattern=federated", "communication.servers=0")


@pytest.mark.parametrize(
    ("rule", "name", "trips", "passes"),
    [
        (1, B, ('job.memory="12799 MB"',), ('job.memory="12800 MB"',)),
        (2, "example_a", ("communication.algorithm=tree",), ("communication.algorithm=auto",)),
        (3, B, TABLE_REDUCED, ()),
        (4, B, ("consistency.model=bounded", "consistency.bound=2"),
         ("consistency.model=bounded", "consistency.bound=2", "job.staleness=2")),
        (5, B, ("job.spread=0.16",), ("job.spread=0.15",)),
        (5, B, ("job.spread=0.4", "load_balancing.stragglers=backup"),
         ("job.spread=0.4", "consistency.model=bounded", "consistency.bound=4")),
        (5, "rag", ("consistency.model=synchronous", "load_balancing.stragglers=none"),
         ("consistency.model=synchronous", "load_balancing.stragglers=backup")),
        (7, "swarm", ("coordination.control=central",), ()),
        (7, "swarm", ("coordination.data=central",), ()),
        (7, "federated", ("coordination.data=central",), ()),
        (7, "swarm", ("communication.pattern=federated",), ("communication.pattern=federated", "job.central=allowed")),
        (7, "federated", ("communication.pattern=parameter-server", "communication.servers=1"), ()),
        (8, B, ("fault_tolerance.policy=continue",), ("fault_tolerance.policy=shrink",)),
        (9, B, ('job.mtbf="1000 h"', 'fault_tolerance.interval="1000 s"'),
         ('job.mtbf="1000 h"', 'fault_tolerance.interval="1100 s"')),
        (9, B, ('job.mtbf="1000 h"', 'fault_tolerance.interval="4800 s"'),
         ('job.mtbf="1000 h"', 'fault_tolerance.interval="2400 s"')),
        (10, B, ("fault_tolerance.policy=replicate", "fault_tolerance.replicas=1", "fault_tolerance.survive=2"),
         ("fault_tolerance.policy=replicate", "fault_tolerance.replicas=2", "fault_tolerance.survive=2")),
        (10, B, ("fault_tolerance.policy=replicate", "fault_tolerance.replicas=1",
                 "fault_tolerance.replicas_on=same-host"),
         ("fault_tolerance.policy=replicate", "fault_tolerance.replicas=1")),
        (11, "federated", ("communication.rule=mean",), ()),
        (11, "federated", ("communication.rule=mean",), ("communication.rule=mean", "job.liars=0")),
        (11, "federated", ("job.liars=10",), ("job.liars=9",)),
        (11, "federated", ("job.liars=10", "communication.rule=trimmed-mean"),
         ("job.liars=9", "communication.rule=trimmed-mean")),
        (11, "federated", ("job.liars=9", "communication.rule=krum"), ("job.liars=8", "communication.rule=krum")),
        (12, "example_a", ("partition.nodes=35",), ("partition.nodes=31",)),
        (12, "example_a", ("partition.nodes=32",), ("partition.nodes=31",)),
        (13, "example_a", ("partition.nodes=13",), ("partition.nodes=12",)),
        (14, B, ("partition.parts=15",), ("partition.parts=16",)),
        (14, B, ("partition.parts=21",), ("partition.parts=22",)),
        (15, "rag", ('job.deadline="32 ms"',), ('job.deadline="34 ms"',)),
        (15, "rag", ('job.deadline="36 ms"', "load_balancing.stragglers=none"), ('job.deadline="36 ms"',)),
        (16, B, ('consistency.why=""',), ('consistency.why="x"',)),
        (16, B, ('communication.table.rejected=" "',), ('communication.table.rejected="x"',)),
        (17, B, ("consistency.bound=2",), ()),
        (17, B, ("load_balancing.stragglers=backup",), ("load_balancing.stragglers=stealing",)),
        (17, "rag", ('communication.query.quorum="100 %"', 'communication.index.quorum="100 %"'), ()),
        (17, B, ("consistency.model=bounded",), ("consistency.model=bounded", "consistency.bound=1")),
        (17, "swarm", ("coordination.data=central",), ()),
        (17, B, ("communication.pattern=parameter-server", "communication.servers=1"),
         ("communication.pattern=parameter-server", "communication.servers=1", "coordination.data=central",
          "partition.replicated=[]")),
        (17, B, ("fault_tolerance.policy=replicate",),
         ("fault_tolerance.policy=replicate", "fault_tolerance.replicas=1")),
        (17, B, ("partition.split=model",), ()),
        (17, "agentic", ("state.layers.activations=0 B",), ()),
        (17, B, ("fault_tolerance.policy=spare",), ("fault_tolerance.policy=spare", "fault_tolerance.spares=1")),
        (17, B, ("fault_tolerance.spares=1",), ("fault_tolerance.policy=spare", "fault_tolerance.spares=1")),
        (17, B, ('partition.replicated=["dense", "table"]',), ('partition.replicated=["dense"]',)),
        (17, B, ("consistency.model=asynchronous", "consistency.bound=2"), ("consistency.model=asynchronous",)),
        (17, B, ("coordination.if_lost=nobody-needed",),
         ("coordination.if_lost=nobody-needed", "coordination.control=decentralized")),
        (17, "rag", ("load_balancing.stragglers=none",), ("load_balancing.stragglers=drop",)),
    ],
)  # fmt: skip
def test_a_rule(rule, name, trips, passes):
    tripped = sheet(*trips, name=name)
    found = [one for one in check(tripped) if one.rule == rule]
    assert found, [f"{one.rule}: {one.text}" for one in check(tripped)]
    for one in found:
        assert one.text
        assert one.remedy
    assert rule not in {one.rule for one in check(sheet(*passes, name=name))}


@pytest.mark.parametrize(("staleness", "error"), [(0, False), (1, True)])
def test_waiting_is_an_error_where_the_facts_leave_a_remedy(staleness, error):
    (found,) = [one for one in check(sheet("job.spread=0.4", f"job.staleness={staleness}")) if one.rule == 5]
    assert found.error is error


def test_a_coordinator_whose_loss_is_not_planned():
    """Rule 6: TOML has no null, so the sheet leaves the field out."""
    text = (CASES / "example_b.toml").read_text()
    silent = text.replace('if_lost = "restart"\n', "")
    assert silent != text
    (found,) = [one for one in check(parse(silent)) if one.rule == 6]
    assert (found.slot, found.error) == ("coordination", True)
    decentralized = silent.replace('control = "central"', 'control = "decentralized"')
    for neighbour in (text, decentralized):
        assert 6 not in {one.rule for one in check(parse(neighbour))}
    assert 6 in {one.rule for one in check(parse(decentralized, changes=("coordination.data=central",)))}


def test_the_section_on_b_with_all_reduce():
    found = {one.rule: one for one in check(sheet(*TABLE_REDUCED))}
    assert {1, 3} <= set(found)
    assert "does not fit" in found[1].text or "too much" in found[1].text
    assert "times less" in found[3].text


@pytest.mark.parametrize("path", sorted(CASES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_shipped_sheets_have_no_errors(path):
    assert not [one for one in check(sheet(name=path.stem)) if one.error]


def test_the_age_of_updates_in_words():
    def said(*changes):
        return next(one.text for one in check(sheet(*changes)) if one.rule == 4)

    assert "may be up to 1 step old" in said("consistency.model=bounded", "consistency.bound=1")
    assert "may be of any age" in said("consistency.model=asynchronous")
