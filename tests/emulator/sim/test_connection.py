"""Ranks that are started into a running simulation: their world, and how they come together with the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator import sim
from emulator.comm.refused import NotEmulated
from emulator.core.failure_costs import FailureCosts
from emulator.sim.failures import Failures
from tests.emulator.sim.test_failures import class_of
from tests.emulator.small_networks import ALPHA, plain

COSTS = FailureCosts(detect_s=5e-3, join_s=20e-3)
START_S = 1.0


class Job:
    """Two ranks of which the first starts others, on the hosts of both; what each of these found is in `seen`."""

    def __init__(self, newcomer: Any, survivor: Any) -> None:
        self.failures = Failures(COSTS)
        self.newcomer, self.survivor = newcomer, survivor
        self.seen: dict[int, Any] = {}
        self.port = ""
        self.outcome = sim.run(self._program, 2, plain(2), failures=self.failures)

    def _program(self, comm: Any) -> Any:
        if comm.rank == 0:
            ranks = self.failures.start(self._later, [1, 0], START_S)
            assert ranks == [2, 3]
            self.port = self.failures.open_port(0, ranks)
        emulator.compute(comm, 1e-6)
        return self.survivor(self, comm)

    def _later(self, comm: Any) -> None:
        self.seen[comm.engine.rank] = self.newcomer(self, comm)


def test_they_begin_in_a_world_of_their_own_on_their_hosts_and_merge_with_the_others() -> None:
    def all_together(everyone: Any) -> Any:
        total = np.zeros(1)
        everyone.Allreduce(np.full(1, 10.0**everyone.rank), total)
        return everyone.rank, everyone.size, total[0]

    def newcomer(job: Job, comm: Any) -> Any:
        begun = comm.now(), comm.rank, comm.size, comm.engine.host
        comm.Barrier()
        group = comm.Connect(job.port)
        assert (group.Get_size(), group.Get_remote_size()) == (2, 2)
        joined = comm.now()
        return begun, joined, all_together(group.Merge(high=True))

    def survivor(job: Job, comm: Any) -> Any:
        group = comm.Accept(job.port if comm.rank == 1 else "", root=1)
        return comm.now(), all_together(group.Merge(high=False))

    job = Job(newcomer, survivor)
    called = START_S + 2 * ALPHA  # both newcomers have left their barrier
    assert [job.seen[rank][0] for rank in (2, 3)] == [(START_S, 0, 2, 1), (START_S, 1, 2, 0)]
    joined = [job.seen[2][1], job.seen[3][1], *(result[0] for result in job.outcome.results)]
    assert joined == [pytest.approx(joined[0])] * 4
    assert START_S + COSTS.join_s < joined[0] < called + COSTS.join_s
    merged = [result[1] for result in job.outcome.results] + [job.seen[rank][2] for rank in (2, 3)]
    assert merged == [(rank, 4, 1111.0) for rank in range(4)]
    assert len(job.outcome.clocks) == 4


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_the_death_of_any_rank_ends_the_wait_of_all_others(dead: int) -> None:
    def calls(job: Job, call: Any) -> Any:
        return class_of(lambda: call(job.port))

    def newcomer(job: Job, comm: Any) -> Any:
        if comm.engine.rank == 2 == dead:
            job.failures.kill(2)
        return calls(job, comm.Connect)

    def survivor(job: Job, comm: Any) -> Any:
        if comm.rank == dead:
            job.failures.at(START_S + 1e-3, lambda: job.failures.kill(dead), owner=dead)
            emulator.compute(comm, 2 * START_S)
        return calls(job, comm.Accept)

    job = Job(newcomer, survivor)
    errors = dict(enumerate(job.outcome.results)) | job.seen
    assert {rank: error for rank, error in errors.items() if error is not None} == {
        rank: MPI.ERR_PROC_FAILED for rank in range(4) if rank != dead
    }


def test_newcomers_do_not_wait_for_survivors_that_give_up() -> None:
    def newcomer(job: Job, comm: Any) -> Any:
        return class_of(lambda: comm.Connect(job.port))

    def survivor(job: Job, comm: Any) -> Any:
        if comm.rank == 1:
            emulator.compute(comm, 2 * START_S)
            comm.Revoke()
            return MPI.ERR_REVOKED
        return class_of(lambda: comm.Accept(job.port))

    job = Job(newcomer, survivor)
    assert job.outcome.results == [MPI.ERR_REVOKED] * 2
    assert job.seen == {2: MPI.ERR_REVOKED, 3: MPI.ERR_REVOKED}


def test_a_port_that_nobody_has_opened_is_an_error_and_one_of_a_program_is_refused() -> None:
    job = Job(lambda job, comm: None, lambda job, comm: class_of(lambda: comm.Accept("another")))
    assert job.outcome.results == [MPI.ERR_PORT] * 2
    with pytest.raises(NotEmulated):
        sim.run(lambda comm: comm.Accept("one"), 1, plain(1))
