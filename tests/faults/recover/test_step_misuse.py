"""What a program does wrong in its loop is refused in one line, or done right: in one process and in virtual time."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from emulator.errors import UsageError
from faults.agree import survivor_group
from faults.checkpoint import Store
from faults.inject.drill_context import DrillContext
from faults.record.journal import Journal
from faults.recover import recovering
from faults.recover.restart import Restarting
from faults.recover.step_loop import Recovering
from faults.recover.user_loop import program_failure
from tests.faults.one_process import Comm, Job

RANKS, STEPS = 3, 10
State = dict[str, np.ndarray]
Program = Callable[[Recovering, State, int], None]


class Run:
    """A job whose ranks run `program` in their loop."""

    def __init__(self, folder, monkeypatch, program: Program, every: int = 1) -> None:
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(survivor_group, "WORK_COMMS", 16)
        self.folder, self.program, self.every, self.job = folder, program, every, Job(RANKS)
        self.refused: dict[int, str] = {}
        self.totals: dict[int, float] = {}
        self.job.scheduler.run(*(lambda rank=rank: self.rank(rank) for rank in range(RANKS)))

    def rank(self, rank: int) -> None:
        journal = Journal(self.folder, rank, clock=self.job.platform.clock)
        state: State = {"total": np.zeros(1)}
        try:
            loop = recovering(
                Comm(self.job, rank),  # type: ignore[arg-type]
                state,
                drill=DrillContext(journal, platform=self.job.platform),
                every=self.every,
            )
            with loop:
                self.program(loop, state, rank)
                self.totals[rank] = float(state["total"][0])
        except UsageError as error:
            self.refused[rank] = str(error)
            self.die()

    def die(self) -> None:
        self.job.scheduler.strike(signal.SIGKILL)


def exchange(loop: Recovering) -> None:
    """Every rank sends to every other one."""
    rank, size = loop.comm.Get_rank(), loop.comm.Get_size()
    for peer in range(size):
        if peer != rank:
            loop.comm.Send(np.ones(1), peer, 5)
    for peer in range(size):
        if peer != rank:
            loop.comm.Recv(np.zeros(1), peer, 5)


def catches_an_error_outside_of_its_step(loop: Recovering, state: State, rank: int) -> None:
    while loop.next(STEPS):
        try:
            with loop.attempt():
                if rank == 1 and loop.step == 2:
                    raise ValueError("odd")
                state["total"] += 1
        except ValueError:
            pass


def changes_its_state_between_steps(loop: Recovering, state: State, rank: int) -> None:
    while loop.next(STEPS):
        with loop.attempt():
            exchange(loop)
        state["total"] += 1


def sends_between_steps(loop: Recovering, state: State, rank: int) -> None:
    while loop.next(STEPS):
        with loop.attempt():
            exchange(loop)
        exchange(loop)


def splits_between_steps(loop: Recovering, state: State, rank: int) -> None:
    while loop.next(STEPS):
        with loop.attempt():
            exchange(loop)
        loop.comm.Split(0, rank)


def fails_on_another_communicator(loop: Recovering, state: State, rank: int) -> None:
    while loop.next(STEPS):
        with loop.attempt():
            if loop.step == 2:
                raise MPI.Exception(MPI.ERR_REVOKED)


def becomes(value: Any) -> Program:
    """A program whose state becomes that value."""

    def program(loop: Recovering, state: State, rank: int) -> None:
        while loop.next(STEPS):
            with loop.attempt():
                state["total"] = value

    return program


def uses_it_as_a_list(loop: Recovering, state: State, rank: int) -> None:
    while loop.next(STEPS):
        with loop.attempt():
            state["total"] = [0.0]
            state["total"] /= 2


def opens_a_window(loop: Recovering, state: State, rank: int) -> None:
    while loop.next(STEPS):
        with loop.attempt():
            MPI.Win.Create(state["total"], comm=loop.comm)


def adds_to_its_state(loop: Recovering, state: State, rank: int) -> None:
    while loop.next(STEPS):
        with loop.attempt():
            state["more"] = np.zeros(1)


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize(
    ("program", "said"),
    [
        (changes_its_state_between_steps, r"the state was changed between two steps, .* inside job.attempt\(\)"),
        (sends_between_steps, r"job.comm carries no messages between two steps, .* inside job.attempt\(\)"),
        (splits_between_steps, "job.comm carries no messages between two steps"),
        (fails_on_another_communicator, r"step 2 failed \d+ times without a death: MPI.COMM_WORLD, .* use job.comm"),
        (becomes(3.0), r"state\['total'\] was float64\[1\] and became float: .* change it in place"),
        (becomes(np.zeros(2)), r"state\['total'\] was float64\[1\] and became float64\[2\]"),
        (becomes(np.zeros(1, np.int64)), r"state\['total'\] was float64\[1\] and became int64\[1\]"),
        (uses_it_as_a_list, r"state\['total'\] was float64\[1\] and became list: .* change it in place"),
        (opens_a_window, "Win.Create takes no job.comm, which MPI does not know: use messages, blocking collectives"),
        (adds_to_its_state, r"a state keeps its names, got \['more', 'total'\] after \['total'\]: put every array in"),
    ],
)
def test_a_program_that_a_death_would_make_wrong_is_refused_before_one(
    tmp_path, monkeypatch, program: Program, said: str, every: int
) -> None:
    run = Run(tmp_path, monkeypatch, program, every)
    assert sorted(run.refused) == [0, 1, 2]
    assert not run.totals
    for line in run.refused.values():
        assert re.search(said, line), line


def test_a_rank_whose_program_goes_on_behind_an_error_of_a_step_ends_and_the_others_go_on(
    tmp_path, monkeypatch
) -> None:
    run = Run(tmp_path, monkeypatch, catches_an_error_outside_of_its_step)
    assert list(run.refused) == [1]
    assert run.refused[1].startswith("step 2 was left by ValueError: odd, and the program went on: catch it inside")
    assert run.totals == {0: STEPS, 2: STEPS}


@pytest.mark.parametrize("every", [0, 1, 3])
def test_a_step_whose_program_catches_the_error_of_a_death_is_done_again(tmp_path, monkeypatch, every: int) -> None:
    def program(loop: Recovering, state: State, rank: int) -> None:
        while loop.next(STEPS):
            with loop.attempt():
                if rank == 1 and loop.step == 2:
                    loop._clock.sleep(0.01)
                    run_die(loop)
                try:
                    exchange(loop)
                except MPI.Exception:
                    state["total"] += 100
                state["total"] += 1

    def run_die(loop: Recovering) -> None:
        loop.drill.platform.executioner.strike(signal.SIGKILL)

    run = Run(tmp_path, monkeypatch, program, every)
    assert run.totals == {0: STEPS, 2: STEPS}


@pytest.mark.parametrize("every", [0, 1, 3])
def test_a_step_that_another_rank_gave_up_is_done_again_where_the_program_catches_the_error(
    tmp_path, monkeypatch, every: int
) -> None:
    """A revocation may reach a rank before the news of the death that caused it; here there is no death at all."""
    tries = []

    def program(loop: Recovering, state: State, rank: int) -> None:
        while loop.next(STEPS):
            with loop.attempt():
                if rank == 1 and loop.step == 2 and not tries:
                    tries.append(loop.step)
                    raise MPI.Exception(MPI.ERR_OTHER)
                try:
                    exchange(loop)
                except MPI.Exception:
                    state["total"] += 100
                state["total"] += 1

    run = Run(tmp_path, monkeypatch, program, every)
    assert tries == [2]
    assert run.totals == {0: STEPS, 1: STEPS, 2: STEPS}


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize("anew", [True, False])
def test_a_program_that_keeps_its_rank_over_a_recovery_is_told_so(
    tmp_path, monkeypatch, capsys, anew: bool, every: int
) -> None:
    def program(loop: Recovering, state: State, rank: int) -> None:
        where = loop.comm.rank, loop.comm.size
        while loop.next(STEPS):
            with loop.attempt():
                if rank == 1 and loop.step == 2:
                    loop.drill.platform.executioner.strike(signal.SIGKILL)
                if anew:
                    where = loop.comm.rank, loop.comm.size
                mine, theirs = np.array([len(range(where[0], 6, where[1])) / 6]), np.zeros(1)
                total = mine.copy()
                here, ranks = (rank // 2, 2) if loop.recoveries else (rank, 3)
                for peer in set(range(ranks)) - {here}:
                    loop.comm.Send(mine, peer, 5)
                for peer in set(range(ranks)) - {here}:
                    loop.comm.Recv(theirs, peer, 5)
                    total += theirs
                state["total"] += total

    run = Run(tmp_path, monkeypatch, program, every)
    said = capsys.readouterr().err
    assert said.count("hint: ranks were renumbered before step ") == (not anew)
    assert (set(run.totals.values()) == {STEPS}) == anew


def test_a_state_that_is_filled_behind_the_call_is_what_the_first_step_goes_back_to(tmp_path, monkeypatch) -> None:
    def program(loop: Recovering, state: State, rank: int) -> None:
        state["total"][:] = 50
        while loop.next(STEPS):
            with loop.attempt():
                if rank == 1 and loop.step == 0:
                    loop.drill.platform.executioner.strike(signal.SIGKILL)
                exchange(loop)
                state["total"] += 1

    run = Run(tmp_path, monkeypatch, program)
    assert run.totals == {0: 50 + STEPS, 2: 50 + STEPS}


def test_a_loop_outside_of_its_with_is_refused(tmp_path, monkeypatch) -> None:
    said = []

    def rank(job: Job, number: int) -> None:
        drill = DrillContext(Journal(tmp_path, number, clock=job.platform.clock), platform=job.platform)
        loop = recovering(Comm(job, number), {"total": np.zeros(1)}, drill=drill)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"use the loop inside 'with faults.recovering\(...\) as job:', job.next"):
            loop.next(1)
        said.append(number)

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    job = Job(2)
    job.scheduler.run(lambda: rank(job, 0), lambda: rank(job, 1))
    assert sorted(said) == [0, 1]


def test_exit_behind_the_last_step_leaves_the_loop_as_its_end_does(tmp_path, monkeypatch) -> None:
    said, well = [], []

    def program(loop: Recovering, state: State, rank: int) -> None:
        while loop.next(STEPS):
            with loop.attempt():
                exchange(loop)
                state["total"] += 1
        said.append(state["total"][0])
        sys.exit(0)

    monkeypatch.setattr(program_failure.outcome, "conclude", well.append)
    with pytest.raises(SystemExit):
        Run(tmp_path, monkeypatch, program)
    assert (said, well) == ([STEPS] * RANKS, [True] * RANKS)


def test_a_loop_in_a_loop_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(program_failure._Loop, "entered", True)
    monkeypatch.setattr(program_failure._Loop, "drill", None)
    with pytest.raises(UsageError, match=r"recovering begins a loop inside another one, .* end the first one before"):
        program_failure.check_no_loop("recovering")


def restart(folder, name: str) -> tuple[Restarting, State]:
    """A loop in this process that goes on from its checkpoints, and its state."""
    state = {"total": np.zeros(1)}
    (folder / name).mkdir()
    drill = DrillContext(Journal(folder / name, 0))
    return Restarting(MPI.COMM_SELF, state, Store(folder / "checkpoints", "test"), 2, drill=drill), state


def test_a_restarting_program_that_changes_its_state_between_steps_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    loop, state = restart(tmp_path, "journal")

    def run() -> None:
        with loop:
            while loop.next(STEPS):
                with loop.attempt():
                    pass
                state["total"] += 1

    with pytest.raises(UsageError, match=r"the state was changed between two steps, .* inside job.attempt\(\)"):
        run()
    assert loop.step == 1


def test_a_state_that_is_filled_behind_the_call_does_not_undo_the_checkpoint(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for launch, steps in ((0, 4), (1, 6)):
        loop, state = restart(tmp_path, f"journal {launch}")
        with loop:
            state["total"][:] = 50
            while loop.next(steps):
                with loop.attempt():
                    state["total"] += 1
    assert state["total"] == [56]
