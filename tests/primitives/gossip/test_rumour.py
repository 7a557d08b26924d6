"""Rumours: everybody is told, in the rounds that theory gives; exact distributions against simulation and bounds."""

import numpy as np
import pytest

from emulator import costs
from emulator.errors import UsageError
from primitives.gossip import graphs, rumour
from primitives.peers import Peers
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks


def check_spread(comm, mode, seed):
    p, origin = comm.Get_size(), seed % comm.Get_size()
    text = np.full(100, 7 if comm.Get_rank() == origin else 0, np.uint8)
    heard = rumour.spread(comm, text, origin, mode=mode, seed=seed)
    assert (text == 7).all()
    assert heard.rounds == rumour.rounds_needed(p, mode)
    exchanges, last = rumour.traffic(p, 100, mode, rounds=heard.rounds, origin=origin, seed=seed)
    mine = [message for exchange in exchanges for message in exchange[comm.Get_rank()]]
    assert heard.messages == len(mine)
    assert heard.informative == sum(n > 0 for _, n in mine)
    assert heard.at is not None
    assert 0 <= heard.at <= last


@on_simulated_ranks(8, on_mpi={"ranks": 5, "seed": [0, 1]}, mode=list(rumour.MODES), seed=[0, 1, 2, 3, 4])
def test_everybody_is_told(comm, mode, seed):
    check_spread(comm, mode, seed)


@on_simulated_ranks(8, mode=list(rumour.MODES))
def test_on_a_graph_with_given_rounds(comm, mode):
    text = np.full(3, float(comm.Get_rank() == 2))
    rumour.spread(comm, text, 2, mode=mode, graph=graphs.ring(8), rounds=60)
    assert (text == 1).all()


@on_ranks(5, dead=[[1], [2, 4]])
def test_the_living_tell_each_other(comm, dead):
    if comm.Get_rank() in dead:
        return
    peers = Peers(comm, on_failure=lambda rank, error: None)
    peers.lost |= set(dead)
    text = np.full(3, float(comm.Get_rank() == 0))
    rumour.spread(peers, text, mode="push-pull", rounds=20)
    assert (text == 1).all()


@on_ranks(4, mode=["push"])
def test_bad_input(comm, mode):
    text = np.zeros(1)
    for words, call in {
        "push, pull": lambda: rumour.spread(comm, text, mode="shout"),
        "at least one byte": lambda: rumour.spread(comm, text[:0]),
        "between 0 and 3": lambda: rumour.spread(comm, text, 9),
        "give the number of rounds": lambda: rumour.spread(comm, text, graph=graphs.ring(4)),
        "connected": lambda: rumour.spread(comm, text, graph=graphs.from_edges(4, [(0, 1)]), rounds=3),
    }.items():
        with pytest.raises(UsageError, match=words):
            call()


@pytest.mark.parametrize("mode", rumour.MODES)
@pytest.mark.parametrize("p", [2, 3, 8, 16])
def test_rounds_follow_the_exact_distribution(p, mode):
    """The mean over 400 seeded draws lies within four standard errors of the exact expectation."""
    most = rumour.rounds_needed(p, mode, 1e-9)
    last = [rumour.traffic(p, 1, mode, rounds=most, seed=seed)[1] for seed in range(400)]
    assert None not in last
    error = max(np.std(last) / 20, 1e-9)
    assert abs(np.mean(last) - rumour.expected_rounds(p, mode)) <= 4 * error


@pytest.mark.parametrize("p", [4, 16, 64, 256])
def test_push_lies_within_the_published_bounds(p):
    low, high = costs.rumour_rounds(p)
    assert low <= rumour.expected_rounds(p) <= high


def test_small_cases_by_hand():
    """Two ranks: one round. Three, push: the second takes one round, the third 3/4 per round: 1 + 4/3."""
    assert rumour.expected_rounds(1) == 0
    assert rumour.expected_rounds(257) is None
    assert rumour.expected_rounds(2) == 1
    assert rumour.expected_rounds(3, "push") == pytest.approx(1 + 4 / 3)


def test_rounds_needed_beyond_the_exact_range_grow():
    assert rumour.rounds_needed(256) <= rumour.rounds_needed(257) + 2
    assert rumour.rounds_needed(1000) > costs.rumour_rounds(1000)[1]
