"""A cut of the emulated network in a loop of one's own: with a quorum one side goes on, without one none, on simulated
ranks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from emulator import sim
from emulator.errors import UsageError
from emulator.network import load
from emulator.sim.failures import Failures
from faults.inject.drill_context import DrillContext
from faults.platform import Platform
from faults.record.journal import Journal
from faults.recover import recovering
from faults.recover.user_loop import program_failure
from faults.recover.user_loop.cut_off import check_quorum
from faults.simulate.costs import JobCosts
from faults.simulate.platform import SimulatedClock, SimulatedExecutioner

RANKS, STEPS, CUT_IN, LIMIT_S = 5, 12, 4, 0.2
HEALS_S = 2.0


@pytest.fixture(autouse=True)
def unguarded(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield
    program_failure.leave_loop()


class Run:
    """A job that adds up one per step, and whose network is cut in a step."""

    def __init__(self, folder, left: list[int], right: list[int], every: int, cut_s: float | None, **options: Any):
        self.folder, self.sides, self.every, self.cut_s, self.options = folder, (left, right), every, cut_s, options
        self.results: dict[int, tuple[float, int]] = {}
        self.stopped_at: dict[int, float] = {}
        self.ended_at = 0.0
        costs = JobCosts()
        self.failures = Failures(costs)
        self.clock = SimulatedClock(self.failures, 1.0, costs.work_s)
        self.platform = Platform(self.clock, SimulatedExecutioner(self.failures, self.clock, print), survives=True)
        if not MPI.Is_initialized():
            MPI.Init()
        sim.run(self.rank, RANKS, load("10gbe"), failures=self.failures)

    def rank(self, comm: Any) -> None:
        rank = comm.Get_rank()
        self.clock.worlds[rank] = comm
        journal = Journal(self.folder, rank, clock=self.clock)
        drill = DrillContext(journal, platform=replace(self.platform, world=comm))
        state = {"total": np.zeros(1)}
        with recovering(comm, state, drill=drill, every=self.every, **self.options) as loop:
            while loop.next(STEPS):
                with loop.attempt():
                    self.strike(loop, comm)
                    part, whole = np.array([1.0 / loop.comm.size]), np.zeros(1)
                    loop.comm.Allreduce(part, whole)
                    state["total"] += whole
        self.results[rank] = float(state["total"][0]), loop.comm.size
        self.ended_at = max(self.ended_at, comm.now())

    def strike(self, loop: Any, comm: Any) -> None:
        if loop.step == CUT_IN and loop.recoveries == 0:
            self.cut(comm)

    def cut(self, comm: Any) -> None:
        left, right = self.sides
        comm.network_state.cut(left, right, until=None if self.cut_s is None else comm.now() + self.cut_s)


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize("cut_s", [HEALS_S, None], ids=["heals", "open"])
@pytest.mark.parametrize(("left", "right", "on"), [([0, 1, 2], [3, 4], [0, 1, 2]), ([0, 1], [2, 3, 4], [2, 3, 4])])
def test_the_side_with_a_quorum_goes_on_alone(
    tmp_path, capfd, left: list[int], right: list[int], on: list[int], every: int, cut_s: float | None
) -> None:
    run = Run(tmp_path, left, right, every, cut_s, quorum=LIMIT_S)
    assert run.results == {rank: (pytest.approx(STEPS), len(on)) for rank in on}
    off = sorted({*range(RANKS)} - {*on})
    assert sorted(run.failures.died) == off
    assert min(run.failures.died.values()) >= LIMIT_S  # it could have healed until then
    said = capfd.readouterr().err
    for rank in off:
        assert f"rank {rank} stops: it reaches no quorum without ranks {', '.join(map(str, on))}" in said


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize(("cut_s", "options"), [(0.1, {"quorum": LIMIT_S}), (HEALS_S, {})], ids=["short", "none asked"])
def test_both_sides_wait_for_the_end_of_a_cut(tmp_path, every: int, cut_s: float, options: dict[str, float]) -> None:
    run = Run(tmp_path, [0, 1, 2], [3, 4], every, cut_s, **options)
    assert run.results == dict.fromkeys(range(RANKS), (pytest.approx(STEPS), RANKS))
    assert run.ended_at >= cut_s


def test_without_a_quorum_a_cut_that_does_not_heal_leaves_no_result(tmp_path) -> None:
    with pytest.raises(sim.DeadlockError):
        Run(tmp_path, [0, 1, 2], [3, 4], 1, None)


def test_a_quorum_is_of_the_living(tmp_path) -> None:
    """After the deaths of ranks 0 and 1, the other side of a cut has two of the three that live."""

    class After(Run):
        def strike(self, loop: Any, comm: Any) -> None:
            if loop.step == CUT_IN and loop.recoveries == 0 and comm.Get_rank() in (0, 1):
                self.failures.kill(comm.Get_rank())
                comm.Barrier()
            if loop.step == CUT_IN + 3 and loop.recoveries == 1:
                self.cut(comm)

    run = After(tmp_path, [0, 1, 2], [3, 4], 1, None, quorum=LIMIT_S)
    assert run.results == dict.fromkeys([3, 4], (pytest.approx(STEPS), 2))
    assert sorted(run.failures.died) == [0, 1, 2]


@pytest.mark.parametrize("policy", ["respawn", "rejoin"])
def test_processes_that_would_join_an_emulated_network_are_refused_before_the_loop(tmp_path, policy: str) -> None:
    with pytest.raises(UsageError, match=f"policy '{policy}' starts processes") as error:
        Run(tmp_path, [], [], 1, None, policy=policy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("limit", "said"), [(0.2, "needs an emulated network"), (True, "got True"), (-1, "got -1")])
def test_a_quorum_that_cannot_be_is_refused_in_one_line(limit: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        check_quorum(MPI.COMM_SELF, limit)
    assert "\n" not in str(error.value)
