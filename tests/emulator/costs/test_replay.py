"""Schedules followed message by message, against times worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.costs import schedules
from emulator.costs.message_paths import Station, Way, Ways
from emulator.costs.replay import Drain, Program, Receive, Reduce, Send, follow, replay

ALPHA, BETA, GAMMA, SIZE = 1.0, 0.01, 0.001, 100  # a message arrives after 1 s, is taken in for 1 s, is added in 0.1 s

SCHEDULES = [
    schedules.broadcast, schedules.reduction, schedules.tree, schedules.k_ary_tree, schedules.recursive_doubling,
    schedules.rabenseifner,
]  # fmt: skip


def test_a_message_takes_its_latency_and_its_bytes_once() -> None:
    assert replay([[Send(1, SIZE)], [Receive(0)]], ALPHA, BETA) == [0.0, 2.0]
    assert replay([[Send(1, SIZE), Drain()], [Receive(0), Reduce(SIZE)]], ALPHA, BETA, GAMMA) == [1.0, 2.1]


def test_sends_leave_one_after_another_and_arrivals_queue() -> None:
    scatter: list[Program] = [[Send(1, SIZE), Send(2, SIZE)], [Receive(0)], [Receive(0)]]
    assert replay(scatter, ALPHA, BETA) == [0.0, 2.0, 3.0]
    gather: list[Program] = [[Receive(2), Receive(1)], [Send(0, SIZE)], [Send(0, SIZE)]]
    assert replay(gather, ALPHA, BETA) == [3.0, 0.0, 0.0]


def test_of_equal_arrivals_the_lower_rank_is_served_first() -> None:
    programs: list[Program] = [[Receive(1), Send(1, 0)], [Send(0, SIZE), Receive(0)], [Send(0, 2 * SIZE)]]
    assert replay(programs, ALPHA, BETA)[1] == pytest.approx(3.0)
    programs = [[Receive(2), Send(2, 0)], [Send(0, 2 * SIZE)], [Send(0, SIZE), Receive(0)]]
    assert replay(programs, ALPHA, BETA)[2] == pytest.approx(5.0)


def test_who_arrives_earlier_is_served_earlier_whoever_is_waited_for() -> None:
    programs: list[Program] = [[Receive(1)], [Reduce(3 * SIZE), Send(0, SIZE)], [Send(0, 2 * SIZE)]]
    assert replay(programs, ALPHA, BETA, GAMMA)[0] == pytest.approx(1.0 + 2.0 + 1.0)


def test_a_gap_holds_short_messages_back() -> None:
    ways = Ways(lambda source, target: Way(ALPHA, Station(source, BETA, gap=0.5), (), Station(target, BETA)))
    assert follow([[Send(1, 0), Send(1, 0)], [Receive(0), Receive(0)]], ways)[1] == 1.5


def test_a_folded_rank_of_three() -> None:
    """0 gives its part to 1, whose card takes it in before 2's part; then 1 and 2 have the sum, then 0."""
    # Rank 1 has 0's part at 2 and 2's at 3; 2 has 1's at 2 + 2; the sum goes to 0 from 3 on.
    assert replay(schedules.recursive_doubling(3, SIZE, 1), ALPHA, BETA) == pytest.approx([5.0, 4.0, 4.0])


def test_a_leaf_of_five_is_ahead_of_a_subtree() -> None:
    """Ranks 1 and 4 are leaves below 0, and have been taken in at 2 and 3; 2 has 3's part at 2, and 0 has both at 4."""
    assert replay(schedules.reduction(5, SIZE, 1), ALPHA, BETA)[0] == pytest.approx(4.0)


def test_a_message_that_nobody_sends() -> None:
    with pytest.raises(ValueError, match="rank 1 waits for a message that no rank sends"):
        replay([[], [Receive(0)]], ALPHA, BETA)


@given(st.sampled_from(SCHEDULES), st.integers(1, 40), st.integers(0, 100))
def test_every_message_that_is_sent_is_received(schedule: schedules.Schedule, p: int, count: int) -> None:
    programs = schedule(p, count, 1)
    sent = sorted((rank, step.to) for rank, steps in enumerate(programs) for step in steps if isinstance(step, Send))
    heard = [(step.source, rank) for rank, steps in enumerate(programs) for step in steps if isinstance(step, Receive)]
    assert sent == sorted(heard)


@given(st.sampled_from(SCHEDULES), st.integers(2, 40))
def test_no_schedule_is_quicker_than_its_messages(schedule: schedules.Schedule, p: int) -> None:
    """There is at least one message, and where everything costs twice as much the whole does."""
    programs = schedule(p, p, 1)
    time = max(replay(programs, ALPHA, BETA, GAMMA))
    assert max(replay(programs, 2 * ALPHA, 2 * BETA, 2 * GAMMA)) == pytest.approx(2 * time)
    assert time > ALPHA
