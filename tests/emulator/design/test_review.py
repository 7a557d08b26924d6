"""Each of the reviewer's 17 rules: a sheet that trips it, and its neighbour that does not."""

from __future__ import annotations

import pytest

from emulator.design import check
from tests.emulator.design.sheets import CASES, sheet

B = "example_b"
TABLE_REDUCED = ("communication.table.pattern=all-reduce", "communication.table.servers=0")
FEDERATED = ("communication.pattern=federated", "communication.servers=0")


@pytest.mark.parametrize(
    ("rule", "name", "trips", "passes"),
    [
        (1, B, ('job.memory="8 GB"',), ('job.memory="16 GB"',)),
        (2, "example_a", ("communication.algorithm=tree",), ("communication.algorithm=auto",)),
        (3, B, TABLE_REDUCED, ()),
        (4, B, ("consistency.model=bounded", "consistency.bound=2"),
         ("consistency.model=bounded", "consistency.bound=2", "job.staleness=2")),
        (5, B, ("job.spread=0.4",), ("job.spread=0.4", "load_balancing.stragglers=backup")),
        (6, "swarm", ("coordination.control=central", 'coordination.if_lost="elect"'), ()),
        (7, "swarm", ("coordination.control=central",), ()),
        (8, B, ("fault_tolerance.policy=continue",), ("fault_tolerance.policy=shrink",)),
        (9, B, ('job.mtbf="1000 h"', 'fault_tolerance.interval="10 s"'),
         ('job.mtbf="1000 h"', 'fault_tolerance.interval="2400 s"')),
        (10, B, ("fault_tolerance.policy=replicate", "fault_tolerance.replicas=1", "fault_tolerance.survive=2"),
         ("fault_tolerance.policy=replicate", "fault_tolerance.replicas=2", "fault_tolerance.survive=2")),
        (11, "federated", ("communication.rule=mean",), ()),
        (11, "federated", ("job.liars=10",), ("job.liars=9",)),
        (12, "example_a", ("partition.nodes=64",), ("partition.nodes=24",)),
        (13, "example_a", ("partition.nodes=21",), ("partition.nodes=8",)),
        (14, B, ("partition.parts=8",), ("partition.parts=32",)),
        (14, B, ("partition.parts=17",), ("partition.parts=48",)),
        (15, "rag", ("job.deadline=\"30 ms\"",), ()),
        (16, B, ("consistency.why=\"\"",), ()),
        (17, B, ("consistency.bound=2",), ()),
        (17, B, ("fault_tolerance.policy=spare",), ("fault_tolerance.policy=spare", "fault_tolerance.spares=1")),
    ],
)  # fmt: skip
def test_a_rule(rule, name, trips, passes):
    if rule == 6:  # TOML has no null: the sheet leaves the field out
        tripped = sheet(*trips, name=name)
        object.__setattr__(tripped.coordination, "if_lost", None)
    else:
        tripped = sheet(*trips, name=name)
    found = [one for one in check(tripped) if one.rule == rule]
    assert found, [f"{one.rule}: {one.text}" for one in check(tripped)]
    for one in found:
        assert one.text
        assert one.remedy
    assert rule not in {one.rule for one in check(sheet(*passes, name=name))}


def test_the_section_on_b_with_all_reduce():
    found = {one.rule: one for one in check(sheet(*TABLE_REDUCED))}
    assert {1, 3} <= set(found)
    assert "does not fit" in found[1].text or "too much" in found[1].text
    assert "times less" in found[3].text


@pytest.mark.parametrize("path", sorted(CASES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_shipped_sheets_have_no_errors(path):
    assert not [one for one in check(sheet(name=path.stem)) if one.error]
