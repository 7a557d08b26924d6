"""Deadlines and quorums of an answer: what is left out, and when it is due."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import emulator
from emulator.errors import UsageError
from primitives.scatter_gather import (
    Deadline,
    TasksMissing,
    map_tasks,
)
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks


@on_ranks(4)
def test_quorum_leaves_out_what_never_ends(comm: Any) -> None:
    """Nine of ten tasks end; a quorum of 90 % at a deadline of 0 names the one that does not."""

    def work(x: int) -> Iterator[None]:
        while x == 4:
            time.sleep(1e-4)
            yield
        return x

    answer = map_tasks(comm, work, range(10), deadline=Deadline(0.0, 0.9), batch=1, prefetch=0)
    if answer is not None:
        assert answer.missing == [4]
        assert answer.coverage == 0.9
        assert sorted(answer.present()) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
        with pytest.raises(TasksMissing, match=r"\[4\]"):
            answer.values()


@on_ranks(4)
def test_deadline_without_quorum_takes_what_is_there(comm: Any) -> None:
    def work(x: int) -> Iterator[None]:
        while True:
            time.sleep(1e-4)
            yield

    answer = map_tasks(comm, work, range(5), deadline=Deadline(0.02))
    if answer is not None:
        assert answer.missing == [0, 1, 2, 3, 4]
        assert answer.seconds >= 0.02


@on_simulated_ranks(4, quorum=[None, 0.5, 0.9, 1.0])
def test_deadline_in_emulated_time(comm: Any, quorum: float | None) -> None:
    """Six tasks of 1, 2, ..., 6 ms on three workers, two each: answers at 1, 2, 3, 5, 7 and 9 ms."""

    def work(x: int) -> int:
        emulator.compute(comm, 1e-3 * (x + 1))
        return x

    comm.align()
    answer = map_tasks(comm, work, range(6), deadline=Deadline(6e-3, quorum), batch=1)
    if answer is not None:
        expected = {None: (6e-3, [4, 5]), 0.5: (6e-3, [4, 5]), 0.9: (9e-3, []), 1.0: (9e-3, [])}[quorum]
        assert answer.seconds == pytest.approx(expected[0], abs=0.2e-3)
        assert answer.missing == expected[1]


@on_simulated_ranks(3, begin=[0.1, 0.7, 1.3, 2.9])
def test_a_deadline_is_met_whatever_the_rounding(comm: Any, begin: float) -> None:
    """Late in emulated time (start + d) - start is a little off d: the answer must come at d all the same."""

    def work(x: int) -> int:
        emulator.compute(comm, 1e-3 if x else 0.5)
        return x

    emulator.compute(comm, begin)
    comm.align()
    for number in range(1, 30):
        seconds = 0.003 + number / 7e4
        answer = map_tasks(comm, work, range(3), deadline=Deadline(seconds, 0.6), batch=1, prefetch=0)
        if answer is not None:
            assert answer.seconds == pytest.approx(seconds, rel=1e-9)
        comm.align()


@pytest.mark.parametrize(
    ("seconds", "quorum", "rule"),
    [
        (None, 1.2, "at most 100 %, got 120 %"),
        (None, 0.0, "above 0 %"),
        (-1.0, None, "deadline must be >= 0"),
        (float("nan"), None, "deadline must be >= 0"),
    ],
)
def test_bad_deadlines(seconds: float | None, quorum: float | None, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        Deadline(seconds, quorum)


@pytest.mark.parametrize(
    ("rule", "elapsed", "done", "expected"),
    [
        (Deadline(), 9.0, 19, False),
        (Deadline(), 0.0, 20, True),
        (Deadline(1.0), 0.9, 19, False),
        (Deadline(1.0), 1.0, 0, True),
        (Deadline(quorum=0.95), 0.0, 18, False),
        (Deadline(quorum=0.95), 0.0, 19, True),
        (Deadline(1.0, 0.95), 0.9, 19, False),
        (Deadline(1.0, 0.95), 1.0, 18, False),
        (Deadline(1.0, 0.95), 1.0, 19, True),
        (Deadline(1.0, 0.95), 0.1, 20, True),
    ],
)
def test_when_an_answer_is_due(rule: Deadline, elapsed: float, done: int, expected: bool) -> None:
    assert rule.answered(elapsed, done, 20) == expected
