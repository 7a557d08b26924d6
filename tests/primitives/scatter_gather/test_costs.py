"""Measured against predicted on an idle simulated network."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

import emulator
from emulator import costs, network
from emulator.errors import UsageError
from primitives.scatter_gather import Deadline, gather_blocks, map_tasks, scatter_blocks
from tests.primitives.groups import group
from tests.simulated import on_simulated_ranks

ALPHA, BETA = 20e-6, 8 / 9.41e9  # the preset 10gbe
PREDICTED = {
    ("scatter", "linear"): costs.linear_blocks,
    ("gather", "linear"): costs.linear_blocks,
    ("scatter", "tree"): costs.tree_scatter_blocks,
    ("gather", "tree"): costs.tree_gather_blocks,
}


@on_simulated_ranks(16, p=[2, 3, 4, 8, 13, 16], shape=["linear", "tree"], uneven=[False, True])
def test_blocks(comm: Any, p: int, shape: str, uneven: bool) -> None:
    """Within 1 %: the messages' frames are not in the formula."""
    with group(comm, p) as part:
        if part is None:
            return
        sizes = [20_000 * (1 + (rank * 7 % 5 if uneven else 0)) for rank in range(p)]
        for name in ("scatter", "gather"):
            part.align()
            start = part.now()
            if name == "scatter":
                scatter_blocks(part, [bytes(size) for size in sizes] if part.Get_rank() == 0 else None, shape=shape)
            else:
                gather_blocks(part, bytes(sizes[part.Get_rank()]), shape=shape)
            measured = part.allreduce(part.now() - start, MPI.MAX)
            assert measured == pytest.approx(PREDICTED[name, shape](sizes, ALPHA, BETA), rel=0.01)


@on_simulated_ranks(8, net="wan", p=[2, 5, 8])
def test_linear_blocks_where_the_card_is_quicker_than_the_paths(comm: Any, p: int) -> None:
    wan = network.load("wan").sized(8)
    path, card = wan.between(0, 1), wan.hosts[0].nic.egress_beta
    assert card < path.beta
    with group(comm, p) as part:
        if part is None:
            return
        sizes = [2_000_000 + 100_000 * rank for rank in range(p)]
        part.align()
        start = part.now()
        scatter_blocks(part, [bytes(size) for size in sizes] if part.Get_rank() == 0 else None)
        measured = part.allreduce(part.now() - start, MPI.MAX)
        assert measured == pytest.approx(costs.linear_blocks(sizes, path.alpha, path.beta, card), rel=0.001)


@on_simulated_ranks(16, p=[4, 8, 16], size=[100, 50_000], task_us=[0, 200, 2000], prefetch=[0, 1])
def test_dynamic_tasks(comm: Any, p: int, size: int, task_us: int, prefetch: int) -> None:
    """Latency-bound, bandwidth-bound and compute-bound: within 10 %."""
    with group(comm, p) as part:
        if part is None:
            return

        def work(data: bytes) -> bytes:
            emulator.compute(part, task_us * 1e-6)
            return data

        part.align()
        tasks = 12 * (p - 1) + 3
        answer = map_tasks(part, work, [bytes(size)] * tasks, batch=1, prefetch=prefetch)
        if answer is not None:
            frames = (40, 80)  # bytes of a pickled task and of a pickled outcome beside their data
            predicted = costs.dynamic_tasks(
                tasks, p - 1, task_us * 1e-6, size + frames[0], size + frames[1], ALPHA, BETA, prefetch
            )
            assert answer.seconds == pytest.approx(predicted, rel=0.1)


@on_simulated_ranks(16, p=[4, 8, 16], deadline=[2e-3, math.inf], share=[0.5, 1.0])
def test_answer_time(comm: Any, p: int, deadline: float, share: float) -> None:
    """Each worker has one task, worker r takes r ms."""
    with group(comm, p) as part:
        if part is None:
            return

        def work(x: int) -> None:
            emulator.compute(part, 1e-3 * part.Get_rank())

        part.align()
        rule = Deadline(None if deadline == math.inf else deadline, share)
        answer = map_tasks(part, work, range(p - 1), batch=1, prefetch=0, deadline=rule)
        if answer is not None:
            arrivals = [2 * ALPHA + 1e-3 * rank for rank in range(1, p)]
            predicted = costs.answer_time(arrivals, rule.needed(p - 1), 0.0 if deadline == math.inf else deadline)
            assert answer.seconds == pytest.approx(predicted, rel=0.1)


@given(st.lists(st.floats(0, 10), min_size=1), st.data(), st.floats(0, 20))
def test_answer_time_is_the_rule_of_the_deadline(arrivals: list[float], data: Any, deadline: float) -> None:
    """The earliest arrival or deadline at which the rule says yes."""
    needed = data.draw(st.integers(0, len(arrivals)))
    instants = sorted({deadline, *arrivals})

    def answered(instant: float) -> bool:
        there = sum(arrival <= instant for arrival in arrivals)
        return there == len(arrivals) or (instant >= deadline and there >= needed)

    assert costs.answer_time(arrivals, needed, deadline) == next(filter(answered, instants))


def test_textbook_cases() -> None:
    """Powers of two give the published binomial form; one in a hundred is met by 63 % of fans of a hundred."""
    blocks = [1000.0] * 16
    expected = 4 * ALPHA + 15 * 1000 * BETA
    assert costs.tree_scatter_blocks(blocks, ALPHA, BETA) == pytest.approx(expected)
    assert costs.tree_gather_blocks(blocks, ALPHA, BETA) == pytest.approx(expected)
    assert costs.terms("binomial_scatter", 16).seconds(16_000, ALPHA, BETA) == pytest.approx(expected)
    assert costs.linear_blocks(blocks[:1], ALPHA, BETA) == 0.0
    assert costs.dynamic_tasks(0, 3, 1.0, 1, 1, ALPHA, BETA) == 0.0
    with pytest.raises(UsageError, match="workers >= 1"):
        costs.dynamic_tasks(5, 0, 1.0, 1, 1, ALPHA, BETA)
    with pytest.raises(UsageError, match="a quorum is between"):
        costs.answer_time([1.0], 2, 0.0)
