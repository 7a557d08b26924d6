"""On an idle simulated network the algorithms take what their formulas say: no message more, none out of order."""

from pathlib import Path

import numpy as np
import pytest

from emulator import costs
from primitives import collectives as c
from primitives.collectives.all_reduce import ALGORITHMS, all_reduce
from tests.primitives.groups import group
from tests.simulated import on_simulated_ranks

NETWORK = str(Path(__file__).resolve().parents[1] / "data" / "one_link.toml")
ALPHA, BETA = 50e-6, 8 / 10e9
RANKS = [2, 3, 5, 6, 7, 8, 13, 16]
LENGTHS = [16, 240, 1001, 100_003]


def took(comm, call):
    """Emulated seconds from a common start to the last rank's end."""
    began = comm.align()
    call()
    return comm.align() - began


def holds(part, name, count, call):
    """The call takes its time to 1e-9, or has counted the messages that physically came too late for their turn."""
    part.engine.reset_counts()
    seconds, exact = took(part, call), costs.exact(name, part.size, count, 8, ALPHA, BETA)
    inversions = part.fidelity()["inversions"]
    if inversions == 0:
        assert seconds == pytest.approx(exact, rel=1e-9), name
    else:
        # Only here may ranks that have folded nobody be ahead with messages that are longer than a latency.
        assert (name, costs.is_power_of_two(part.size)) == ("rabenseifner", False)
        assert seconds == pytest.approx(exact, rel=0.1)


@on_simulated_ranks(16, net=NETWORK, p=RANKS, algorithm=list(ALGORITHMS))
def test_all_reduce(comm, p, algorithm):
    with group(comm, p) as part:
        for n in LENGTHS if part else []:
            holds(part, algorithm, n, lambda n=n: all_reduce(part, np.ones(n), algorithm=algorithm))


@on_simulated_ranks(16, net=NETWORK, p=RANKS)
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
                holds(part, name, count, call)


@on_simulated_ranks(16, net=NETWORK, p=RANKS)
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
                holds(part, name, n * p, call)


@on_simulated_ranks(16, net=NETWORK, p=[2, 3, 5, 16], segments=[2, 4, 7], elements=[350, 35_000])
def test_segments_follow_one_another(comm, p, segments, elements):
    with group(comm, p) as part:
        if part:
            seconds = took(
                part, lambda: all_reduce(part, np.ones(elements * segments * p), None, "sum", "ring", 8 * elements)
            )
            each = 8 * elements * BETA
            hop = max(
                ALPHA + each, segments * each
            )  # a segment's way to the next rank, or until all have left this one
            assert seconds == pytest.approx(2 * ((p - 2) * hop + ALPHA + segments * each), rel=1e-9)


@on_simulated_ranks(4, net=NETWORK)
def test_a_barrier_costs_its_rounds(comm):
    assert took(comm, lambda: c.barrier(comm)) == pytest.approx(2 * ALPHA, rel=1e-9)
