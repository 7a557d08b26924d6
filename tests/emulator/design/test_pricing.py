"""Prices of designs: the section's table to the digit, examples worked out by hand, and what may only get better."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.costs import waiting
from emulator.design import parse, predict
from emulator.design.model import Design, Facts, Flow, design_of, facts_of
from emulator.design.prices import balance, communication, failures, pricing
from emulator.design.prices.network_terms import Shared
from tests.emulator.design.sheets import SECTION, sheet

GOLDEN = Path(__file__).parents[2] / "data" / "speedup_golden.csv"


def facts(**job):
    return facts_of(sheet()).scaled(**job)


def test_the_sections_table_to_the_digit():
    priced = predict(parse(SECTION))
    for row in csv.DictReader(GOLDEN.read_text().splitlines()):
        found = priced.at(int(row["p"]))
        assert f"{found['compute']:.4f}" == row["t_comp_over_p"]
        assert f"{found['communication']:.4f}" == row["t_comm"]
        assert f"{found['step']:.4f}" == row["t_step"]
        assert f"{found['speedup']:.2f}" == row["speedup"]
        assert f"{found['ratio']:.3f}" == row["comm_over_comp"]


def test_the_sections_p_star():
    priced = predict(parse(SECTION))
    best = priced.at(priced.best())
    assert (best["p"], f"{best['speedup']:.2f}", f"{best['efficiency']:.1%}") == (34, "7.49", "22.0%")
    assert f"{best['ratio']:.2f}" == "3.54"
    assert priced.dominated() == 13
    assert priced.knee() == next(p for p in range(1, 35) if priced.at(p)["step"] <= 1.05 * best["step"])


def test_example_b_moves_rows_instead_of_the_table():
    clicks = sheet()
    dense = design_of(clicks)
    table = clicks.parts["table"]
    assert communication.volume(dense, dense.flows[1], table) == 4000 * (512 + 8)
    replica = predict(sheet("communication.table.pattern=all-reduce", "communication.table.servers=0"))
    assert replica.at(16)["sent"] > 10 * predict(clicks).at(16)["sent"]


def test_a_sharded_table_by_hand():
    """4 servers, 16 workers, 2.08 MB each: 2 alpha + (16 + 4)/4 n beta."""
    clicks = sheet()
    known, design = facts_of(clicks), design_of(clicks)
    price = communication.flow_price(known, design, design.flows[1], np.array([16]))
    assert price.latency[0] == pytest.approx(2 * known.alpha)
    assert price.bandwidth[0] == pytest.approx(5 * 2_080_000 * known.beta)
    priced = predict(clicks)
    assert priced.server_memory == pytest.approx(clicks.parts["table"].bytes / 4)
    assert priced.at(16)["waiting"] == pytest.approx((waiting.slowest(16, 0.05) - 1) / 16, rel=1e-9)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # M = 100 h / 10 = 36000 s, a node is away 1/101 of the time, a step takes 2 s, 1 GB moves in 1 s
        ("restart", (2.9 + 1) / 36000 + 1 / 101 + 1 / 600 + 300 / 36000),
        ("shrink", (0.076 + 2) / 36000 + 1 / 101),
        ("respawn", (0.49 + 2 + 1) / 36000),
        ("spare", (0.138 + 2 + 1) / 36000),
        ("continue", 0.02 / 36000 + 1 / 101),
        ("reexecute", (0.044 + 2) / 36000 + 1 / 101),
    ],
)
def test_waste_by_hand(policy, expected):
    known = replace(facts(mtbf=360000.0, repair=3600.0), beta=1e-9)
    design = Design("data", (Flow("dense", "all-reduce"),), ("dense",), policy=policy, interval=600.0, spares=1)
    found = failures.waste(known, design, np.array([10]), np.array([2.0]), np.array([1e9]))
    assert found[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("policy", "quick", "slow"),
    [("shrink", 35.3e-3, 76e-3), ("spare", 64.5e-3, 138e-3), ("respawn", 274e-3, 490e-3), ("restart", 1.24, 2.9)],
)
def test_a_recovery_is_as_quick_as_the_machine_starts_its_ranks(policy, quick, slow):
    """The two machines of docs/faults.md: 1.4 s and 2.7 s for 16 ranks, steps of 4 ms and 11 ms."""
    machines = failures.Machine(16, 1.4, 4e-3), failures.Machine(16, 2.7, 11e-3)
    found = [failures.recovery_on(machine, policy) for machine in machines]
    assert found == pytest.approx([quick, slow], rel=0.21)
    assert failures.recovery_on(replace(machines[0], step=1.0), policy) > 2


@pytest.mark.parametrize(("launch", "step", "measured"), [(5.73, 8.28e-3, 27.7e-3), (6.7, 32e-3, 33.1e-3)])
def test_ranks_that_go_on_without_the_dead_one_do_no_step_again(launch, step, measured):
    """Gossip and federated learning of 8 ranks on a busy machine."""
    assert failures.recovery_on(failures.Machine(8, launch, step), "continue") == pytest.approx(measured, rel=0.15)


def test_what_replicas_are_for():
    served = Design("data", (Flow("table", "parameter-server", servers=2),), policy="replicate")
    assert failures.needs_checkpoints(facts(), served)
    assert not failures.needs_checkpoints(facts(), replace(served, replicas=1))


def test_the_fullest_shard():
    assert balance.skewed(1000, 0.0, 4, "range") == pytest.approx(1.0)
    ranged = balance.skewed(1000, 1.0, 4, "range")
    assert ranged == pytest.approx(4 * sum(1 / i for i in range(1, 251)) / sum(1 / i for i in range(1, 1001)), rel=1e-3)
    assert balance.skewed(1000, 1.0, 4, "hash") < ranged
    assert balance.skewed(10**9, 0.5, 1, "hash") == 1


def test_how_old_updates_get():
    p = np.array([2, 16, 64])
    base = Design("data", (Flow("dense", "gossip", graph="one-peer"),))
    assert balance.staleness(base, p).tolist() == [0, 3, 5]
    assert balance.staleness(replace(base, flows=(Flow("dense", "gossip", graph="ring"),)), p).tolist() == [0, 7, 31]
    assert balance.staleness(replace(base, model="asynchronous"), p).tolist() == [math.inf] * 3
    server = Design("data", (Flow("dense", "parameter-server", servers=1),), model="bounded", bound=4)
    assert balance.staleness(server, p).tolist() == [4] * 3


@st.composite
def designs(draw):
    """Every pattern under every consistency, with and without a quorum."""
    pattern = draw(st.sampled_from(["all-reduce", "parameter-server", "gossip", "federated", "scatter-gather"]))
    options = {"servers": 4} if pattern == "parameter-server" else {}
    options |= {"graph": draw(st.sampled_from(["one-peer", "ring", "torus"])), "every": draw(st.sampled_from([1, 8]))}
    flows = tuple(Flow(name, pattern, quorum=0.9, **options) for name in ("dense", "table"))
    model = draw(st.sampled_from(["synchronous", "bounded", "asynchronous"]))
    return Design("data", flows, model=model, bound=4 * (model == "bounded"),
                  stragglers=draw(st.sampled_from(["none", "backup", "quorum"])))  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(designs(), st.floats(1.0, 100.0))
def test_more_memory_never_makes_a_design_infeasible(design, factor):
    known = facts(most=32)
    more = known.scaled(memory=int(known.job.memory * factor))
    assert not (pricing.price(known, design).feasible & ~pricing.price(more, design).feasible).any()


SHARED = ((), (Shared("card", 0.34e-9, 4),), (Shared("uplink", 1e-9, 4), Shared("pipe", 2e-9, share=1 / 3)))


@settings(deadline=None, max_examples=60)
@given(designs(), st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.sampled_from(SHARED))
def test_a_faster_network_never_lowers_the_speedup(design, alpha, beta, shared):
    known = replace(facts(most=32), shared=shared)
    assert (
        pricing.price(known.scaled(alpha, beta), design).step <= pricing.price(known, design).step * (1 + 1e-9)
    ).all()


def test_draws_of_terms_give_an_interval_of_p_star():
    known = facts_of(parse(SECTION))
    draws = np.column_stack([known.alpha * np.linspace(0.5, 2, 21), np.full(21, known.beta), np.zeros(21)])
    low, high = pricing.best_interval(pricing.price(replace(known, draws=draws), design_of(parse(SECTION))))
    assert low < 34 < high
    same = np.array([[known.alpha, known.beta, 0.0]])
    fixed = replace(known, draws=same, shared=(Shared("card", known.beta, 4, dealt=True),))
    told = pricing.price(fixed, design_of(parse(SECTION)))
    assert pricing.best_interval(told) == (told.best(), told.best())
    assert pricing.best_interval(predict(parse(SECTION))) is None
    assert isinstance(known, Facts)


NETWORKS = Path(__file__).parents[3] / "examples" / "networks"


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        ("multicore", 20e-6, 0.32e-9),  # the first ranks share a host, and their messages do not meet the network
        ("racks", 15e-6, 0.32e-9),
        ("heterogeneous", 220e-6, 0.8e-9),
        ("regions", 110e-3, 8e-9),
        ("torus", 1.3e-6, 0.1e-9),  # no place for more than 16
        ("smallest", 50e-6, 0.8e-9),
    ],
)
def test_a_network_file_is_priced_by_its_slowest_path(name, alpha, beta):
    own = 'latency = "400 us"\nbandwidth = "20 Gbit/s"\n'
    assert own in SECTION
    found = facts_of(parse(SECTION.replace(own, f'file = "{NETWORKS / name}.toml"\n')))
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta))
    assert found.origin.endswith("slowest path") == (name not in ("multicore", "smallest"))
