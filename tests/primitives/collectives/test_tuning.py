"""The choice of an algorithm: terms that a communicator has or is given, the same on every rank, the least cost."""

import os
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emulator import costs
from primitives.collectives.all_reduce import ALGORITHMS, all_reduce
from primitives.collectives.persistent import cache_of
from primitives.collectives.tuning import CROWDED, SHARED_MEMORY, Terms, automatic, choose, terms_of
from tests.primitives.groups import group
from tests.ranks import on_ranks

NETWORK = str(Path(__file__).resolve().parents[2] / "data" / "one_link.toml")


def choose_by(comm, terms):
    """Let ``auto`` choose by these terms on a communicator, None: by its own; collectives made before are freed."""
    cache_of(comm).free()
    cache_of(comm).terms = terms


@on_ranks(4)
def test_terms_change_the_choice(comm):
    def chosen():
        send = np.ones(1000)
        all_reduce(comm, send)
        (plan,) = cache_of(comm).values()
        return type(plan.inner)

    choose_by(comm, Terms(alpha=1.0, beta=1e-9, gamma=1e-9))
    assert chosen() is ALGORITHMS["recursive_doubling"]
    choose_by(comm, Terms(alpha=1e-12, beta=1e-3, gamma=1e-3))
    assert chosen() is not ALGORITHMS["recursive_doubling"]
    choose_by(comm, None)
    cores = len(os.sched_getaffinity(0))
    assert terms_of(comm).cores == (cores if cores < 4 else 0)
    assert (terms_of(comm) is SHARED_MEMORY) == (cores >= 4)


@on_ranks(4)
def test_the_ring_is_chosen_where_it_overlaps(comm):
    choose_by(comm, SHARED_MEMORY)
    assert automatic(comm, 8) == "recursive_doubling"
    assert automatic(comm, 64 << 20) == "ring"


@on_ranks(4)
def test_everybody_chooses_the_same(comm):
    chosen = [automatic(comm, 1 << k) for k in range(30)]
    assert comm.allgather(chosen) == [chosen] * 4


def test_few_cores_want_little_work():
    alpha, beta, gamma = 18e-6, 2e-10, 1e-10
    chosen = [choose(16, 1 << k, alpha, beta, gamma, cores=2, among=CROWDED) for k in (3, 20, 28)]
    assert chosen == ["k_ary_tree", "k_ary_tree", "rabenseifner"]


@on_ranks(4, p=[3, 4])
def test_short_messages_on_shared_cores_need_no_root(comm, p):
    with group(comm, p) as part:
        if part:
            choose_by(part, Terms(4e-6, 2e-10, 1e-10, cores=2))
            assert automatic(part, 16 << 10) == ("recursive_doubling" if p == 4 else "k_ary_tree")
            assert automatic(part, 64 << 10) != "recursive_doubling"


@on_ranks(4, net=NETWORK)
def test_an_emulated_network_is_asked_for_its_terms(comm):
    terms = terms_of(comm)
    assert (terms.alpha, terms.beta, terms.cores) == (50e-6, 8 / 10e9, 0)
    assert automatic(comm, 1 << 20) == choose(4, 1 << 20, 50e-6, 8 / 10e9, 0.0)


positive = st.floats(1e-12, 1.0)


@given(st.integers(1, 5000), st.integers(0, 1 << 34), positive, positive, positive)
def test_the_choice_costs_the_least(p, n, alpha, beta, gamma):
    times = {name: costs.seconds(name, p, n, alpha, beta, gamma) for name in ALGORITHMS}
    assert times[choose(p, n, alpha, beta, gamma)] == min(times.values())


def test_the_choice_at_the_ends():
    assert choose(16, 8, 1e-6, 1e-10, 1e-10) == "recursive_doubling"
    assert choose(16, 1 << 20, 1e-6, 1e-10, 1e-10) == "rabenseifner"
    assert choose(5, 1 << 30, 1e-6, 1e-10, 1e-10) == "ring"
