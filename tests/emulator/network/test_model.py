"""Networks: hosts for the ranks, paths between them, presets and examples."""

import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.network import load, presets
from emulator.network.draws import stream
from emulator.network.files import parse

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "networks").glob("*.toml"))
LINK = '[link]\nlatency = "50 us"\nbandwidth = "10 Gbit/s"\n'
rank_counts = st.integers(1, 40)


def placed(network):
    return [network.host_of(rank) for rank in range(network.ranks)]


def test_the_smallest_file_means_exactly_what_it_says():
    path = parse(LINK).sized(2).between(0, 1)
    assert (path.alpha, path.beta, path.links, path.jitter, path.loss) == (50e-6, 0.8e-9, (), None, None)


@given(rank_counts)
def test_without_a_word_every_rank_has_a_host_of_its_own(ranks):
    assert placed(parse(LINK).sized(ranks)) == list(range(ranks))


@given(rank_counts, st.integers(1, 8))
def test_ranks_fill_generated_hosts_in_order(ranks, per_host):
    network = parse(LINK + f"[hosts]\nranks_per_host = {per_host}\n").sized(ranks)
    assert placed(network) == [rank // per_host for rank in range(ranks)]
    assert len(network.hosts) == -(-ranks // per_host)


@given(rank_counts, st.integers(1, 8))
def test_ranks_spread_evenly_over_listed_hosts_with_neighbours_together(ranks, hosts):
    where = placed(parse(LINK + f"[hosts]\ncount = {hosts}\n").sized(ranks))
    counts = [where.count(host) for host in range(hosts)]
    assert max(counts) - min(counts) <= 1
    assert where == sorted(where)


@given(rank_counts, st.integers(1, 8))
def test_cyclic_placement_deals_ranks_out(ranks, hosts):
    text = LINK + f'[hosts]\ncount = {hosts}\nplacement = "cyclic"\n'
    assert placed(parse(text).sized(ranks)) == [rank % hosts for rank in range(ranks)]


def test_more_ranks_than_listed_hosts_have_room_for_begin_again():
    network = parse(LINK + "[hosts]\ncount = 2\nranks_per_host = 2\n").sized(6)
    assert placed(network) == [0, 0, 1, 1, 0, 0]
    assert network.describe()["hosts"][0]["ranks"] == [0, 1, 4, 5]


def test_a_repeated_list_of_hosts_grows_with_the_ranks():
    text = LINK + '[hosts]\nrepeat = true\n[[host]]\nname = "a"\n[[host]]\nname = "b"\nslowdown = 3\n'
    network = parse(text).sized(5)
    assert [host.name for host in network.hosts] == ["a0", "b1", "a2", "b3", "a4"]
    assert [host.slowdown for host in network.hosts] == [1, 3, 1, 3, 1]


def test_ranks_on_one_host_meet_over_its_loopback():
    text = LINK + '[hosts]\nranks_per_host = 2\n[loopback]\nlatency = "1 us"\nbandwidth = "1 GB/s"\n'
    network = parse(text).sized(4)
    assert network.between(0, 1) == network.between(0, 0) == network.hosts[0].loopback
    assert (network.between(0, 1).alpha, network.between(0, 1).beta) == (1e-6, 1e-9)
    assert network.between(1, 2).alpha == 50e-6


def test_a_hosts_own_words_come_before_the_common_card_and_the_link():
    text = (
        LINK
        + '[nic]\nbandwidth = "1 GB/s"\negress = "500 MB/s"\nlatency = "1 us"\ngap = "2 us"\n'
        + '[[host]]\nname = "plain"\n[[host]]\nname = "fast"\nbandwidth = "2 GB/s"\ngap = "0 s"\n'
        + '[[host]]\nname = "odd"\ningress = "250 MB/s"\nlatency = "7 us"\n'
    )
    plain, fast, odd = (host.nic for host in parse(text).hosts)
    assert (plain.egress_beta, plain.ingress_beta, plain.gap, plain.latency) == (2e-9, 1e-9, 2e-6, 1e-6)
    assert (fast.egress_beta, fast.ingress_beta, fast.gap, fast.latency) == (5e-10, 5e-10, 0, 1e-6)
    assert (odd.egress_beta, odd.ingress_beta, odd.latency) == (2e-9, 4e-9, 7e-6)
    path = parse(text).path(0, 2)
    assert path.alpha == pytest.approx(50e-6 + 1e-6 + 7e-6)
    assert path.beta == 4e-9


def test_a_path_is_as_slow_as_its_narrowest_shared_link():
    text = LINK + '[topology]\nkind = "racks"\nhosts_per_rack = 2\nuplink = "1 Gbit/s"\nuplink_latency = "5 us"\n'
    network = parse(text).sized(4)
    assert network.between(0, 1).beta == 0.8e-9
    assert network.between(0, 2).beta == 8e-9
    assert network.between(0, 2).alpha == 55e-6
    assert [network.links[link].name for link in network.between(0, 2).links] == ["rack0 up", "rack1 down"]


def test_oversubscription_divides_what_the_racks_cards_carry_together():
    text = LINK + '[topology]\nkind = "racks"\nhosts_per_rack = 8\noversubscription = 4\n'
    assert parse(text).sized(16).links[0].beta == pytest.approx(0.8e-9 / 2)


@pytest.mark.parametrize(("on", "within", "across"), [("every path", True, True), ("shared links", False, True)])
def test_jitter_and_loss_are_where_the_file_wants_them(on, within, across):
    text = LINK + '[topology]\nkind = "racks"\nhosts_per_rack = 2\nuplink = "1 Gbit/s"\n[hosts]\nranks_per_host = 2\n'
    text += f'[jitter]\ndistribution = "exponential"\nmean = "1 ms"\non = "{on}"\n[loss]\nrate = "1 %"\non = "{on}"\n'
    network = parse(text).sized(8)
    for (source, destination), expected in {(0, 1): False, (0, 2): within, (0, 4): across}.items():
        path = network.between(source, destination)
        assert (path.jitter is not None, path.loss is not None) == (expected, expected)


def test_a_delay_is_jitter_and_repairs_together():
    text = (
        LINK + '[jitter]\ndistribution = "constant"\nvalue = "1 ms"\n[loss]\nrate = "50 %"\nrto = "1 s"\nbackoff = 1\n'
    )
    path = parse(text).between(0, 1)
    delays = [path.delay(stream(0, 0, 1), sequence, 100) for sequence in range(100)]
    assert {round(delay % 1, 9) for delay in delays} == {0.001}
    assert 30 < sum(delay < 1 for delay in delays) < 70
    assert parse(LINK).between(0, 1).delay(stream(0, 0, 1), 0, 100) == 0.0


def test_an_empirical_table_comes_from_a_file_beside_the_network(tmp_path):
    (tmp_path / "rtt.txt").write_text("3 us\n\n1 us\n2 us\n")
    (tmp_path / "net.toml").write_text(LINK + '[jitter]\ndistribution = "empirical"\nfile = "rtt.txt"\n')
    jitter = load(str(tmp_path / "net.toml")).between(0, 1).jitter
    assert jitter is not None
    assert jitter.table == (1e-6, 2e-6, 3e-6)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_complete_and_says_what_it_is(path):
    network = load(str(path)).sized(16)
    assert network.name == path.stem
    assert path.stem == "smallest" or network.description
    assert_sound(network)


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_sound_and_sourced(name):
    network = load(name).sized(16)
    assert network.name == name
    assert network.description
    assert network.spec.source
    assert_sound(network)


def assert_sound(network):
    for a, b in itertools.product(range(network.ranks), repeat=2):
        path = network.between(a, b)
        assert path.alpha > 0
        assert path.beta > 0
        same_host = network.host_of(a) == network.host_of(b)
        assert same_host or path.beta >= max(
            network.hosts[network.host_of(a)].nic.egress_beta, network.hosts[network.host_of(b)].nic.ingress_beta
        )
    copy = pickle.loads(pickle.dumps(network))
    assert copy.describe() == network.describe()


def test_presets_run_from_the_lowest_latency_to_the_highest():
    expected = {"shm", "1gbe", "10gbe", "25gbe", "100gbe", "roce", "hdr", "ndr", "cloud-zone", "cloud-cross-zone"}
    assert expected | {"wan", "home", "volunteers"} <= set(presets())
    latencies = [load(name).smallest_latency() for name in presets()]
    assert latencies == sorted(latencies)


def test_a_network_pickles_small():
    assert len(pickle.dumps(load("volunteers").sized(64))) < 4000


def test_smallest_latency_looks_at_hosts_that_have_ranks_and_differ():
    text = LINK + '[[host]]\nlatency = "1 ms"\n[[host]]\nlatency = "1 ms"\n[[host]]\n'
    assert parse(text).sized(2).smallest_latency() == pytest.approx(2.05e-3)
    assert parse(text).sized(3).smallest_latency() == pytest.approx(1.05e-3)
    assert parse(text).sized(1).smallest_latency() == 0.0


def test_a_description_says_what_is_configured():
    text = LINK + '[jitter]\ndistribution = "uniform"\nhigh = "1 ms"\n[loss]\nrate = "1 %"\non = "shared links"\n'
    said = parse(text, "mine.toml").sized(3).describe()
    assert said["name"] == "mine"
    assert said["alpha"] == {"min": 50e-6, "max": 50e-6}
    assert said["beta"] == {"min": 0.8e-9, "max": 0.8e-9}
    assert [host["ranks"] for host in said["hosts"]] == [[0], [1], [2]]
    assert said["jitter"] == {"kind": "uniform", "on": "every path", "low": 0.0, "high": 1e-3}
    assert said["loss"]["on"] == "shared links"


def test_ranks_need_neither_pydantic_nor_mpi_to_hold_a_network():
    code = "import sys, emulator.network; print([m for m in ('pydantic', 'mpi4py') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@given(
    st.sampled_from(['kind = "fat-tree"', 'kind = "fat-tree"\nradix = 8', 'kind = "torus"',
                     'kind = "torus"\ndimensions = [3, 4, 5]']),
    st.integers(2, 60),
)  # fmt: skip
def test_the_paths_of_one_host_stand_for_all_pairs(topology, ranks):
    """The slowest path is found without a path for each pair, which would cost p squared."""
    network = parse(f'{LINK}[topology]\n{topology}\nhop_latency = "1 us"\n').sized(ranks)
    paths = [network.between(a, b) for a in range(ranks) for b in range(ranks) if a != b]
    alphas, betas = {path.alpha for path in paths}, {path.beta for path in paths}
    assert network.slowest_path(range(ranks)) == (max(alphas), max(betas))
    assert network.describe()["alpha"] == {"min": min(alphas), "max": max(alphas)}
