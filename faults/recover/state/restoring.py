"""Restore shared and private state on the processes that take the places of dead ranks.

a holder of the state ─► each process without it        the same arrays on all ranks
the buddies' memory, else all ranks from disk           arrays of one rank (`faults.recover.multilevel`)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from emulator.policies import named
from faults.agree.deaths import RecoveryFailed
from faults.inject.drill_context import DrillContext
from faults.record import outcome
from faults.record.journal import What
from faults.recover.job_processes import JobProcesses
from faults.recover.state.copies import CommitLog, State, StateCopies
from faults.recover.survivors.communicator import SurvivorComm

if TYPE_CHECKING:
    from faults.recover.multilevel import Levels

_TAG_FOUND = 30_004


class Restoring:
    """Base class of `faults.recover.repair.Repairing`, which has its attributes."""

    step: int
    state: State
    comm: SurvivorComm
    place: int | None
    drill: DrillContext
    levels: Levels | None
    _processes: JobProcesses
    _copies: StateCopies
    _commits: CommitLog

    def _interrupt(self, error: MPI.Exception) -> None:
        """Note a failure and make the other ranks fail as well."""
        raise NotImplementedError

    def _roll_back(self) -> None:
        self._copies.put_back(self.state)
        if self.levels is not None:
            self.levels.roll_back()

    def _restore(self) -> bool:
        """Send the state to processes without it; false if that failed on this rank."""
        self._processes.recovers("restore")
        group, table, holders = self._processes.group, self._processes.placement, self._processes.holders()
        if not holders:
            able = named(lambda one: one.relaunches)
            remedy = "see why they ended" if outcome.one_failed() else f"use checkpoints and --recovery {able}"
            raise RecoveryFailed("restore", f"no rank that holds the state is left alive: {remedy}")
        giver = table.places[holders[0]]
        takers = [table.places[place] for place in sorted(self._processes.fresh)]
        try:
            if group.rank == giver:
                for taker in takers:
                    self._copies.send(group.work_comm, taker, self.step)
            elif group.rank in takers:
                self._adopt(self._copies.receive(group.work_comm, giver))
                self._roll_back()
            if self.levels is not None:
                self._restore_own(self.levels, giver)
        except MPI.Exception as error:
            self._interrupt(error)
            return False
        return True

    def _adopt(self, step: int) -> None:
        """Go on with the state of others, who are at `step`."""
        self.step = step
        self._copies.adopt(step)
        self._commits.adopt(step)

    def _restore_own(self, levels: Levels, giver: int) -> None:
        """Restore private arrays: from the buddies' memory, or all of them from disk where that is lost."""
        at_work = sorted(self._processes.placement.places)
        fresh = [at_work.index(place) for place in self._processes.fresh]
        if self.step == 0 or levels.memory_has(len(at_work), fresh):
            if self.place is not None:
                levels.from_memory(self.comm, self.step, fresh)
                self.drill.journal.write(What.LEVEL, level="memory", step=self.step)
            return
        found = self._newest_on_disk(levels, giver)
        for text in levels.passed_over:
            self.drill.journal.write(What.DAMAGED, why=text)
        if found < 0:
            raise RecoveryFailed(
                "restore", "a rank and its buddy are both lost, and there is no intact checkpoint on disk"
            )
        self._adopt(found)
        self.drill.journal.write(What.ROLLED_BACK, step=self.step)
        if self.place is not None:
            levels.from_disk(self.comm, self.step, self._copies.newest)
            self._roll_back()
            self.drill.journal.write(What.LEVEL, level="disk", step=self.step)

    def _newest_on_disk(self, levels: Levels, finder: int) -> int:
        """Look up the newest step on disk on one process and give it to all living ones; below 0 for none."""
        group, step = self._processes.group, np.zeros(1, np.int64)
        if group.rank != finder:
            group.work_comm.Recv(step, finder, _TAG_FOUND)
            return int(step[0])
        step[0] = levels.newest_on_disk()
        for process in group.alive:
            if process != finder:
                group.work_comm.Send(step, process, _TAG_FOUND)
        return int(step[0])
