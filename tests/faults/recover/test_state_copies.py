"""Copies of the last two states: whatever ranks have finished, one is common, and three bits say which."""

from functools import reduce
from operator import and_

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.agree.survivor_group import ANY
from faults.recover.state.copies import CommitLog, StateCopies


class Listed:
    """A journal in memory."""

    attempt = 0

    def __init__(self) -> None:
        self.commits: list[int] = []

    def write(self, what: str, **fields) -> None:
        assert what == "commit"
        self.commits.append(fields["step"])


class Rank:
    """What `faults.recover.step_loop` does with copies and commits; the state says how many steps are in it."""

    def __init__(self, apart: int = 1) -> None:
        self.apart = apart
        self.state = {"a": np.zeros(2), "b": np.zeros((), np.int64)}
        self.copies, self.journal = StateCopies(self.state, apart), Listed()
        self.commits = CommitLog(self.journal)  # type: ignore[arg-type]

    @property
    def done(self) -> int:
        return int(self.state["b"])

    def finish(self) -> None:
        self.state["a"] = self.state["a"] + 1  # by assignment or in place
        self.state["b"] += 1
        self.commits.finish()
        if self.done % self.apart == 0:
            self.copies.keep(self.done, self.state)
        known = self.done - 1
        self.commits.commit(known - known % self.apart)

    def go_back(self, flags: int) -> int:
        self.copies.roll_back(self.copies.common(flags))
        self.copies.put_back(self.state)
        self.commits.commit(self.copies.step)
        self.commits.roll_back()
        return self.copies.step

    def join(self, other: "Rank") -> None:
        for name, array in self.copies.newest.items():
            np.copyto(array, other.copies.newest[name])
        self.copies.adopt(other.copies.step)
        self.copies.put_back(self.state)
        self.commits.adopt(other.copies.step)


def fail(ranks: list[Rank]) -> int:
    """They agree and go back; where to."""
    flags = reduce(and_, (rank.copies.flags for rank in ranks), ANY)
    (step,) = {rank.go_back(flags) for rank in ranks}
    return step


@given(behind=st.integers(0, 50), ahead=st.lists(st.booleans(), min_size=1, max_size=40), apart=st.integers(1, 5))
def test_all_go_back_to_the_newest_state_that_everybody_has(behind: int, ahead: list[bool], apart: int) -> None:
    ranks = [Rank(apart) for _ in ahead]
    for rank, more in zip(ranks, ahead, strict=True):
        for _ in range(behind + more):
            rank.finish()
    assert fail(ranks) == (behind + all(ahead)) // apart * apart


@given(data=st.data(), size=st.integers(2, 8), apart=st.integers(1, 4))
def test_over_any_run_states_stay_equal_and_each_step_is_committed_once(data, size: int, apart: int) -> None:
    """A rank finishes a step only when all have finished the one before, which is what an all-reduce sees to."""
    ranks = [Rank(apart) for _ in range(size)]
    for _ in range(data.draw(st.integers(0, 60))):
        behind = min(rank.done for rank in ranks)
        ready = [rank for rank in ranks if rank.done == behind]
        what = data.draw(st.sampled_from(["finish", "finish", "finish", "death", "two deaths", "spare"]))
        if what == "finish":
            data.draw(st.sampled_from(ready)).finish()
            continue
        gone = ranks[: min(len(ranks) - 1, {"death": 1, "two deaths": 2, "spare": 1}[what])]
        ranks = ranks[len(gone) :]
        agreed = fail(ranks)
        assert agreed >= max(rank.commits.count for rank in (*ranks, *gone))
        if what == "spare":
            ranks.append(Rank(apart))
            ranks[-1].join(ranks[0])
        data.draw(st.randoms()).shuffle(ranks)
    agreed = fail(ranks)
    assert {(rank.done, float(rank.state["a"][0])) for rank in ranks} == {(agreed, agreed)}
    for rank in ranks:
        assert rank.journal.commits == list(range(agreed - len(rank.journal.commits), agreed))


def test_copies_of_steps_that_were_far_apart_are_not_both_counted() -> None:
    copies = StateCopies({"a": np.zeros(1)})
    copies.keep(5, {"a": np.ones(1)})
    assert copies.steps == (5,)
    copies.keep(6, {"a": np.full(1, 2.0)})
    assert copies.steps == (6, 5)
    assert copies.of(5)["a"] == 1.0
    assert copies.common(ANY) == 6


def test_a_job_that_goes_on_from_a_step_between_two_copies_counts_it_as_the_one_before() -> None:
    copies = StateCopies({"a": np.zeros(1)}, apart=4)
    for step in (20, 24, 25):  # the last is that of a job's end
        copies.keep(step, {"a": np.full(1, float(step))})
    assert copies.steps == (25,)
    copies.keep(28, {"a": np.full(1, 28.0)})
    assert copies.steps == (28, 25)
    assert copies.common(1 << 25 // 4 % 3) == 25


def test_what_was_done_behind_the_common_state_is_never_gone_back_to() -> None:
    copies = StateCopies({"a": np.zeros(1)})
    for step in (1, 2):
        copies.keep(step, {"a": np.full(1, float(step))})
    copies.roll_back(1)
    assert copies.steps == (1,)
    assert copies.newest["a"] == 1.0
    with pytest.raises(ValueError, match="not in tuple"):
        copies.of(2)


def test_a_commit_carries_the_instant_at_which_the_rank_had_finished_the_step() -> None:
    instants: list[float] = []

    class Journal(Listed):
        def write(self, what: str, **fields) -> None:
            super().write(what, **fields)
            instants.append(fields["done"])

    commits = CommitLog(Journal())  # type: ignore[arg-type]
    commits.finish()
    commits.finish()
    commits.roll_back()  # both are done again
    for _ in range(3):
        commits.finish()
    commits.commit(2)
    commits.commit(2)
    assert commits.count == 2
    assert instants == sorted(instants)
    assert len(instants) == 2
