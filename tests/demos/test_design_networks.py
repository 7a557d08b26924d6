"""Skeletons on networks with racks, regions, shared cards and unequal hosts: simulated ranks beside the price."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demos._lib.design_report import prediction
from demos._lib.skeleton import simulated
from emulator.design import parse, predict
from emulator.design.exchange import Exchange, price
from emulator.design.model import Flow, facts_and_design, facts_of
from emulator.design.skeleton import expected, skeleton
from emulator.design.terms import ways_of
from emulator.errors import UsageError
from emulator.network import load
from tests.emulator.design.sheets import SECTION

NETWORKS = Path(__file__).parents[2] / "examples" / "networks"
CASES = Path(__file__).parents[2] / "demos" / "cases"
OWN = 'latency = "400 us"\nbandwidth = "20 Gbit/s"\n'


def exchange(pattern: str, model: str = "synchronous", extra: int = 0, p: int = 6, **options) -> Exchange:
    flow = {name: options.pop(name) for name in ("servers", "graph") if name in options}
    return Exchange(Flow("model", pattern, **flow), model, 3, p, extra, 1 << 18, 1 << 18, 0.02, **options)


EXCHANGES = {
    "ring": exchange("all-reduce", algorithm="ring"),
    "rabenseifner": exchange("all-reduce", algorithm="rabenseifner"),
    "gossip": exchange("gossip", graph="one-peer"),
    "gossip ring": exchange("gossip", graph="ring"),
    "gossip torus": exchange("gossip", graph="torus"),
    "gossip bounded": exchange("gossip", "bounded", graph="one-peer"),
    "gossip asynchronous": exchange("gossip", "asynchronous", graph="ring"),
    "server": exchange("parameter-server", extra=2, servers=2),
    "server bounded": exchange("parameter-server", "bounded", extra=2, servers=2),
    "server sparse": exchange("parameter-server", extra=2, servers=2, touched=600, row_bytes=64, rows=9600),
    "server asynchronous": exchange("parameter-server", "asynchronous", extra=2, servers=2),
    "scatter-gather": exchange("scatter-gather", extra=1),
    "tasks": exchange("scatter-gather", extra=1, tasks=24),
    "federated": exchange("federated", extra=1),
}


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("racks", "ring"), ("racks", "rabenseifner"), ("racks", "federated"), ("racks", "server asynchronous"),
        ("multicore", "gossip"), ("multicore", "server"), ("multicore", "tasks"), ("multicore", "scatter-gather"),
        ("regions", "rabenseifner"), ("regions", "server bounded"), ("regions", "gossip"),
        ("asymmetric", "gossip bounded"), ("asymmetric", "gossip asynchronous"), ("asymmetric", "scatter-gather"),
        ("torus", "server"), ("racks", "server"), ("racks", "gossip ring"), ("racks", "gossip torus"),
        ("racks", "server bounded"), ("regions", "gossip ring"), ("torus", "server sparse"),
        ("regions", "server sparse"),
    ],
)  # fmt: skip
def test_a_skeleton_takes_its_price_where_nodes_share_links(network: str, name: str) -> None:
    """As a whole within 1 %, and what its bytes add within 5 %: that is a small part of a step with computing."""
    one, net = EXCHANGES[name], load(str(NETWORKS / f"{network}.toml"))
    if one.touched:
        one = replace(one, up=one.touched * 72, down=one.touched * 64)
    ways = ways_of(net.sized(one.ranks))
    measured, priced = [], []
    for each in (one.smallest(), one):
        draws = each.draws(0.0, each.count(0.0), 0)
        measured.append(simulated(net, each, draws)[0])
        priced.append(price(each, draws, ways))
    assert priced[1] == pytest.approx(measured[1], rel=0.01)
    assert priced[1] - priced[0] == pytest.approx(measured[1] - measured[0], rel=0.05, abs=1e-6)


def test_an_exchange_of_fewer_ranks_keeps_its_places() -> None:
    """A sum over 6 nodes beside servers: of 8 ranks in three regions the first 6, not 6 ranks laid out anew."""
    one, net = EXCHANGES["ring"], load(str(NETWORKS / "regions.toml"))
    draws = one.draws(0.0, one.count(0.0), 0)
    measured, _ = simulated(net, one, draws, 8)
    assert price(one, draws, ways_of(net.sized(8))) == pytest.approx(measured, rel=1e-6)
    assert price(one, draws, ways_of(net.sized(6))) != pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("name", ["ring", "gossip bounded", "server", "server asynchronous", "tasks"])
def test_unequal_hosts_compute_at_their_own_speed(name: str) -> None:
    net = load(str(NETWORKS / "heterogeneous.toml"))
    one = EXCHANGES[name]
    one = replace(one, p=5 - one.extra, tasks=one.tasks and 12)
    measured, _ = simulated(net, one, one.draws(0.0, one.count(0.0), 0))
    assert expected(one, 0.0, 0, ways_of(net.sized(5))) == pytest.approx(measured, rel=0.01)


def test_what_the_formulas_and_the_run_do_otherwise_is_said() -> None:
    """Tasks that are dealt are pulled in a run, and a quorum's price has the slowest host in it."""
    sheet = parse((CASES / "agentic.toml").read_text(encoding="utf-8"), changes=("load_balancing.sharding=hash",))
    made = skeleton(sheet, *facts_and_design(sheet))
    assert any("free nodes pull them" in note for note in made.notes)
    sheet = parse(
        (CASES / "federated.toml").read_text(encoding="utf-8").replace('preset = "wan"', 'preset = "volunteers"'),
        changes=("communication.quorum=0.8", "load_balancing.stragglers=drop"),
    )
    assert any("leaves slow hosts out" in line for line in prediction([predict(sheet)], [19]))


