"""Replayed schedules against ranks that run, to the bit, and against the closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import emulator
from emulator import carrier, costs, sim
from emulator.carrier import Instrument
from emulator.network import load
from emulator.sim.collectives import recording
from emulator.sim.collectives.recording import NoReplay
from emulator.sim.schedule import replay
from primitives.collectives.all_reduce import prepare
from primitives.collectives.operations import Operation

IGNORED = Operation("ignored", sim.ignore)
SHIFTED = ["ring", "recursive_doubling", "rabenseifner"]


def plan(algorithm, size):
    def make(comm):
        return prepare(comm, sim.phantom(size // 4), sim.phantom(size // 4), op=IGNORED, algorithm=algorithm)

    return make


class Listener(Instrument):
    """Hears of every message, so that each passes the event loop."""

    def sent(self, *arguments):
        pass


def live(algorithm, size, ranks, network, late):
    def program(comm):
        carrier.of(comm).instruments.append(Listener())
        emulator.compute(comm, late[comm.Get_rank()])
        plan(algorithm, size)(comm).run()
        return emulator.now(comm)

    return sim.run(program, ranks, network)


@pytest.mark.parametrize("ranks", [2, 4, 8, 16])
@pytest.mark.parametrize("algorithm", SHIFTED)
def test_a_replay_is_what_running_every_rank_gives(algorithm, ranks):
    network = load("100gbe")
    found, expected = (
        replay(plan(algorithm, 1 << 14), ranks, network),
        live(algorithm, 1 << 14, ranks, network, [0.0] * ranks),
    )
    assert found.clocks.tolist() == expected.clocks
    assert found.messages == expected.messages


@pytest.mark.parametrize(("ranks", "size"), [(8, 40), (5, 1004), (13, 8), (16, 4)])
def test_blocks_of_different_sizes_are_exact(ranks, size):
    late = [1e-6 * (rank * 7 % 5) for rank in range(ranks)]
    network = load("10gbe")
    found = replay(plan("ring", size), ranks, network, np.array(late))
    assert found.clocks.tolist() == live("ring", size, ranks, network, late).clocks


@pytest.mark.parametrize("ranks", [2, 3, 5, 8, 13, 16])
@pytest.mark.parametrize("size", [4, 8, 12, 36, 256, 1004, 4096])
def test_blocks_that_travel_round_a_ring_need_no_record_of_each_rank(ranks, size, monkeypatch):
    network, late = load("10gbe"), 1e-6 * (np.arange(ranks) * 7 % 5)
    found = replay(plan("ring", size), ranks, network, late)
    monkeypatch.setattr(recording, "_round_trip", lambda *rows: None)
    assert found.clocks.tolist() == replay(plan("ring", size), ranks, network, late).clocks.tolist()


def test_blocks_that_do_not_travel_round_a_ring_are_recorded_on_each_rank(monkeypatch):
    blocks = [3, 5, 4, 4, 4, 4, 4, 4]  # of a made-up collective, whose ranks send the same block three times

    class Repeated:
        def __init__(self, comm):
            self.comm, self.rank, self.size = comm, comm.Get_rank(), comm.Get_size()

        def steps(self):
            for _ in range(3):
                yield self.comm.Isend([sim.phantom(blocks[self.rank]), "B"], (self.rank + 1) % self.size)

    sizes = [np.asarray(step[3]).tolist() for step in recording.folded(Repeated, 8) if step[0] == recording.SEND]
    assert sizes == [[4 * size for size in blocks]] * 3


def test_many_ranks_with_blocks_of_different_sizes_are_declined(monkeypatch):
    monkeypatch.setattr(recording, "_MOST_ROWS", 100)
    with pytest.raises(NoReplay, match="different sizes"):
        replay(plan("rabenseifner", 20), 8, load("100gbe"))


@pytest.mark.parametrize("algorithm", SHIFTED)
@pytest.mark.parametrize("size", [8 << power for power in range(12)])
@pytest.mark.parametrize("ranks", [4, 8, 16])
def test_every_default_size_is_exact(algorithm, size, ranks):
    network = load("100gbe")
    found = replay(plan(algorithm, size), ranks, network)
    assert found.clocks.tolist() == live(algorithm, size, ranks, network, [0.0] * ranks).clocks


@settings(max_examples=30, deadline=None)
@given(
    late=st.lists(st.floats(0, 1e-3), min_size=8, max_size=8),
    algorithm=st.sampled_from(SHIFTED),
    size=st.sampled_from([32, 4096, 1 << 18]),
)
def test_late_ranks_are_exact_or_declined(late, algorithm, size):
    network = load("10gbe")
    try:
        found = replay(plan(algorithm, size), 8, network, np.array(late))
    except NoReplay:
        assert algorithm != "ring"  # its messages all come from one neighbour
        return
    assert found.clocks.tolist() == live(algorithm, size, 8, network, late).clocks


def test_unlike_hosts_are_exact(tmp_path):
    file = tmp_path / "unlike.toml"
    file.write_text(
        '[link]\nlatency = "10 us"\nbandwidth = "10 Gbit/s"\n'
        '[[host]]\nname = "a"\ncount = 5\n[[host]]\nname = "b"\ncount = 3\nbandwidth = "2 Gbit/s"\n'
    )
    network = load(str(file))
    found = replay(plan("ring", 1 << 16), 8, network)
    assert found.clocks.tolist() == live("ring", 1 << 16, 8, network, [0.0] * 8).clocks
    blocks, seconds_per_byte, latency = 2 * 7, 8 / 2e9, 10e-6
    assert found.seconds >= blocks * (1 << 16) / 8 * seconds_per_byte + latency  # all of them pass the slow card


@pytest.mark.parametrize(("ranks", "size"), [(64, 1 << 16), (1024, 1 << 20), (4096, 1 << 20)])
def test_a_ring_of_thousands_takes_its_closed_form(ranks, size):
    network = load("100gbe")
    path = network.between(0, 1)
    expected = costs.exact("ring", ranks, size // 4, 4, path.alpha, path.beta)
    assert replay(plan("ring", size), ranks, network).seconds == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("algorithm", "ranks", "size", "network", "reason"),
    [
        ("tree", 8, 64, "100gbe", "different steps"),
        ("recursive_doubling", 12, 64, "100gbe", "different steps"),
        ("ring", 8, 64, "home", "jitter and loss"),
    ],
)
def test_what_cannot_be_exact_is_declined(algorithm, ranks, size, network, reason):
    with pytest.raises(NoReplay, match=reason):
        replay(plan(algorithm, size), ranks, load(network))


@pytest.mark.parametrize("name", ["racks", "regions", "multicore", "links", "asymmetric", "fat-tree"])
@pytest.mark.parametrize("ranks", [2, 5, 8, 16])
@pytest.mark.parametrize("size", [12, 1 << 16])
def test_a_ring_that_follows_the_hosts_shares_no_link_and_is_exact(name, ranks, size):
    network, late = load(f"examples/networks/{name}.toml"), [1e-6 * (rank * 7 % 5) for rank in range(ranks)]
    found = replay(plan("ring", size), ranks, network, np.array(late))
    assert found.clocks.tolist() == live("ring", size, ranks, network, late).clocks


@pytest.mark.parametrize(("name", "reason"), [("racks", "share links"), ("multicore", "share hosts")])
def test_what_several_pairs_share_is_declined(name, reason):
    with pytest.raises(NoReplay, match=reason):
        replay(plan("recursive_doubling", 64), 8, load(f"examples/networks/{name}.toml"))
