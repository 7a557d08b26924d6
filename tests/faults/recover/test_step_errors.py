"""MPI errors in a step that no death explains are the program's, in one process and in virtual time."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mpi4py import MPI

from faults.agree import survivor_group
from faults.inject.drill_context import DrillContext
from faults.record.checksum import checksum
from faults.record.journal import Journal
from faults.recover import recovering, repair
from faults.recover.step_loop import Recovering
from tests.faults.one_process import Comm, Job

RANKS, STEPS = 3, 6


def test_ranks_that_find_a_mismatch_of_checksums_let_the_one_that_is_wrong_find_it(monkeypatch) -> None:
    """If they revoked its communicator, it would go back like the others, and the error would not be told."""
    loop, revoked = object.__new__(Recovering), []
    loop._checksum, loop.place, loop.step, loop.state = True, 0, 4, {"sum": np.ones(3)}
    monkeypatch.setattr(Recovering, "_settle", lambda self, ok: True)
    monkeypatch.setattr(Recovering, "_notice", lambda self, how: None)
    loop._processes = SimpleNamespace(tries=lambda error: 1, revoke=lambda: revoked.append(0), spoiled=lambda: False)
    found = np.array([checksum(loop.state)] * 3 + [1])
    loop.comm = SimpleNamespace(Get_size=lambda: 4, Allgather=lambda mine, others: np.copyto(others, found))
    mismatch = loop._corruption()
    assert mismatch is not None
    loop._fail(mismatch)
    assert not revoked
    loop._fail(MPI.Exception(MPI.ERR_OTHER))
    assert revoked


class Run:
    """A job whose ranks call `trouble(rank, tries)` in step 2, where `tries` counts from 1."""

    def __init__(self, folder, monkeypatch, trouble) -> None:
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(survivor_group, "WORK_COMMS", 12)
        self.folder, self.trouble, self.job = folder, trouble, Job(RANKS)
        self.raised: dict[int, MPI.Exception] = {}
        self.tries = dict.fromkeys(range(RANKS), 0)
        self.totals: dict[int, float] = {}
        self.job.scheduler.run(*(lambda rank=rank: self.rank(rank) for rank in range(RANKS)))

    def rank(self, rank: int) -> None:
        journal = Journal(self.folder, rank, clock=self.job.platform.clock)
        context = DrillContext(journal, platform=self.job.platform)
        try:
            self.loop(rank, context)
        except MPI.Exception as error:
            self.raised[rank] = error
            self.job.scheduler.strike(signal.SIGKILL)  # as an uncaught exception does

    def loop(self, rank: int, context: DrillContext) -> None:
        state = {"total": np.zeros(1)}
        with recovering(Comm(self.job, rank), state, drill=context) as loop:  # type: ignore[arg-type]
            while loop.next(STEPS):
                with loop.attempt():
                    self.job.scheduler.sleep(0.01)
                    if loop.step == 2:
                        self.tries[rank] += 1
                        self.trouble(rank, self.tries[rank])
                    state["total"] += 1
            self.totals[rank] = float(state["total"][0])


def fail(error_class: int) -> None:
    raise MPI.Exception(error_class)


@pytest.mark.parametrize("error_class", [MPI.ERR_TRUNCATE, MPI.ERR_TAG, MPI.ERR_RANK])
def test_a_wrong_call_ends_the_rank_that_made_it_like_any_other_error(tmp_path, monkeypatch, error_class: int) -> None:
    run = Run(tmp_path, monkeypatch, lambda rank, tries: fail(error_class) if rank == 1 else None)
    assert {rank: error.Get_error_class() for rank, error in run.raised.items()} == {1: error_class}
    assert run.tries[1] == 1, "it is not tried again"
    assert run.totals == {0: STEPS, 2: STEPS}


def test_a_step_that_fails_twice_without_a_death_is_not_tried_for_ever(tmp_path, monkeypatch) -> None:
    run = Run(tmp_path, monkeypatch, lambda rank, tries: fail(MPI.ERR_OTHER))
    assert set(run.raised) == {0, 1, 2}
    notes = {error.__notes__[0] for error in run.raised.values()}
    assert notes <= {f"step 2 failed {times} times without a death" for times in (2, 3, 4)}
    assert min(run.tries.values()) == 2
    assert max(run.tries.values()) <= 6


@pytest.mark.parametrize("error_class", [MPI.ERR_OTHER, MPI.ERR_IN_STATUS])
def test_an_error_that_a_death_may_cause_is_tried_again(tmp_path, monkeypatch, error_class: int) -> None:
    told: list[dict] = []
    monkeypatch.setattr(repair.outcome, "tell", lambda **record: told.append(record))
    run = Run(tmp_path, monkeypatch, lambda rank, tries: fail(error_class) if rank == 1 and tries == 1 else None)
    assert not run.raised
    assert run.totals == {0: STEPS, 1: STEPS, 2: STEPS}
    causes = {(len(one["dead"]), one["cause"]) for one in told}
    assert causes == {(0, "no rank died, but a call or a checksum failed")}


def test_errors_that_a_death_or_another_rank_causes_are_repaired_however_often(tmp_path, monkeypatch) -> None:
    revoked = MPI.ERR_REVOKED
    run = Run(tmp_path, monkeypatch, lambda rank, tries: fail(revoked) if rank == 1 and tries <= 4 else None)
    assert not run.raised
    assert run.tries[1] == 5
    assert run.totals == {0: STEPS, 1: STEPS, 2: STEPS}
