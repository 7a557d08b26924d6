"""Deaths of simulated ranks: when the others learn of them, what is lost, and the calls of ULFM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import emulator
from emulator import sim
from emulator.core.failure_costs import FailureCosts
from emulator.network.topology import Flat, Racks, Topology
from emulator.sim.failures import Failures
from tests.emulator.small_networks import ALPHA, BETA, plain

COSTS = FailureCosts(detect_s=5e-3, calm_agree_s=1e-5, agree_s=1e-4, revoke_s=2e-5, shrink_s=3e-4)


def run(program: Any, ranks: int, **network: Any) -> tuple[sim.Outcome, Failures]:
    failures = Failures(COSTS)
    return sim.run(lambda comm: program(comm, failures), ranks, plain(ranks, **network), failures=failures), failures


def class_of(call: Any) -> int:
    with pytest.raises(MPI.Exception) as raised:
        call()
    return raised.value.Get_error_class()


def test_a_wait_for_a_dead_rank_ends_when_its_death_is_known() -> None:
    def program(comm: Any, failures: Failures) -> Any:
        if comm.rank == 1:
            emulator.compute(comm, 1e-3)
            failures.kill(1)
        error = class_of(lambda: comm.Recv(np.zeros(1), 1))
        return error, comm.now()

    outcome, failures = run(program, 2)
    assert outcome.results == [(MPI.ERR_PROC_FAILED, pytest.approx(6e-3)), None]
    assert failures.died == {1: pytest.approx(1e-3)}


@pytest.mark.parametrize("topology", [Flat(), Racks(1, BETA, 0.0)])
@pytest.mark.parametrize(("after", "arrives"), [(0.4, False), (0.6, False), (1.1, True)])
def test_a_message_arrives_if_its_last_byte_had_left(after: float, arrives: bool, topology: Topology) -> None:
    """It takes `after` of the time for which the sender's card is busy until the sender dies."""
    size = 1 << 20

    def program(comm: Any, failures: Failures) -> Any:
        if comm.rank == 1:
            failures.at(after * size * BETA, lambda: failures.kill(1), owner=1)
            comm.Send(np.ones(size, np.uint8), 0)
            emulator.compute(comm, 1.0)
            return None
        buffer = np.zeros(size, np.uint8)
        try:
            comm.Recv(buffer, 1)
        except MPI.Exception:
            return False
        assert comm.now() == pytest.approx(ALPHA + size * BETA)
        return True

    assert run(program, 2, topology=topology)[0].results[0] is arrives


def test_what_waits_for_its_card_when_its_sender_dies_never_comes_to_a_shared_link() -> None:
    def program(comm: Any, failures: Failures) -> Any:
        size = 1 << 20
        if comm.rank == 1:
            failures.at(1.5 * size * BETA, lambda: failures.kill(1), owner=1)
            for _ in range(2):
                comm.Isend(np.ones(size, np.uint8), 0)
            return comm.Recv(np.zeros(1), 0)
        comm.Recv(np.zeros(size, np.uint8), 1)
        return class_of(lambda: comm.Recv(np.zeros(size, np.uint8), 1))

    assert run(program, 2, topology=Racks(1, BETA, 0.0))[0].results[0] == MPI.ERR_PROC_FAILED


def test_an_agreement_raises_on_all_until_the_death_is_acknowledged() -> None:
    def program(comm: Any, failures: Failures) -> Any:
        if comm.rank == 2:
            failures.kill(2)
        buffer = np.array([0b111 ^ 1 << comm.rank], "i")
        error = class_of(comm.Iagree(buffer).Wait)
        first, at = int(buffer[0]), comm.now()
        comm.Ack_failed()
        assert comm.Get_failed().Translate_ranks([0], comm.Get_group()) == [2]
        return error, first, at, comm.Agree(5), comm.now()

    outcome, _ = run(program, 3)
    expected = (MPI.ERR_PROC_FAILED, 0b100, pytest.approx(5.1e-3), 5, pytest.approx(5.2e-3))
    assert outcome.results == [expected, expected, None]


def test_survivors_revoke_and_shrink() -> None:
    def program(comm: Any, failures: Failures) -> Any:
        if comm.rank == 3:
            failures.kill(3)
        if comm.rank == 0:
            assert class_of(lambda: comm.recv(source=3)) == MPI.ERR_PROC_FAILED
            comm.Revoke()
        else:  # they wait for a rank that lives
            assert class_of(lambda: comm.recv(source=0)) == MPI.ERR_REVOKED
        told = comm.now()
        smaller = comm.Shrink()
        return told, smaller.Get_size(), smaller.allreduce(comm.rank), smaller.Agree(1)

    outcome, _ = run(program, 5)
    assert outcome.results[0] == (pytest.approx(5e-3), 4, 7, 1)
    assert outcome.results[4] == (pytest.approx(5.02e-3), 4, 7, 1)


def test_a_barrier_with_a_dead_rank_fails_and_one_that_it_had_entered_does_not() -> None:
    def program(comm: Any, failures: Failures) -> Any:
        comm.control.Barrier()
        if comm.rank == 1:
            failures.kill(1)
        return class_of(comm.control.Barrier)

    assert run(program, 3)[0].results == [MPI.ERR_PROC_FAILED, None, MPI.ERR_PROC_FAILED]


def test_a_stopped_rank_goes_on_where_it_was() -> None:
    def program(comm: Any, failures: Failures) -> float:
        if comm.rank == 1:
            failures.at(5e-3, lambda: failures.resume(1))
            failures.stop(1)
            comm.send(None, 0)
        else:
            comm.recv(source=1)
        return comm.now()

    assert min(run(program, 2)[0].clocks) > 5e-3


def test_killed_ranks_are_not_unwound_while_others_run() -> None:
    said = []

    def program(comm: Any, failures: Failures) -> None:
        try:
            if comm.rank == 1:
                failures.kill(1)
            emulator.compute(comm, 1.0)
            said.append("living")
        finally:
            said.append(comm.rank)

    run(program, 2)
    assert said == ["living", 0, 1]
