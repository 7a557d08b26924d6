"""Predictions and reviews on networks whose paths differ: followed message by message, as simulated ranks take it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from demos._lib.design.report import prediction
from demos._lib.design.skeleton import simulated
from emulator.design import check, load, plan, predict
from emulator.design.model import facts_and_design
from emulator.design.prices import pricing
from emulator.design.prices.skeleton import skeleton
from emulator.design.sheets.sheet import Sheet
from emulator.design.sheets.writer import sheet_text

EU = """
[link]
bandwidth = "10 Gbit/s"
[topology]
kind = "regions"
names = ["a", "b"]
bandwidth = "2 Gbit/s"
latency = [["0.2 ms", "15 ms"], ["15 ms", "0.2 ms"]]
"""
CASES = Path(__file__).parents[3] / "demos" / "cases"


@pytest.fixture
def on(tmp_path):
    """Example B with 2 servers on two regions, with fields replaced."""
    (tmp_path / "eu.toml").write_text(EU)
    text = (CASES / "example_b.toml").read_text()
    before, _, rest = text.partition("[network]\n")
    text = before + '[network]\nfile = "eu.toml"\n' + rest[rest.index("[partition]") :]
    (tmp_path / "b.toml").write_text(text)

    def made(nodes: int, *changes: str) -> Sheet:
        fields = (f"partition.nodes={nodes}", "communication.table.servers=2", "job.steps=1", *changes)
        return load(tmp_path / "b.toml", fields)

    return made


def measured(sheet: Sheet) -> float:
    """Seconds of a step's messages on simulated ranks, without spread."""
    made = skeleton(sheet, *facts_and_design(sheet), 32, 1 << 40)
    total = 0.0
    for one in made.exchanges:
        terms = made.by_term(
            lambda e, spread: simulated(made.network, e, e.draws(spread, e.count(spread), 0), made.ranks)[0], one, 0.0
        )
        total += terms["latency"] + terms["bandwidth"]
    return total


def test_a_prediction_takes_what_the_messages_take(on) -> None:
    sheet = on(6)
    priced = predict(sheet)
    row, seen = priced.at(6), measured(sheet)
    assert row["communication"] == pytest.approx(seen, rel=0.01)
    assert not priced.first_order(6)
    assert priced.first_order(5)
    lines = "\n".join(prediction([priced], [6]))
    assert "at p = 6 are exact" in lines
    formula = pricing.predict(sheet)
    assert formula.at(6)["communication"] > 1.5 * seen
    assert "at p = 6 are by formulas of first order" in "\n".join(prediction([formula], [6]))


def test_a_design_too_large_to_follow_is_priced_to_first_order(on) -> None:
    sheet = on(60)
    assert predict(sheet).first_order(60)
    assert predict(sheet).at(60) == pricing.predict(sheet).at(60)


def test_what_hides_messages_hides_those_that_were_followed(on) -> None:
    whole = predict(on(6)).at(6)["communication"]
    half = predict(on(6, "communication.dense.overlap=0.5", "communication.table.overlap=0.5")).at(6)
    assert half["communication"] == pytest.approx(whole / 2)


def test_the_cheaper_pattern_is_the_one_whose_messages_are_quicker(on) -> None:
    """The formula prefers a parameter server for the dense layers, which then take longer."""
    assert not [one for one in check(on(6)) if one.rule == 2]
    served = on(6, "communication.dense.pattern=parameter-server", "communication.dense.servers=2")
    (found,) = [one for one in check(served) if one.rule == 2]
    assert found.error
    assert "all-reduce" in found.remedy
    assert "message by message" in found.text
    assert measured(served) > 1.05 * measured(on(6))


@pytest.mark.parametrize(("nodes", "rule"), [(60, 2), (60, 12)])
def test_a_comparison_of_first_order_is_a_question(on, nodes: int, rule: int) -> None:
    changes = ("communication.dense.algorithm=ring",) if rule == 2 else ()
    found = [one for one in check(on(nodes, *changes)) if one.rule == rule]
    assert found
    assert not any(one.error for one in found)
    assert all("first order" in one.text for one in found)


def test_touched_rows_are_an_error_only_where_the_messages_confirm_it(on) -> None:
    reduced = ("communication.table.pattern=all-reduce", "communication.table.servers=0")
    small, large = ([one.error for one in check(on(nodes, *reduced)) if one.rule == 3] for nodes in (6, 60))
    assert small == [True]
    assert large == [False]


def test_the_plan_ranks_by_the_messages_of_its_designs(on, tmp_path) -> None:
    """By formula the dense layers go by the servers: then a step takes 1.7 times as long as the winner's."""
    found = plan(on(6))
    scores = [one.score for one in found.ranked]
    assert scores == sorted(scores)
    seen = []
    for one in (found.winner, found.ranked[-1]):
        only = replace(found, ranked=[one], crossovers=[])
        (tmp_path / "found.toml").write_text(sheet_text(only, (tmp_path / "b.toml").read_text()))
        messages = measured(load(tmp_path / "found.toml"))
        row = one.priced.at(one.nodes)
        assert row["communication"] == pytest.approx(messages, rel=0.01)
        seen.append(row["step"] - row["communication"] + messages)
    assert {flow.pattern for flow in found.ranked[-1].design.flows} == {"parameter-server"}
    assert seen[0] < 0.7 * seen[1]


def test_a_design_of_the_plan_that_was_not_followed_is_marked(on) -> None:
    ranked = plan(on(6, "job.staleness=4")).ranked
    marked = {"to first order" in one.reason for one in ranked if one.priced.first_order(one.nodes)}
    followed = {"to first order" in one.reason for one in ranked if not one.priced.first_order(one.nodes)}
    assert (marked, followed) == ({True}, {False})