def test_a_run_and_a_prediction_split_unequal_hosts_alike() -> None:
    """Both count the mean host's time as compute, and what the slowest needs more as waiting."""
    sheet = on("heterogeneous", "partition.nodes=5")
    facts, design = facts_and_design(sheet)
    made = skeleton(sheet, facts, design, cap=1 << 30)
    said = made.predicted(0)
    assert facts.slowest > facts.slowdown > 1
    for term in ("compute", "waiting"):
        assert said[term] == pytest.approx(made.formula[term], rel=1e-6), term
    assert said["waiting"] == pytest.approx((facts.slowest - facts.slowdown) / 5, rel=1e-6)


def on(file: str, *changes: str):
    assert OWN in SECTION
    return parse(SECTION.replace(OWN, f'file = "{NETWORKS / file}.toml"\n'), "mine.toml", changes)


@pytest.mark.parametrize(
    ("file", "places", "change"),
    [
        ("torus", 16, ()),
        ("links", 4, ()),
        ("heterogeneous", 5, ()),
        ("heterogeneous", 10, ("network.ranks_per_host=2",)),
    ],
)
def test_more_nodes_than_the_network_has_places_for_are_refused(
    file: str, places: int, change: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match=rf"mine.toml: .*places for {places} ranks, got {places + 1} nodes") as error:
        predict(on(file, f"partition.nodes={places + 1}", *change))
    assert "\n" not in str(error.value)
    assert predict(on(file, f"partition.nodes={places}", *change)).best() <= places


def test_a_ring_keeps_to_its_rack_and_others_share_the_uplink() -> None:
    facts = facts_of(on("racks"))
    (uplink,) = facts.shared
    assert uplink.members(np.array([2, 4, 64])).tolist() == [2, 4, 4]
    ring, doubling = (
        predict(on("racks", f"communication.algorithm={name}")).at(16) for name in ("ring", "recursive_doubling")
    )
    assert ring["bandwidth"] == pytest.approx(2 * 15 / 16 * 1e8 * facts.beta)
    assert doubling["bandwidth"] == pytest.approx(4 * 4 * 1e8 * uplink.beta)


def test_a_coordinator_needs_a_place_too() -> None:
    changes = ("partition.nodes=5", "communication.pattern=federated", "fault_tolerance.policy=continue")
    sheet = on("heterogeneous", 'communication.algorithm="auto"', *changes)
    made = skeleton(sheet, *facts_and_design(sheet))
    assert (made.p, made.ranks) == (4, 5)
    assert any("as many as the network has places for" in note for note in made.notes)


def test_ranks_of_a_host_are_run_on_one_card() -> None:
    sheet = on("smallest", "network.ranks_per_host=4", "partition.nodes=8")
    facts, design = facts_and_design(sheet)
    assert [(each.name, each.nodes) for each in facts.shared] == [("card", 4)]
    made = skeleton(sheet, facts, design)
    assert [made.network.host_of(rank) for rank in range(8)] == [0] * 4 + [1] * 4
