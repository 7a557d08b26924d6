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

from faults.agree import consensus
from faults.agree.consensus import Lost, Verdict
from faults.inject.instruments import Instruments
from faults.recover import joining
from faults.recover.commits import Commits
from faults.recover.history import History, State
from faults.recover.job_processes import Crew

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
        self, crew: Crew, state: State, instruments: Instruments, levels: Levels | None = None, every: int = 1
    ) -> None:
        self.state, self.tools, self.levels, self.every = state, instruments, levels, every
        self.step = self.recoveries = 0
        self._crew = crew
        self._look()
        self._hurt = False
        self._history = History(state, every or APART)
        self._commits = Commits(instruments.journal)
        if joining.spawned():
            self._join()
        self.tools.ready()

    @property
    def committed(self) -> State:
        """Copies of the state's arrays as of the last committed step."""
        if self._crew.has_state and self._commits.count < self._history.step:
            return self._history.of(self._history.steps[-1])
        return self._history.newest

    def _look(self) -> None:
        """See where this rank is and by which communicator it works."""
        self.comm, self.place = self._crew.comm, self._crew.place

    def _agree(self, ok: bool) -> Verdict:
        self._crew.phase("agree")
        quorum = self._crew.quorum
        if self.place is None:
            return quorum.agree(ok, wait=self._sleep)
        return quorum.agree(ok, self._history.flags if self._crew.has_state else consensus.ANY)

    def _sleep(self, request: MPI.Request, in_vain: Callable[[], bool]) -> bool:
        """How a spare waits: where nothing is agreed on step by step, it sees on the board how far the others are."""
        if self.every:
            return consensus.sleepy(request, in_vain)
        quorum = self._crew.quorum

        def calm() -> bool:
            self.tools.follow()
            return not self._hurt and quorum.failed().isdisjoint(quorum.alive)  # within a repair all others wait for it

        return consensus.sleepy(request, in_vain, calm, _DOZE_S)

    def _fail(self, error: MPI.Exception) -> None:
        self._notice(f"error {error.Get_error_class()}")
        self._crew.revoke()

    def _note(self, what: str, **fields: Any) -> None:
        """Journal what those at work see: who waits or has just come may not know the step, and holds nobody up."""
        if self._crew.has_state:
            self.tools.journal.write(what, step=self.step, **fields)

    def _notice(self, how: str) -> None:
        if not self._hurt:
            self._hurt = True
            self._note("noticed", how=how)
        self.tools.noticed()

    def _go_back(self, kept: int) -> None:
        """To the newest state that all have, of which the steps before it are committed by that."""
        if self.place is not None:
            self._history.go_back(self._history.common(kept))
            self._commits.commit(self._history.step)
        self._commits.go_back()
        self.step = self._commits.count

    def _recover(self, verdict: Verdict) -> None:
        """Rebuild and restore until both went through without another death."""
        crew = self._crew
        while True:
            self._note("agreed", alive=verdict.alive, rounds=verdict.rounds, spoiled=sorted(crew.quorum.spoiled))
            died = crew.rebuild(verdict)
            if died is not None:
                verdict = died
                continue
            self._look()
            if self.levels is not None and len(crew.table.places) < len(crew.wanted):
                gone = min(crew.wanted - set(crew.table.places))
                raise Lost("rebuild", f"nobody is left to go on with what rank {gone} alone had: give more spares")
            self._roll_back()
            self._note("rebuilt", places=sorted(crew.table.places), coordinator=min(crew.holders(), default=None))
            if not crew.fresh:
                break
            verdict = self._agree(self._restore())
            if crew.all_are_in(verdict):
                crew.fresh.clear()
                break
        self._note("restored")
        self.recoveries += 1
        self._hurt = False
        self._crew.phase("replay")

    def _roll_back(self) -> None:
        self._history.put_back(self.state)
        if self.levels is not None:
            self.levels.roll_back()

    def _restore(self) -> bool:
        """Hand the state to those who have none; false if it did not work on this rank."""
        self._crew.phase("restore")
        quorum, table, holders = self._crew.quorum, self._crew.table, self._crew.holders()
        if not holders:
            raise Lost("restore", "nobody who holds the state is left alive: use checkpoints and --recovery restart")
        giver = table.places[holders[0]]
        takers = [table.places[place] for place in sorted(self._crew.fresh)]
        try:
            if quorum.rank == giver:
                for taker in takers:
                    joining.give(quorum.lane, taker, self.step, self._history.newest)
            elif quorum.rank in takers:
                self._adopt(joining.take(quorum.lane, giver, self._history.newest))
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
        quorum, at_work = self._crew.quorum, sorted(self._crew.table.places)
        fresh = [at_work.index(place) for place in self._crew.fresh]
        if self.step == 0 or levels.memory_has(len(at_work), fresh):
            if self.place is not None:
                levels.from_memory(self.comm, self.step, fresh)
                self.tools.journal.write("level", level="memory", step=self.step)
            return
        find = levels.newest_on_disk if quorum.rank == giver else None
        found = joining.same_for_all(quorum.lane, giver, quorum.alive, find)
        for text in levels.passed_over:
            self.tools.journal.write("damaged", why=text)
        if found < 0:
            raise Lost("restore", "a rank and its buddy are both lost, and there is no intact checkpoint on disk")
        self._adopt(found)
        self.tools.journal.write("rolled back", step=self.step)
        if self.place is not None:
            levels.from_disk(self.comm, self.step, self._history.newest)
            self._roll_back()
            self.tools.journal.write("level", level="disk", step=self.step)

    def _join(self) -> None:
        """A spawned process has its place and gets the state like any newcomer."""
        self.tools.journal.write("joined", place=self.place)
        verdict = self._agree(self._restore())
        if self._crew.all_are_in(verdict):
            self._crew.fresh.clear()
        else:
            self._recover(verdict)
