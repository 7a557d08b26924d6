"""Requests of a coordinator by hand: quorum, backups, late workers, rounds with a deadline."""

from __future__ import annotations

import numpy as np
import pytest

from emulator import costs
from emulator.costs.coordinator import Rules, requests, rounds
from emulator.costs.message_paths import alike

FREE = alike(0.0, 0.0)


def draws(*rows):
    """One attempt of every worker in each request."""
    return np.array(rows, float)[:, None, :]


def own(p):
    return [[worker] for worker in range(p)]


def test_an_answer_waits_for_all_workers_or_for_the_quorum():
    times = draws([1, 2, 9], [1, 1, 1])
    assert requests(times, Rules(3, 3, 0, 0, owners=own(3)), FREE) == [9, 10]
    # The third worker owes its report until 9 and takes no part in the second request.
    assert requests(times, Rules(3, 2, 0, 0, prefetch=0, owners=own(3)), FREE) == [2, 3]


def test_a_worker_that_owes_a_report_begins_late():
    times = draws([1, 9], [1, 1])
    assert requests(times, Rules(2, 1, 0, 0, prefetch=0, owners=own(2)), FREE) == [1, 2]
    assert requests(draws([1, 9], [20, 1]), Rules(2, 1, 0, 0, prefetch=0, owners=own(2)), FREE) == [1, 10]


def test_a_late_task_is_run_again_where_its_shard_has_a_copy():
    # Both copies of shard 1 are on workers 1 and 0. Worker 0 is done at 1; shard 1 is late after 1.5 turnarounds.
    times = np.array([[[1.0, 9.0], [2.0, 9.0]]])
    copies = [[0, 1], [1, 0]]
    assert requests(times, Rules(2, 2, 0, 0, prefetch=0, late=1.5, owners=copies), FREE) == [3.5]
    assert requests(times, Rules(2, 2, 0, 0, prefetch=0, late=1.5, owners=own(2)), FREE) == [9]


@pytest.mark.parametrize(("tasks", "p"), [(1, 1), (7, 3), (12, 4), (64, 4)])
def test_equal_tasks_take_the_closed_form(tasks, p):
    alpha, beta, work = 1e-4, 1e-9, 1e-2
    found = requests(np.full((1, 1, p), work), Rules(tasks, tasks, 2e4, 5e4), alike(alpha, beta))
    assert found[0] == pytest.approx(costs.dynamic_tasks(tasks, p, work, 2e4, 5e4, alpha, beta), rel=1e-2)


def test_rounds_end_at_the_deadline_without_those_who_are_late():
    times = np.array([[1.0, 5.0], [1.0, 1.0], [1.0, 1.0]])
    assert rounds(times, 0, 0, np.inf, FREE) == [5, 6, 7]
    # The second client answers round 0 at 5, when round 1 is over; it is done with round 2 at 7.
    assert rounds(times, 0, 0, 2.0, FREE) == [2, 4, 6]
    assert rounds(times, 0, 0, 3.0, FREE) == [3, 6, 7]


def test_a_round_on_idle_cards_takes_the_formula():
    alpha, beta, n, p = 1e-3, 1e-8, 1e5, 6
    found = rounds(np.full((1, p), 0.02), n, n, np.inf, alike(alpha, beta))
    assert found[0] == pytest.approx(0.02 + costs.price("federated", alpha, beta, 0, p, n).seconds)
