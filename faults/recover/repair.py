"""The repair of a running job after a death, as each rank carries it out.

    agree ─► rebuild ─► roll back ─► restore those without state ─► agree ─► go on
                ▲                                                     │
                └──────────── another rank died ──────────────────────┘

All go back to the newest state that all have a copy of, so a rank that was ahead of the others drops a step.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from emulator import carrier
from emulator.errors import UsageError
from faults.agree import survivor_group
from faults.agree.deaths import RecoveryFailed
from faults.agree.survivor_group import Decision
from faults.inject.drill_context import DrillContext
from faults.record import outcome
from faults.record.checksum import checksum
from faults.record.journal import What
from faults.record.status_board import AGREES, IN_STEPS
from faults.recover.job_processes import JobProcesses
from faults.recover.replacements import admission
from faults.recover.state.copies import CHANGED, CommitLog, State, StateCopies
from faults.recover.state.restoring import Restoring
from faults.recover.survivors.communicator import COPES
from faults.recover.user_loop import preemption
from faults.recover.user_loop.preemption import Notice
from faults.recover.user_loop.program_failure import end_corrupt

if TYPE_CHECKING:
    from faults.recover.multilevel import Levels

APART = 4
"""Steps from one copy of the state to the next where nothing is agreed on. A copy is most of what being ready costs: it
goes to memory that no cache holds any more. A death costs up to three steps more than the one that it interrupts."""
_DOZE_S = 8e-3  # longest sleep of a spare between two looks before any death: each takes a core from the others
_SPARE, _NOT_JOINED = "a rank that waited died", "new processes did not join"
_NO_DEATH = "no rank died, but a call or a checksum failed"
"""Causes of recoveries in which no rank at work died."""


def _always() -> bool:
    """Return True: there is room for new processes at any time."""
    return True


class _FoundByAll(MPI.Exception):
    """A failure that every rank has found in the same data, so that none needs to be told."""


class Repairing(Restoring):
    """One rank's part in a repair, and its state; `faults.recover.step_loop` has the loop of steps.

    Attributes
    ----------
    step : the step to be done, counted from 0
    every : steps from one agreement to the next; 0 for none before a death or the end
    recoveries : repairs so far
    comm : the communicator of those at work, by which the step's messages go: another one after a recovery
    place : the place that this rank works in, its rank as the job began; None while it waits
    """

    def __init__(
        self, processes: JobProcesses, state: State, drill: DrillContext, levels: Levels | None = None, every: int = 1,
        notice: Notice = None, rejoin: Callable[[], bool] | None = None, checksum: bool = False,
    ) -> None:  # fmt: skip
        self._checksum = checksum
        drill.holds(state)
        self._rejoin = rejoin or _always
        self._told = preemption.listening(notice or drill.notice, drill.platform.executioner)
        self.state, self.drill, self.levels, self.every = state, drill, levels, every
        self.step = self.recoveries = 0
        self._begun = False
        self._renumbered_at = math.inf  # the first step after a recovery that has changed ranks and size
        self._clock = drill.platform.clock
        self._processes = processes
        self._look()
        self._failure_known, self._known_at, self._broken_step, self._was_at_work = False, 0.0, 0, False
        self._copies = StateCopies(state, every or APART)
        self._commits = CommitLog(drill.journal, self._clock)
        self._spawned = admission.starter_of(drill).spawned
        if self._spawned:
            self._join()
        self.drill.ready()

    @property
    def committed(self) -> State:
        """Copies of the state's arrays as of the last committed step."""
        if self._processes.has_state and self._commits.count < self._copies.step:
            return self._copies.of(self._copies.steps[-1])
        return self._copies.newest

    def living_in(self, members: MPI.Group) -> set[int]:
        """The ranks, in `members`, of the processes that live by the last agreement."""
        group = self._processes.group
        return {group.rank_in(members, process) for process in group.alive}

    def _look(self) -> None:
        """Look up this rank's place and communicator."""
        self.comm, self.place = self._processes.comm, self._processes.place

    def _corruption(self) -> MPI.Exception | None:
        """Compare checksums of messages and state; a rank whose state differs from the majority's ends itself.

        Returns
        -------
        MPI.Exception or None
            Why the step is to be done again, by the ranks that are right.
        """
        if not self._checksum or self.place is None:
            return None
        try:
            if self._processes.spoiled():
                error = MPI.Exception(MPI.ERR_OTHER)
                error.add_note("a message arrived other than it was sent")
                return error
        except MPI.Exception as error:
            return error
        mine, all_of_them = np.array([checksum(self.state)]), np.empty(self.comm.Get_size(), np.int64)
        try:
            self.comm.Allgather(mine, all_of_them)
        except MPI.Exception as error:
            return error
        values, counts = np.unique(all_of_them, return_counts=True)
        if len(values) == 1:
            return None
        if 2 * counts.max() <= len(all_of_them):
            raise RecoveryFailed(
                "detect", f"the state differs between {len(all_of_them)} ranks, and no majority agrees"
            )
        if mine[0] != values[counts.argmax()]:
            end_corrupt(self.drill, self.step)
        return _FoundByAll(MPI.ERR_PROC_FAILED)

    def _hidden_death(self) -> MPI.Exception | None:
        """Return an MPI error if this rank knows, at the end of its step, that the step failed.

        The program may have caught the error. Another rank's revocation may come before the news of a death. Waitall of
        Open MPI 5.0.11 may also return without an error for messages of a dead rank.
        """
        if self.place is None:
            return None
        if self._processes.revoked:
            return MPI.Exception(MPI.ERR_REVOKED)
        if not self._processes.group.death_is_news():
            return None
        if carrier.of(self.comm).state.pop(COPES, False):
            return None
        return MPI.Exception(MPI.ERR_PROC_FAILED)

    def _check_copy(self) -> None:
        """Copy the state at the beginning; later refuse a program that changes its state outside of steps.

        Raises
        ------
        UsageError
            The state is not what it was at the end of the step: after a death that change would be lost.
        """
        if not self._begun:
            self._begun = True
            if self._spawned:
                self._copies.put_back(self.state)  # the program may have filled it like the first processes
            elif self.step == 0:
                self._copies.begin(self.state)
        elif self.step == self._copies.step and self.place is not None and not self._copies.are_of(self.state):
            raise UsageError(CHANGED)

    def _grows(self, steps: int) -> bool:
        """Whether this rank wants new processes in the empty places before its next step of `steps`."""
        step = self.step + bool(self.every)
        return self._processes.grows(self._rejoin, step, waits=step + (self.every or APART) >= steps)

    def _agree(self, ok: bool, leaves: bool = False, grows: bool = False) -> Decision:
        self.drill.enters(AGREES)
        self._processes.recovers("agree")
        group = self._processes.group
        wait = self._sleep if self.place is None else None
        kept = self._copies.flags if self._processes.has_state else survivor_group.ANY
        decision = group.agree(ok, kept, wait, leaves, grows)
        self.drill.enters(IN_STEPS)
        self._processes.phase("agreed")  # the work goes on, unless the next phase is that of a repair
        return decision

    def _sleep(self, request: MPI.Request, superseded: Callable[[], bool]) -> bool:
        """Wait as a spare; without agreements after each step it reads the others' step from the status board."""
        if self.every:
            return survivor_group.sleepy(request, superseded, clock=self._clock)
        group = self._processes.group

        def calm() -> bool:
            self.drill.follow()
            return not self._failure_known and not group.death_is_news()  # in a repair all wait for it

        return survivor_group.sleepy(request, superseded, calm, _DOZE_S, self._clock)

    def _interrupt(self, error: MPI.Exception) -> None:
        """Note the failure and make the other ranks fail as well, unless they have found it themselves.

        A revocation could otherwise reach the corrupt rank in the middle of the comparison, and it would live on.
        """
        self._notice(f"error {error.Get_error_class()}")
        if not isinstance(error, _FoundByAll):
            self._processes.revoke()

    def _note(self, what: What, **fields: Any) -> None:
        """Journal an event on a working rank; a rank that waits or was just called in may not know the step."""
        if self._processes.has_state:
            self.drill.journal.write(what, step=self.step, **fields)

    def _notice(self, how: str) -> None:
        if not self._failure_known:
            self._failure_known, self._known_at, self._broken_step = True, self._clock.now(), self.step
            self._was_at_work = self._processes.has_state
            self._note(What.NOTICED, how=how)
        self.drill.noticed()

    def _go_back(self, kept: int) -> None:
        """Roll back to the newest state that all ranks have, which commits the steps before it."""
        if self.place is not None:
            self._copies.roll_back(self._copies.common(kept))
            self._commits.commit(self._copies.step)
        self._commits.roll_back()
        self.step = self._commits.count

    def _recover(self, decision: Decision) -> None:
        """Rebuild and restore until both are completed without another death."""
        processes = self._processes
        dead: set[int] = set()
        places, lets_in, lost = set(processes.placement.places), decision.grows, False
        while True:
            lost = lost or not set(processes.group.alive) <= set(decision.alive)
            dead |= {place for place, one in processes.placement.places.items() if one not in decision.alive}
            self._note(
                What.AGREED, alive=decision.alive, rounds=decision.rounds, spoiled=sorted(processes.group.spoiled)
            )
            died = processes.rebuild(decision)
            if died is not None:
                decision = died
                continue
            self._look()
            if self.levels is not None and len(processes.placement.places) < len(processes.wanted):
                gone = min(processes.wanted - set(processes.placement.places))
                raise RecoveryFailed(
                    "rebuild", f"no rank is left to take over the private state of rank {gone}: give more spares"
                )
            self._roll_back()
            self._note(
                What.REBUILT,
                places=sorted(processes.placement.places),
                coordinator=min(processes.holders(), default=None),
            )
            if not processes.fresh:
                break
            decision = self._agree(self._restore())
            if processes.unchanged(decision):
                processes.fresh.clear()
                break
        self._note(What.RESTORED)
        if self._failure_known and self._was_at_work:
            joined = sorted(set(processes.placement.places) - places)
            since, processes.filling.since = processes.filling.since, None
            outcome.tell(
                dead=sorted(dead), step=self._broken_step, at=self._known_at, policy=processes.policy.name,
                seconds=self._clock.now() - self._known_at, back_to=self.step,
                ranks=len(processes.placement.places), joined=joined,
                started=self._known_at - since if joined and since else None,
                cause=_SPARE if lost else _NOT_JOINED if lets_in else _NO_DEATH,
            )  # fmt: skip
        self.recoveries += 1
        if places != set(processes.placement.places):
            self._renumbered_at = self.step
        self._failure_known = False
        self._processes.phase("replay")

    def _check_numbers(self) -> None:
        """Print a hint if a whole step after a recovery has read neither its rank nor the number of ranks."""
        self._renumbered_at = math.inf
        if self.comm.asked or self._processes.placement.at_work[0] != self._processes.group.rank:
            return
        print(
            f"hint: ranks were renumbered before step {self.step - 1}, which has read neither job.comm.rank nor "
            "job.comm.size: a value of before is no longer right, read them anew in each step",
            file=sys.stderr,
            flush=True,
        )

    def _join(self) -> None:
        """Receive the state as a spawned process, which has its place already."""
        self.drill.journal.write(What.JOINED, place=self.place)
        decision = self._agree(self._restore())
        if self._processes.unchanged(decision):
            self._processes.fresh.clear()
        else:
            self._recover(decision)
