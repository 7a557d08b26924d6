"""Skeletons on networks with racks, regions, shared cards and unequal hosts: simulated ranks beside the price."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos._lib.design.skeleton import simulated
from emulator.costs import waiting
from emulator.design import parse, predict
from emulator.design.model import Flow, facts_and_design, facts_of
from emulator.design.prices.exchange import Exchange, price
from emulator.design.prices.network_terms import ways_of
from emulator.design.prices.skeleton import expected, skeleton
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


MOST = 122
"""Exchanges of a comparison: the price follows the very ones that are run, settled or not, so that more say no more."""


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
    count = min(MOST, one.count(0.0))
    for each in (one.smallest(), one):
        draws = each.draws(0.0, count, 0)
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


def case(name: str, preset: str, *changes: str):
    text = (CASES / f"{name}.toml").read_text(encoding="utf-8")
    return parse(re.sub(r'preset = "[^"]*"', f'preset = "{preset}"', text), changes=("job.memory=6 TB", *changes))


def run_of(sheet) -> tuple[Any, float]:
    """The skeleton of a whole sheet, and the seconds of its exchange on simulated ranks."""
    made = skeleton(sheet, *facts_and_design(sheet), cap=1 << 40, most=32)
    (one,) = made.exchanges
    draws = one.draws(made.spread, one.count(made.spread), 0)
    return made, simulated(made.network, one, draws)[0] / one.between


NO_QUORUM = ("communication.index.quorum=1.0", "communication.query.quorum=1.0")


@pytest.mark.parametrize(("replicas", "p"), [(1, 4), (1, 12), (0, 4)])
def test_a_backup_request_begins_when_the_run_begins_it(replicas: int, p: int) -> None:
    """After 1.5 medians, on the node with the replica, and the attempt that lost is finished; without one never."""
    changes = ("load_balancing.stragglers=backup", f"fault_tolerance.replicas={replicas}", f"partition.nodes={p}")
    made, measured = run_of(case("rag", "cloud-zone", *NO_QUORUM, *changes))
    assert made.spread == 0.3
    assert made.formula["total"] == pytest.approx(measured, rel=0.06)


def test_tasks_that_a_sheet_deals_are_dealt() -> None:
    """Every node runs its own: the others wait for all of the slowest one's, not for its last task."""
    tasks = replace(EXCHANGES["tasks"], tasks=24)
    net = load("cloud-zone")
    seconds = {}
    for one in (tasks, replace(tasks, dealt=True)):
        draws = one.draws(0.3, 40, 0)
        seconds[one.dealt], _ = simulated(net, one, draws)
        assert price(one, draws, ways_of(net.sized(one.ranks))) == pytest.approx(seconds[one.dealt], rel=0.01)
    assert seconds[True] == pytest.approx(4 * 0.02 * waiting.slowest(6, 0.3), rel=0.05)
    assert seconds[False] < 0.85 * seconds[True]
    dealt = case("agentic", "hdr", "load_balancing.sharding=hash")
    assert skeleton(dealt, *facts_and_design(dealt)).exchanges[-1].dealt


@pytest.mark.parametrize(("quorum", "spread"), [(1.0, 0.3), (0.8, 0.0), (0.6, 0.0), (0.6, 0.3)])
@pytest.mark.parametrize("name", ["federated", "rag"])
def test_a_quorum_leaves_slow_hosts_out(name: str, quorum: float, spread: float) -> None:
    """Of 16 volunteers one in four is 4 times as slow and one in four twice."""
    changes = [f"job.spread={spread}", "partition.nodes=16"]
    if name == "rag":
        changes += [f"communication.{part}.quorum={quorum}" for part in ("index", "query")]
    else:
        changes += [f"communication.quorum={quorum}", "communication.compression=0.001"]
    changes += [f"load_balancing.stragglers={'none' if quorum == 1 else 'quorum' if name == 'rag' else 'drop'}"]
    sheet = case(name, "volunteers", *changes)
    _, measured = run_of(sheet)
    within = 0.1 if spread else 0.02  # the lines have jitter
    assert predict(sheet).at(16)["step"] == pytest.approx(measured, rel=within)


@pytest.mark.parametrize(("p", "t_comp"), [(6, "0.2 s"), (12, "0.5 s"), (12, "2 s")])
def test_unequal_nodes_of_an_asynchronous_server_go_at_their_own_rates(p: int, t_comp: str, tmp_path: Path) -> None:
    """The server is full, half full with slow nodes in it, and idle."""
    hosts = "".join(f'[[host]]\nname = "h{i}"\nslowdown = {slow}\n' for i, slow in enumerate((1, 1, 1, 8, 2)))
    link = '[link]\nlatency = "20 us"\nbandwidth = "10 Mbit/s"\n[hosts]\nrepeat = true\n'
    (tmp_path / "unequal.toml").write_text(link + hosts)
    server = ("communication.pattern=parameter-server", "communication.servers=2", 'communication.algorithm="auto"',
              "fault_tolerance.policy=continue", "consistency.model=asynchronous", f"job.t_comp={t_comp}",
              "job.spread=0", f"partition.nodes={p}")  # fmt: skip
    text = SECTION.replace(OWN, f'file = "{tmp_path}/unequal.toml"\n')
    sheet = parse(text.replace('bytes = "100000000 B"', 'bytes = "80 KB"'), changes=server)
    _, measured = run_of(sheet)  # a run of so many steps, in which quick nodes leave the queue to the slow ones at last
    assert predict(sheet).at(p)["step"] == pytest.approx(measured, rel=0.08)


def test_a_run_and_a_prediction_split_unequal_hosts_alike() -> None:
    """Both count the mean host's time as compute, and what the slowest needs more as waiting."""
    sheet = on("heterogeneous", "partition.nodes=5")
    facts, design = facts_and_design(sheet)
    made = skeleton(sheet, facts, design, cap=1 << 30)
    said = made.predicted(0)
    mean, slowest = sum(facts.slowdowns) / 5, max(facts.slowdowns)
    assert slowest > mean > 1
    for term in ("compute", "waiting"):
        assert said[term] == pytest.approx(made.formula[term], rel=1e-6), term
    assert said["waiting"] == pytest.approx((slowest - mean) / 5, rel=1e-6)


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
