"""A loop of steps that continues when ranks die.

    state = {"weights": np.zeros(650)}
    with recovering(MPI.COMM_WORLD, state, policy="shrink", every=0) as job:
        while job.next(steps=100):
            with job.attempt():
                gradient = slope(state["weights"], job.step, job.comm.rank, job.comm.size)
                AllReduce(job.comm, gradient, gradient, np.add).run()
                state["weights"] -= 0.1 * gradient

A step is *committed* when it is known to have worked on all ranks and will not be done again. Which rank knows when::

    every=k    all ranks, after every k-th step: they agree on it (`faults.agree.survivor_group`)
    every=0    a rank that has finished the next step, if that is an exchange of all with all, as it is above: to
               finish step k it must have heard from all others in it, so all have finished step k-1

With ``every=0`` nothing is agreed on as long as no rank dies: a death raises an error in the next exchange, and only
then and at the end all agree. Ranks are then at most one step apart, and of the copies of the state that they make
every few steps there is one that all have (`faults.recover.state.copies`).

After a death the policy says which process works where from now on, all go back to the newest state that all have,
processes that were called in or spawned get a copy of it, and the steps after it are done again. The coordinator,
which sends it, is the lowest living rank that holds the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mpi4py import MPI

from emulator import carrier, policies
from emulator.errors import UsageError
from faults.inject.drill_context import DrillContext
from faults.record.journal import What
from faults.record.status_board import AGREES
from faults.recover.attempt import Attempt
from faults.recover.job_processes import JobProcesses
from faults.recover.repair import APART, Repairing
from faults.recover.replacements import admission
from faults.recover.state.copies import LOOKS, State
from faults.recover.step_errors import TRIES
from faults.recover.user_loop.cut_off import check_quorum, stop_without_quorum
from faults.recover.user_loop.earlier_loop import survivors_of_last_loop
from faults.recover.user_loop.preconditions import check_policy, check_state, check_survival, context_of
from faults.recover.user_loop.preemption import Notice, never
from faults.recover.user_loop.program_failure import GuardedLoop, StepOfNoRank, depart

if TYPE_CHECKING:
    from faults.recover.multilevel import Levels

_SKEW_S = 0.01  # least time in which other ranks come to a boundary, too


class Recovering(Repairing, GuardedLoop):
    """A running job under one policy; made by `recovering`."""

    _steps = 0  # that there are to do
    _in_vain = (-1, 0)  # the step that last failed without a death, and how often it did

    def __init__(
        self, processes: JobProcesses, state: State, drill: DrillContext, levels: Levels | None = None, every: int = 1,
        notice: Notice = None, rejoin: Callable[[], bool] | None = None, checksum: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(processes, state, drill, levels, every, notice, rejoin, checksum)
        self._boundary_at = self._clock.now()
        self._may_change = processes.policy.later or self._told is not never
        self._try = Attempt(self)

    # -- the loop ----------------------------------------------------------------------------------
    def next(self, steps: int) -> bool:
        """Whether this rank has a step to do; a spare waits in here until it is called in or the job ends."""
        self._steps, self._ended = steps, False
        if self._left_by is not None or not self._inside:
            self._check_use()
        if self.step <= LOOKS:
            self._check_copy()
        if self.step > self._renumbered_at:
            self._check_numbers()
        if self.step < steps and self._processes.place is not None:
            return True
        while self.place is None and self.step < steps:
            if self.every:
                self.drill.working_on(self.step)
                self._finish()
            else:
                self._settle(True)
        if not self.every and self.place is not None and self.step == steps > self._commits.count:
            self._settle(True)
        self._ended = self.step >= steps
        if self._ended:
            self.comm.open()
        return not self._ended

    @property
    def over(self) -> bool:
        """Whether no step is left to do."""
        return self._ended

    def attempt(self) -> Attempt:
        """Attempt one step: afterwards it is done, or the job is repaired and is back before a step to be done."""
        return self._try

    def _finish(self, error: MPI.Exception | None = None) -> None:
        """End the present step, which has worked on this rank or has failed with `error`."""
        due = self.every and ((self.step + 1) % self.every == 0 or self.step + 1 == self._steps)
        if error is None and due:
            error = self._hidden_death() or self._corruption()
        if error is None and due and self.levels is not None and self.place is not None:
            try:
                self.levels.keep(self._processes.comm, self.step + 1)
            except MPI.Exception as failed:
                error = failed
        if error is not None:
            self._fail(error)
            return
        self._commits.finish()
        if due:
            self._settle(True)
        else:
            self.step += 1

    def _fail(self, error: MPI.Exception) -> None:
        """Repair the job after the present step has failed on this rank.

        Raises
        ------
        MPI.Exception
            `error`, if the step failed before and no death explains that: it would fail for ever.
        """
        step, limit = self.step, self._processes.tries(error)
        self._interrupt(error)
        if self._settle(False):
            return
        self._in_vain = (step, self._in_vain[1] + 1 if self._in_vain[0] == step else 1)
        if self._in_vain[1] >= limit:
            self._left_by = error
            times = f"step {step} failed {self._in_vain[1]} times without a death"
            if limit > TRIES:
                raise StepOfNoRank(f"{times}: {_FOREIGN}, got {error}") from error
            error.add_note(times)
            raise error

    def _at_boundary(self) -> None:
        """With ``every=0``, make all ranks agree at a copy of the state if this rank leaves or admits others.

        It waits for as long as a step takes, in which the others come here too. One that does not finish the step goes
        back to the copy before.
        """
        before, self._boundary_at = self._boundary_at, self._clock.now()
        if self.step < self._steps and (self._told() or self._grows(self._steps)):
            self._clock.sleep(max(_SKEW_S, (self._boundary_at - before) / APART))
            self._processes.revoke()
            self._settle(False)

    def _settle(self, ok: bool) -> bool:
        """Agree; commit if the step worked on all survivors; repair if a rank died or left.

        Returns
        -------
        Whether one did.
        """
        group = self._processes.group
        calm = not self._failure_known and self.step + bool(self.every) < self._steps
        since = self._clock.now() if self.every else self._boundary_at
        grows = calm and self._grows(self._steps)
        if grows:
            self._note(What.ADMITS, first=self.step + bool(self.every), since=since)
        leaves = calm and self._told()
        decision = self._agree(ok, leaves, grows)
        for stays in (self._processes.coordinates, True):  # if the coordinator is dead, none leaves now
            if self._processes.deserted(decision):
                decision = self._agree(ok, leaves and not stays, grows)
        died = decision.alive != group.alive
        if decision.ok:
            self._commit()
        if group.rank not in decision.alive:
            depart(self.drill, self.step, self.place)
        if not self._processes.unchanged(decision):
            self._notice("agreement")
            if not decision.ok:
                self._go_back(decision.kept)
            self._recover(decision)
        return died

    def _commit(self) -> None:
        """Commit the present step: all survivors have agreed that it succeeded."""
        if not self.every:
            self.step = self._steps  # they agree at the end only
            if self.place is not None:
                self._commits.commit(self.step)
                self._copies.keep(self.step, self.state)
            return
        self.step += 1
        if self.place is None:
            self._commits.adopt(self.step)  # others have done it
            return
        self._commits.commit(self.step)
        self._copies.keep(self.step, self.state)
        if self.levels is not None:
            self.levels.commit()
            self.levels.to_disk(self.step, self.committed, self.comm.Get_rank(), self.comm.Get_size())

    def _leave(self) -> None:
        self._processes.filling.close()
        self.comm.open()
        self.drill.enters(AGREES)
        self._processes.group.agree(True)


_FOREIGN = (
    "MPI.COMM_WORLD, what was made from it, and what was made before a recovery do not work after it: use job.comm, "
    "and make requests anew"
)


def recovering(
    comm: MPI.Intracomm,
    state: State,
    *,
    policy: str = "shrink",
    spares: int = 0,
    at_least: int = 1,
    drill: DrillContext | None = None,
    levels: Levels | None = None,
    every: int = 1,
    notice: Notice = None,
    rejoin: Callable[[], bool] | None = None,
    checksum: bool = False,
    quorum: float | None = None,
) -> Recovering:
    """Begin a loop of steps that survives the death of ranks.

    Parameters
    ----------
    comm : all processes, the spares last
    state : the arrays of numbers that a step changes, in place or by assignment to the same name and shape; the same on
        every rank. A single number is one of no dimension, ``np.array(0)``.
    policy : ``"shrink"`` (fewer ranks go on), ``"spare"`` (a waiting rank takes the place), ``"respawn"`` (a new
        process takes the place), ``"rejoin"`` (fewer ranks go on, and new processes take the places after a later step)
    spares : how many of the ranks wait
    at_least : fewer ranks than this cannot do the work
    levels : private state of each rank, and where it is saved (`faults.recover.multilevel`); with a policy
        that fills the places of the dead
    every : steps from one agreement to the next: an agreement costs time in every run, and a death up to so many steps.
        0 agrees on nothing before a rank dies or the end comes; a death then costs up to three steps more than the one
        that it interrupts. It is right only where in every step each rank hears from every other one, however
        indirectly, as in an all-reduce: else two ranks may have no state in common to go back to.
    notice : tells this rank to leave at the next agreement, with ``every=0`` within four steps, which costs no step: a
        signal to its process, a file, or a callable (`faults.recover.user_loop.preemption`)
    rejoin : under that policy: whether there is room for new processes now, asked on the coordinator after a step until
        it starts them; by default there is as soon as the survivors have done the interrupted step
    checksum : compare checksums of the state and of messages before each agreement, with ``every=0`` every four steps:
        a rank whose state is not that of most others ends itself, and what it may have spoiled is done again, as it is
        where a message arrived other than it was sent. Without it a bit that flips goes unnoticed. A message must be
        received in the step in which it is sent; those of objects and of an emulated network are not checked.
    quorum : a cut of the emulated network (``comm.network_state.cut``) that lasts longer than so many emulated seconds
        ends the ranks of the side without a quorum (`faults.agree.quorum`), and the others go on; absent: both wait

    Raises
    ------
    UsageError
        A policy that another call is for, state other than arrays of numbers, no rank left to work, state of the
        ranks' own under a policy that loses their places or without agreements, a quorum on MPI's own network, or a
        job that would end with the first death.
    """
    chosen = check_policy(policy)
    check_state(state)
    check_quorum(comm, quorum)
    given, drill = comm, context_of(drill)
    if chosen.spawns and carrier.of(comm).timed and not admission.starter_of(drill).onto_network:
        raise UsageError(
            f"policy {policy!r} starts processes, which cannot join an emulated network: use policy "
            f"{policies.named(lambda one: one.repeats_steps and not one.spawns)}"
        )
    check_survival(f"recovering by {policy}", drill.platform.survives)
    if drill.platform.survives is None:
        comm = survivors_of_last_loop(comm, chosen)
    if not 0 <= spares < comm.Get_size():
        raise UsageError(f"spares must leave a rank to work, got {spares} of {comm.Get_size()} ranks")
    if rejoin is not None and not chosen.later:
        able = policies.named(lambda one: one.later)
        raise UsageError(f"rejoin= is only for policy {able}, got policy {policy!r}: leave it out")
    if rejoin is not None and not callable(rejoin):
        raise UsageError(f"rejoin must be a callable that returns whether new processes can be started, got {rejoin!r}")
    if levels is not None and not chosen.keeps_places:
        raise UsageError(
            f"levels= saves the private state of ranks for the processes that replace them: use policy "
            f"{policies.named(lambda one: one.repeats_steps and one.keeps_places)}, got {policy!r}"
        )
    if every < 0:
        raise UsageError(f"every must be >= 1 (agree every k steps) or 0 (agree only after a death), got {every}")
    if levels is not None and not every:
        raise UsageError("levels= saves private state at each agreement: give every >= 1, got 0")
    with admission.joining(drill):
        processes = JobProcesses(comm, chosen, spares, at_least, drill, checksum)
    loop = Recovering(processes, state, drill, levels, every, notice, rejoin, checksum)
    stop_without_quorum(loop, given, quorum)
    return loop
