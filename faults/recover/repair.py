"""What a rank of a running job does when somebody died.

    agree ─► rebuild ─► roll back ─► restore the newcomers ─► agree ─► go on
                ▲                                               │
                └──────────── somebody else died ───────────────┘

All go back to the newest state that everybody has a copy of, so whoever was ahead of the others gives a step up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from faults.agree import survivor_group
from faults.agree.survivor_group import Decision, RecoveryFailed
from faults.inject.drill_context import DrillContext
from faults.recover import joining
from faults.recover.commits import Commits
from faults.recover.history import History, State
from faults.recover.job_processes import JobProcesses

if TYPE_CHECKING:
    from faults.recover.multilevel import Levels

APART = 4
"""Steps from one copy of the state to the next where nothing is agreed on. A copy is most of what being ready costs: it
goes to memory that no cache holds any more. A death costs up to three steps more than the one that it interrupts."""
_DOZE_S = 8e-3  # longest sleep of a spare whom nothing but a death needs: every look takes a core from the others


class Repairing:
    """One rank's state, and how it outlives the others; `faults.recover.step_loop` has the loop of steps.

    Attributes
    ----------
    step
        The step to be done, counted from 0.
    every
        Steps from one agreement to the next; 0 for none before a death or the end.
    recoveries
        Repairs so far.
    comm
        The communicator of those at work, by which the step's messages go: another one after a recovery.
    place
        The place that this rank works in, its rank as the job began; None while it waits.
    """

    def __init__(
        self, processes: JobProcesses, state: State, drill: DrillContext, levels: Levels | None = None, every: int = 1
    ) -> None:
        self.state, self.drill, self.levels, self.every = state, drill, levels, every
        self.step = self.recoveries = 0
        self._processes = processes
        self._look()
        self._hurt = False
        self._history = History(state, every or APART)
        self._commits = Commits(drill.journal)
        if joining.spawned():
            self._join()
        self.drill.ready()

    @property
    def committed(self) -> State:
        """Copies of the state's arrays as of the last committed step."""
        if self._processes.has_state and self._commits.count < self._history.step:
            return self._history.of(self._history.steps[-1])
        return self._history.newest

    def _look(self) -> None:
        """See where this rank is and by which communicator it works."""
        self.comm, self.place = self._processes.comm, self._processes.place

    def _agree(self, ok: bool) -> Decision:
        self._processes.phase("agree")
        group = self._processes.group
        if self.place is None:
            return group.agree(ok, wait=self._sleep)
        return group.agree(ok, self._history.flags if self._processes.has_state else survivor_group.ANY)

    def _sleep(self, request: MPI.Request, in_vain: Callable[[], bool]) -> bool:
        """How a spare waits: where nothing is agreed on step by step, it sees on the board how far the others are."""
        if self.every:
            return survivor_group.sleepy(request, in_vain)
        group = self._processes.group

        def calm() -> bool:
            self.drill.follow()
            return not self._hurt and group.failed().isdisjoint(group.alive)  # within a repair all others wait for it

        return survivor_group.sleepy(request, in_vain, calm, _DOZE_S)

    def _fail(self, error: MPI.Exception) -> None:
        self._notice(f"error {error.Get_error_class()}")
        self._processes.revoke()

    def _note(self, what: str, **fields: Any) -> None:
        """Journal what those at work see: who waits or has just come may not know the step, and holds nobody up."""
        if self._processes.has_state:
            self.drill.journal.write(what, step=self.step, **fields)

    def _notice(self, how: str) -> None:
        if not self._hurt:
            self._hurt = True
            self._note("noticed", how=how)
        self.drill.noticed()

    def _go_back(self, kept: int) -> None:
        """To the newest state that all have, of which the steps before it are committed by that."""
        if self.place is not None:
            self._history.go_back(self._history.common(kept))
            self._commits.commit(self._history.step)
        self._commits.go_back()
        self.step = self._commits.count

    def _recover(self, decision: Decision) -> None:
        """Rebuild and restore until both went through without another death."""
        processes = self._processes
        while True:
            self._note("agreed", alive=decision.alive, rounds=decision.rounds, spoiled=sorted(processes.group.spoiled))
            died = processes.rebuild(decision)
            if died is not None:
                decision = died
                continue
            self._look()
            if self.levels is not None and len(processes.placement.places) < len(processes.wanted):
                gone = min(processes.wanted - set(processes.placement.places))
                raise RecoveryFailed(
                    "rebuild", f"nobody is left to go on with what rank {gone} alone had: give more spares"
                )
            self._roll_back()
            self._note(
                "rebuilt", places=sorted(processes.placement.places), coordinator=min(processes.holders(), default=None)
            )
            if not processes.fresh:
                break
            decision = self._agree(self._restore())
            if processes.all_are_in(decision):
                processes.fresh.clear()
                break
        self._note("restored")
        self.recoveries += 1
        self._hurt = False
        self._processes.phase("replay")

    def _roll_back(self) -> None:
        self._history.put_back(self.state)
        if self.levels is not None:
            self.levels.roll_back()

    def _restore(self) -> bool:
        """Hand the state to those who have none; false if it did not work on this rank."""
        self._processes.phase("restore")
        group, table, holders = self._processes.group, self._processes.placement, self._processes.holders()
        if not holders:
            raise RecoveryFailed(
                "restore", "nobody who holds the state is left alive: use checkpoints and --recovery restart"
            )
        giver = table.places[holders[0]]
        takers = [table.places[place] for place in sorted(self._processes.fresh)]
        try:
            if group.rank == giver:
                for taker in takers:
                    joining.give(group.work_comm, taker, self.step, self._history.newest)
            elif group.rank in takers:
                self._adopt(joining.take(group.work_comm, giver, self._history.newest))
                self._roll_back()
            if self.levels is not None:
                self._restore_own(self.levels, giver)
        except MPI.Exception as error:
            self._fail(error)
            return False
        return True

    def _adopt(self, step: int) -> None:
        """Go on with what others have, who are at `step`."""
        self.step = step
        self._history.adopt(step)
        self._commits.adopt(step)

    def _restore_own(self, levels: Levels, giver: int) -> None:
        """Own arrays from the buddies' memory; from disk, all of them, where that is gone."""
        group, at_work = self._processes.group, sorted(self._processes.placement.places)
        fresh = [at_work.index(place) for place in self._processes.fresh]
        if self.step == 0 or levels.memory_has(len(at_work), fresh):
            if self.place is not None:
                levels.from_memory(self.comm, self.step, fresh)
                self.drill.journal.write("level", level="memory", step=self.step)
            return
        find = levels.newest_on_disk if group.rank == giver else None
        found = joining.same_for_all(group.work_comm, giver, group.alive, find)
        for text in levels.passed_over:
            self.drill.journal.write("damaged", why=text)
        if found < 0:
            raise RecoveryFailed(
                "restore", "a rank and its buddy are both lost, and there is no intact checkpoint on disk"
            )
        self._adopt(found)
        self.drill.journal.write("rolled back", step=self.step)
        if self.place is not None:
            levels.from_disk(self.comm, self.step, self._history.newest)
            self._roll_back()
            self.drill.journal.write("level", level="disk", step=self.step)

    def _join(self) -> None:
        """A spawned process has its place and gets the state like any newcomer."""
        self.drill.journal.write("joined", place=self.place)
        decision = self._agree(self._restore())
        if self._processes.all_are_in(decision):
            self._processes.fresh.clear()
        else:
            self._recover(decision)
