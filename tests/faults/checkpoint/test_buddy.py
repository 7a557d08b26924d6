"""Checkpoints in a neighbour's memory: what comes back, and when nothing can."""

import numpy as np
import pytest
from mpi4py import MPI

from emulator.errors import UsageError
from faults.agree.deaths import RecoveryFailed
from faults.checkpoint.buddy import Buddy
from tests.ranks import on_ranks

RANKS = 4


def state_of(rank: int, step: int) -> dict[str, np.ndarray]:
    """Different on every rank, in values and in length."""
    return {"weights": np.full(5 + rank, 100.0 * step + rank), "count": np.array([step, rank], np.int32)}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in other)


@on_ranks(RANKS, new=[[], [0], [3], [0, 2]], step=[7, 8])
def test_the_last_two_saves_come_back_to_survivors_and_to_newcomers(comm, new: list[int], step: int) -> None:
    rank = comm.Get_rank()
    state = state_of(rank, 0)
    buddy = Buddy(comm, state)
    for saved in (6, 7, 8):
        buddy.save(saved, state_of(rank, saved))
    assert buddy.steps == [7, 8]
    if rank in new:  # a new process in that place knows nothing
        buddy._kept = [np.zeros_like(kept) for kept in buddy._kept]
        buddy._steps = [-1, -1]
    else:
        state = state_of(rank, step)
    buddy.restore(step, state, new)
    assert equal(state, state_of(rank, step))
    # Whoever was restored holds its neighbour's state again: the next death is survived as well.
    second = [(rank_of + 1) % RANKS for rank_of in new]
    if rank in second:
        buddy._steps = [-1, -1]
        state = state_of(rank, 0)
    buddy.restore(step, state, second)
    assert equal(state, state_of(rank, step))


@on_ranks(RANKS, new=[[], [1], [3]], names=[["only"], ["one", "two"]])
def test_newcomers_with_fresh_buffers_get_their_state(comm, new, names: list[str]) -> None:
    rank = comm.Get_rank()

    def state_at(step: int) -> dict[str, np.ndarray]:
        return {name: np.full(3 + rank, 10.0 * step + rank + len(name)) for name in names}

    state = state_at(4)
    buddy = Buddy(comm, state)
    buddy.save(4, state)
    if rank in new:
        state = {name: np.zeros_like(array) for name, array in state.items()}
    # A process that comes in lays out its buffers together with the others.
    fresh = Buddy(comm, state)
    if rank in new:
        buddy = fresh
    buddy.restore(4, state, new)
    assert equal(state, state_at(4))
    left = (rank - 1) % RANKS
    assert buddy.steps == [4]
    assert buddy._kept[buddy._steps.index(4)].nbytes == 8 * (3 + left) * len(names)


class Failing:
    """A communicator of one rank whose exchanges fail when told to."""

    fails = False

    def Get_rank(self) -> int:
        return 0

    def Get_size(self) -> int:
        return 2

    def Sendrecv(self, given, target, tag, taken, source, other) -> None:
        if self.fails:
            raise MPI.Exception(MPI.ERR_PROC_FAILED)
        taken[:] = given


def test_saves_that_fail_again_and_again_leave_the_committed_one() -> None:
    comm = Failing()
    state = {"weights": np.arange(3.0)}
    buddy = Buddy(comm, state)
    buddy.save(1, state)
    buddy.save(2, state)  # here it works, and elsewhere it does not: the step is tried again
    for _ in range(3):
        comm.fails = True
        with pytest.raises(MPI.Exception):
            buddy.save(2, state)
        assert buddy.steps == [1]
    comm.fails = False
    buddy.save(2, state)
    assert buddy.steps == [1, 2]


@on_ranks(RANKS)
def test_a_rank_and_its_buddy_cannot_both_be_lost(comm) -> None:
    buddy = Buddy(comm, state_of(comm.Get_rank(), 0))
    buddy.save(1, state_of(comm.Get_rank(), 1))
    with pytest.raises(RecoveryFailed, match="rank 1 and its buddy"):
        buddy.restore(1, state_of(comm.Get_rank(), 0), [1, 2])


@on_ranks(RANKS)
def test_a_step_that_was_not_saved_is_refused(comm) -> None:
    buddy = Buddy(comm, state_of(comm.Get_rank(), 0))
    buddy.save(1, state_of(comm.Get_rank(), 1))
    with pytest.raises(UsageError, match="step 1, got 5"):
        buddy.restore(5, state_of(comm.Get_rank(), 0), [])
