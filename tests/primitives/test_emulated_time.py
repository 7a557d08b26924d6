"""On an idle emulated network the algorithms take what their formulas say: no message more, none in the wrong order."""

from pathlib import Path

import numpy as np
import pytest

from emulator import costs
from primitives import collectives as c
from primitives.all_reduce import all_reduce
from tests.primitives.groups import group
from tests.ranks import on_ranks

NETWORK = str(Path(__file__).resolve().parents[1] / "data" / "one_link.toml")
ALPHA, BETA = 50e-6, 8 / 10e9
LENGTHS = [16, 240, 1001, 100_003]


def took(comm, call):
    """Emulated seconds from a common start to the last rank's end."""
    began = comm.align()
    call()
    return comm.align() - began


@on_ranks(16, net=NETWORK, p=[2, 3, 5, 8, 13, 16])
def test_the_ring_on_any_number_of_ranks(comm, p):
    with group(comm, p) as part:
        for n in LENGTHS if part else []:
            seconds = took(part, lambda n=n: all_reduce(part, np.ones(n), algorithm="ring"))
            assert seconds == pytest.approx(costs.exact("ring", p, n, 8, ALPHA, BETA), rel=1e-9)


@on_ranks(16, net=NETWORK, p=[2, 4, 8, 16], algorithm=["recursive_doubling", "rabenseifner", "tree"])
def test_the_others_on_powers_of_two(comm, p, algorithm):
    with group(comm, p) as part:
        for n in LENGTHS if part else []:
            seconds = took(part, lambda n=n: all_reduce(part, np.ones(n), algorithm=algorithm))
            assert seconds == pytest.approx(costs.exact(algorithm, p, n, 8, ALPHA, BETA), rel=1e-9)


@on_ranks(16, net=NETWORK, p=[3, 5, 6, 7, 13])
def test_folded_ranks_cost_their_two_messages(comm, p):
    # Ranks outside of the pairs begin at once, and what they send may have to queue at a folded rank's port.
    with group(comm, p) as part:
        for n in LENGTHS if part else []:
            fold, steps = ALPHA + 8 * n * BETA, costs.floor_lg(p)
            seconds = took(part, lambda n=n: all_reduce(part, np.ones(n), algorithm="rabenseifner"))
            exact = costs.exact("rabenseifner", p, n, 8, ALPHA, BETA)
            assert exact * (1 - 1e-9) <= seconds <= exact + 16 * n * BETA
            seconds = took(part, lambda n=n: all_reduce(part, np.ones(n), algorithm="recursive_doubling"))
            assert (steps + 1) * fold * (1 - 1e-9) <= seconds <= (steps + 2) * fold + 16 * n * BETA


@on_ranks(16, net=NETWORK, p=[2, 4, 8, 16])
def test_binomial_trees(comm, p):
    with group(comm, p) as part:
        for n in LENGTHS if part else []:
            whole, block = np.ones(n * p), np.ones(n)
            for name, count, call in (
                ("binomial_broadcast", n, lambda block=block: c.broadcast(part, block)),
                ("binomial_reduce", n, lambda block=block: c.reduce(part, block, np.empty_like(block))),
                ("binomial_gather", n * p, lambda block=block, whole=whole: c.gather(part, block, whole)),
                ("binomial_scatter", n * p, lambda block=block, whole=whole: c.scatter(part, whole, block)),
            ):
                assert took(part, call) == pytest.approx(costs.exact(name, p, count, 8, ALPHA, BETA), rel=1e-9), name


@on_ranks(16, net=NETWORK, p=[2, 3, 5, 8, 13, 16])
def test_lines_and_rings(comm, p):
    with group(comm, p) as part:
        for n in LENGTHS if part else []:
            whole, block = np.ones(n * p), np.ones(n)
            for name, call in (
                ("linear_gather", lambda block=block, whole=whole: c.gather(part, block, whole, 0, "linear")),
                ("linear_scatter", lambda block=block, whole=whole: c.scatter(part, whole, block, 0, "linear")),
                ("ring_all_gather", lambda block=block, whole=whole: c.all_gather(part, block, whole)),
                ("ring_reduce_scatter", lambda block=block, whole=whole: c.reduce_scatter(part, whole, block)),
            ):
                assert took(part, call) == pytest.approx(costs.exact(name, p, n * p, 8, ALPHA, BETA), rel=1e-9), name


@on_ranks(16, net=NETWORK, p=[2, 3, 5, 16], segments=[2, 4, 7])
def test_at_most_two_segments_share_a_latency(comm, p, segments):
    with group(comm, p) as part:
        if part:
            n, bytes_ = 350 * segments * p, 350 * segments * 8
            seconds = took(part, lambda: all_reduce(part, np.ones(n), algorithm="ring", segment=350 * 8))
            whole = 2 * (p - 1) * (ALPHA + bytes_ * BETA)
            pairs = -(-(p - 1) * segments // 2)
            assert 2 * pairs * ALPHA < seconds < whole + 2 * (p - 1) * (segments - 1) * ALPHA


@on_ranks(4, net=NETWORK)
def test_a_barrier_costs_its_rounds(comm):
    assert took(comm, lambda: c.barrier(comm)) == pytest.approx(2 * ALPHA, rel=1e-9)
