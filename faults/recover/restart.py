"""Restart: the first death ends the job, and a new launch resumes from its last checkpoint.

    state = {"weights": np.zeros(650)}
    with restarting(MPI.COMM_WORLD, state, "checkpoints", every=10) as job:
        while job.next(steps=100):
            with job.attempt():
                state["weights"] -= 0.1 * all_reduce(job.comm, slope(state["weights"], job.step))

    python -m faults run --recovery restart -n 4 program.py

It needs nothing of MPI: any MPI ends the whole job when a rank is killed.
The loop is the same as that of `faults.recover.step_loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mpi4py import MPI

from emulator.costs import checkpoints as interval
from emulator.errors import UsageError
from faults.agree.deaths import RecoveryFailed
from faults.checkpoint import Damaged, Store
from faults.inject.drill_context import DrillContext
from faults.record import outcome
from faults.record.checksum import checksum
from faults.record.journal import What
from faults.recover.state.copies import CHANGED, LOOKS
from faults.recover.user_loop import preemption
from faults.recover.user_loop.preconditions import check_mortality, check_state, context_of
from faults.recover.user_loop.preemption import Notice
from faults.recover.user_loop.program_failure import GuardedLoop, depart

State = dict[str, np.ndarray]
Rule = Callable[[float, float], int]


class Restarting(GuardedLoop):
    """A loop of steps that resumes from the newest intact checkpoint.

    Parameters
    ----------
    every : steps between checkpoints; 0 to find the number from measured cost, measured step time and `mtbf_s` (Daly)
    clear : remove the checkpoints when the last step is done, so that the program, started once more, begins anew
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        state: State,
        store: Store,
        every: int,
        mtbf_s: float | None = None,
        drill: DrillContext | None = None,
        clear: bool = False,
        notice: Notice = None,
    ) -> None:
        self.comm, self.state, self.store, self._clear = comm, state, store, clear
        self.drill = context_of(drill)
        self._clock = self.drill.platform.clock
        self._told = preemption.listening(notice or self.drill.notice, self.drill.platform.executioner)
        self.place: int = comm.Get_rank()
        self.recoveries = 0
        self._every, self._mtbf_s = every, mtbf_s
        self._step_s: list[float] = []
        if self.drill.journal.attempt:
            self.drill.noticed()  # a later launch is the recovery: here a second fault strikes
        self._loaded: State | None = None
        self._ended_as: int | None = None  # the state's checksum at the end of the step
        self.step = self._resume()
        self.drill.ready()

    @property
    def committed(self) -> State:
        return self.state

    def _resume(self) -> int:
        """Load the newest checkpoint that rank 0 finds intact, and return the step to resume with."""
        found: int | None = None
        if self.place == 0:
            found, damaged = self.store.newest_intact()
            for text in damaged:
                self.drill.journal.write(What.DAMAGED, why=text)
        found = self.comm.bcast(found)
        self.drill.journal.write(What.REBUILT, places=list(range(self.comm.Get_size())), coordinator=0)
        if found is not None:
            try:
                self._loaded = self.store.load(found)
                for name, array in self._loaded.items():
                    np.copyto(self.state[name], array)
            except Damaged as error:
                raise RecoveryFailed("restore", f"no intact checkpoint: {error}") from None
        step = found or 0
        self.drill.journal.write(What.RESUMED, step=step)
        outcome.tell(resumed=step, at=self._clock.now())
        self.drill.journal.write(What.RESTORED, step=step)
        return step

    def next(self, steps: int) -> bool:
        """Whether a step is left to do."""
        self._check_use()
        if self._ended_as is not None and self._ended_as != checksum(self.state):
            raise UsageError(CHANGED)
        self._ended_as = None
        if self._loaded is not None:
            for name, array in self._loaded.items():  # the program may have filled its state like in the first launch
                np.copyto(self.state[name], array)
            self._loaded = None
        self._ended = self.step >= steps
        return not self._ended

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Do one step, which ends with a checkpoint when one is due."""
        began = self._clock.now()
        self.drill.working_on(self.step)
        try:
            yield
        except BaseException as error:
            self._left_by = error
            raise
        self.drill.journal.write(What.COMMIT, step=self.step)
        self.step += 1
        if self.step <= LOOKS:
            self._ended_as = checksum(self.state)
        self._step_s.append(self._clock.now() - began)
        if self._told is not preemption.never and self.comm.allreduce(self._told(), MPI.LOR):
            self._hand_over()
        elif self._due():
            self._save()

    def _hand_over(self) -> None:
        """Save this step and end the ranks that a notice tells to leave; a new launch resumes here."""
        self._save()
        self.store.wait()
        self.comm.Barrier()
        if self._told():
            depart(self.drill, self.step, self.place)

    def _due(self) -> bool:
        return self.step % self._every == 0 if self._every else len(self._step_s) == 5

    def _save(self) -> None:
        began = self._clock.now()
        failures = len(self.store.failures)
        self.store.save(self.step, self.state, self.place, self.comm.Get_size())
        cost = self._clock.now() - began
        for text in self.store.failures[failures:]:
            self.drill.journal.write(What.UNSAVED, why=text)
        self.drill.journal.write(What.SAVED, step=self.step, cost=cost)
        if not self._every:
            self._every = self._find_interval(cost)

    def _find_interval(self, cost: float) -> int:
        """Compute the checkpoint interval from rank 0's measurements, the same on all ranks."""
        assert self._mtbf_s is not None  # `restarting` and the command line refuse its absence
        steps = interval.in_steps(interval.daly(max(cost, 1e-6), self._mtbf_s), float(np.median(self._step_s)))
        steps = self.comm.bcast(steps)
        self.drill.journal.write(What.INTERVAL, steps=steps, cost=cost, mtbf=self._mtbf_s)
        return steps

    def _leave(self) -> None:
        self.store.wait()
        self.comm.Barrier()
        if self._clear and self.place == 0:
            self.store.clear()


def restarting(
    comm: MPI.Intracomm,
    state: State,
    folder: str | Path,
    *,
    every: int = 10,
    mtbf_s: float | None = None,
    keep: int = 2,
    background: bool = False,
    notice: Notice = None,
) -> Restarting:
    """Begin a loop of steps that resumes from its newest intact checkpoint when the job is launched again.

    Parameters
    ----------
    comm : all ranks
    state : the arrays that a step changes, in place; the same on every rank. They are filled from the checkpoint.
    folder : of the checkpoints, which all ranks share; they are removed when the last step is done
    every : steps between checkpoints; 0 to find the number from what one costs and `mtbf_s` (Daly)
    mtbf_s : seconds between two deaths, on average
    keep, background : see `Store`
    notice : tells a rank to leave (`faults.recover.user_loop.preemption`): a checkpoint is written then, and the job
        ends. Given on one rank it must be on all, which ask each other after each step.

    Raises
    ------
    UsageError
        The state is other than arrays of numbers, the job would go on after a death, the folder is another program's,
        or there is no interval.
    """
    if every < 0 or (not every and not (mtbf_s or 0.0) > 0):
        raise UsageError(f"checkpoints are every 1 or more steps, or 0 with mtbf_s above 0, got {every} and {mtbf_s}")
    check_state(state)
    check_mortality()
    from emulator.launch import mpirun  # a rank of a drill, whose start is what a restart waits for, does without

    store = Store(folder, " ".join(mpirun.this_program()), keep, background)
    return Restarting(comm, state, store, every, mtbf_s, clear=True, notice=notice)
