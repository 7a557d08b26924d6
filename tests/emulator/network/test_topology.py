"""Topologies: what a message crosses, for any number of hosts."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from emulator.network.graph import Edge, Graph
from emulator.network.topology import FatTree, Flat, Racks, Regions, Torus

counts = st.integers(1, 40)
MATRIX = ((1e-3, 4e-2, 1.1e-1), (4e-2, 1e-3, 8e-2), (1.1e-1, 8e-2, 1e-3))
regions = Regions(("us", "eu", "ap"), MATRIX, ((0.0, 1e-9, 2e-9), (1e-9, 0.0, 3e-9), (2e-9, 3e-9, 0.0)))
topologies = st.one_of(
    st.just(Flat()),
    st.builds(Racks, st.integers(1, 9), st.just(1e-9), st.just(1e-6)),
    st.builds(FatTree, st.just(0), st.just(1e-9), st.just(1e-6)),
    st.builds(Torus, st.just(()), st.just(1e-9), st.just(1e-6)),
    st.just(regions),
)


def lay_out(topology, count, groups=None):
    return topology.lay_out([f"h{i}" for i in range(count)], groups or [None] * count)


@given(topologies, counts)
def test_every_pair_has_a_route_over_distinct_links_that_exist(topology, count):
    fabric = lay_out(topology, count)
    assert len({name for name, _ in fabric.links}) == len(fabric.links)
    for source, destination in itertools.permutations(range(count), 2):
        route = fabric.route(source, destination)
        assert route.alpha >= 0
        assert len(set(route.links)) == len(route.links)
        assert all(0 <= link < len(fabric.links) for link in route.links)


@given(st.integers(1, 9), st.integers(2, 40))
def test_racks_share_one_uplink_and_one_downlink(per_rack, count):
    fabric = lay_out(Racks(per_rack, 2e-9, 5e-6), count)
    for source, destination in itertools.permutations(range(count), 2):
        here, there = source // per_rack, destination // per_rack
        names = [fabric.links[link][0] for link in fabric.route(source, destination).links]
        assert names == ([] if here == there else [f"rack{here} up", f"rack{there} down"])
        assert fabric.route(source, destination).alpha == (0 if here == there else 5e-6)


def test_hosts_stand_in_the_rack_that_they_name():
    fabric = lay_out(Racks(2, 1e-9, 0.0), 4, ["left", "right", "left", "right"])
    assert fabric.route(0, 2).links == ()
    assert [fabric.links[i][0] for i in fabric.route(0, 1).links] == ["left up", "right down"]
    assert list(fabric.groups) == ["left", "right", "left", "right"]


def test_an_uplink_has_its_share_of_the_cards_that_stand_in_the_rack():
    fast, slow = 1e-9, 4e-9
    named = Racks(4, 0.0, 0.0, oversubscription=2.0).lay_out(
        ["a", "b", "c"], ["left", "left", "right"], [fast, slow, slow]
    )
    rates = {name: 1 / beta for name, beta in named.links}
    assert rates["left up"] == pytest.approx((1 / fast + 1 / slow) / 2)
    assert rates["right down"] == pytest.approx(1 / slow / 2)
    # A rack that the job does not fill has the uplink of a full one.
    plain = Racks(4, 0.0, 0.0, oversubscription=2.0).lay_out(["a"] * 6, [None] * 6, [fast] * 6)
    assert [beta for _, beta in plain.links] == pytest.approx([2 * fast / 4] * 4)


@pytest.mark.parametrize(("pair", "hops"), [((0, 1), 0), ((0, 2), 2), ((0, 4), 4), ((15, 0), 4)])
def test_a_fat_tree_adds_latency_for_each_link_between_switches(pair, hops):
    route = lay_out(FatTree(4, 1e-9, 1e-6), 16).route(*pair)
    assert len(route.links) == hops
    assert route.alpha == hops * 1e-6


def test_a_fat_tree_lets_a_shift_permutation_through_without_sharing():
    fabric = lay_out(FatTree(4, 1e-9, 0.0), 16)
    used = [link for source in range(16) for link in fabric.route(source, (source + 4) % 16).links]
    assert len(used) == len(set(used))


def test_a_fat_tree_funnels_incast_into_one_link_per_level():
    fabric = lay_out(FatTree(4, 1e-9, 0.0), 16)
    assert len({fabric.route(source, 0).links[-1] for source in range(2, 16)}) == 1


def test_a_fat_tree_that_is_too_small_says_how_many_fit():
    with pytest.raises(UsageError, match=r"topology\.radix: a fat tree of radix 4 has room for 16 hosts, not for 17"):
        lay_out(FatTree(4, 1e-9, 0.0), 17)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_a_torus_takes_the_short_way_round(shape):
    count = math.prod(shape)
    fabric = lay_out(Torus(tuple(shape), 1e-9, 1e-6), count)
    places = list(itertools.product(*map(range, shape)))
    for source, destination in itertools.permutations(range(count), 2):
        distance = sum(
            min((b - a) % size, (a - b) % size)
            for a, b, size in zip(places[source], places[destination], shape, strict=True)
        )
        route = fabric.route(source, destination)
        assert len(route.links) == distance
        assert route.alpha == pytest.approx((distance - 1) * 1e-6)


@pytest.mark.parametrize(("count", "sides"), [(16, 4), (12, 4), (7, 7), (1, 1)])
def test_a_torus_without_dimensions_is_as_square_as_the_count_allows(count, sides):
    fabric = lay_out(Torus((), 1e-9, 0.0), count)
    longest = max((len(fabric.route(0, host).links) for host in range(1, count)), default=0)
    other = count // sides
    assert longest == sides // 2 + other // 2


def test_a_torus_that_is_too_small_says_how_many_fit():
    with pytest.raises(UsageError, match=r"topology\.dimensions: \[2, 2\] has 4 places, not 5"):
        lay_out(Torus((2, 2), 1e-9, 0.0), 5)


@given(st.integers(1, 30))
def test_regions_are_filled_in_even_blocks(count):
    groups = list(lay_out(regions, count).groups)
    sizes = [groups.count(name) for name in regions.names]
    assert max(sizes) - min(sizes) <= 1
    assert groups == sorted(groups, key=regions.names.index)


def test_regions_take_latency_from_the_matrix_and_share_a_pipe_each_way():
    fabric = lay_out(regions, 4, ["ap", "us", "us", "eu"])
    assert fabric.route(0, 1).alpha == 0.11
    assert fabric.route(1, 2) == type(fabric.route(1, 2))(1e-3, ())
    assert fabric.route(0, 1).links == (next(i for i, (name, _) in enumerate(fabric.links) if name == "ap > us"),)
    assert fabric.route(0, 1).links != fabric.route(1, 0).links


def graph(*edges):
    return Graph(tuple(Edge(a, b, latency, 1e-9) for a, b, latency in edges))


def test_explicit_links_take_the_way_of_least_latency():
    fabric = graph(("h0", "s", 1.0), ("s", "h1", 1.0), ("h0", "t", 0.5), ("t", "h1", 1.0), ("h0", "h1", 3.0))
    route = lay_out(fabric, 2).route(0, 1)
    assert route.alpha == 1.5
    assert route.links == (2, 3)


def test_equal_latencies_are_decided_by_hops_and_then_by_the_file():
    fabric = graph(("h0", "s", 1.0), ("s", "h1", 1.0), ("h0", "h1", 2.0), ("h0", "h1", 2.0))
    assert lay_out(fabric, 2).route(0, 1).links == (2,)


def test_hosts_do_not_forward_for_others():
    fabric = graph(("h0", "h1", 1.0), ("h1", "h2", 1.0), ("h0", "s", 5.0), ("s", "h2", 5.0))
    assert lay_out(fabric, 3).route(0, 2).alpha == 10.0


def test_a_missing_way_names_both_ends():
    with pytest.raises(UsageError, match="no way from host 'h1' to host 'h0'"):
        lay_out(graph(("h0", "h1", 1.0)), 2).route(1, 0)
