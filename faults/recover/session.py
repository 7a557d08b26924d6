"""A loop of steps that outlives its ranks.

    state = {"weights": np.zeros(650)}
    with recovering(MPI.COMM_WORLD, state, policy="shrink") as job:
        while job.next(steps=100):
            with job.attempt():
                gradient = slope(state["weights"], job.step, job.comm.rank, job.comm.size)
                AllReduce(job.comm, gradient, gradient, np.add).run()
                state["weights"] -= 0.1 * gradient

A step counts when everybody agrees that it worked everywhere (`faults.protocol`). Otherwise the policy says who works
where from now on, the state goes back to the last committed step, newcomers get a copy of it, and the step is tried
again. The coordinator, who welcomes newcomers, is by rule the lowest living rank that holds the state.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from emulator.errors import UsageError
from faults import protocol
from faults.instruments import Instruments
from faults.protocol import Lost, Quorum, Verdict
from faults.recover import newcomers
from faults.recover.crash import die_loudly
from faults.recover.table import IN_PLACE, Table, begin
from faults.timer import cancel
from faults.view import View
from primitives import hooks

if TYPE_CHECKING:
    from faults.recover.levels import Levels

State = dict[str, np.ndarray]
_SPAWNS = 3  # failed attempts to let new processes in, before the survivors go on with fewer

_RENEWALS = 20


class Recovering:
    """A running job under one policy; made by `recovering`.

    Attributes
    ----------
    comm
        The communicator of those at work, by which the step's messages go. It is another one after a recovery.
    step
        The step to be done, counted from 0.
    committed
        Copies of the state's arrays as of the last committed step.
    every
        Steps from one agreement, which commits them, to the next.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        state: State,
        policy: str,
        spares: int,
        at_least: int,
        instruments: Instruments,
        levels: Levels | None = None,
        every: int = 1,
    ) -> None:
        self.state, self.policy, self.at_least, self.tools = state, policy, at_least, instruments
        self.levels, self.every = levels, every
        self._steps: int | None = None
        self._agreed = 0  # steps that are committed
        self.committed = {name: array.copy() for name, array in state.items()}
        self.step = 0
        self.recoveries = 0
        self._retired: list[View] = []  # their buffers may still be the target of messages under way
        self._fresh: set[int] = set()  # places whose holder has not got the state yet
        self._hurt = False
        self._spawns_left = _SPAWNS
        orphaned = newcomers.arm() if newcomers.spawned() else None
        lanes = protocol.RENEWED_LANES if newcomers.spawned() else protocol.LANES
        self.quorum = Quorum(newcomers.everybody(comm), lanes)
        self.table: Table = begin(self.quorum.size - spares, spares)
        self._wanted = set(self.table.places)
        if newcomers.spawned():
            self._join(orphaned)
        self._look()
        self.tools.ready()

    # -- the loop ----------------------------------------------------------------------------------
    def next(self, steps: int) -> bool:
        """Whether there is a step to do for this rank; a spare waits in here until it is called in or the end."""
        self._steps = steps
        while self.step < steps and self.place is None:
            self.tools.working_on(self.step)
            if self._agreement_is_due():
                self._settle(True)
            else:
                self.step += 1
        return self.step < steps

    def _agreement_is_due(self) -> bool:
        """Whether all agree after the present step: after every `every` steps, and after the last one."""
        return (self.step + 1) % self.every == 0 or self.step + 1 == self._steps

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One try of one step: afterwards it is committed, or the job is repaired and back before the step."""
        ok = True
        try:
            self.tools.working_on(self.step)
            yield
            if not self._agreement_is_due():
                self.step += 1
                return
            if self.levels is not None:
                self.levels.keep(self.comm, self.step + 1)
        except MPI.Exception as error:
            ok = False
            self._notice(f"error {error.Get_error_class()}")
            self._revoke()
        self._settle(ok)

    def _settle(self, ok: bool) -> None:
        """Commit if it worked for all that live (a death does not undo what they have); repair if somebody died."""
        verdict = self._agree(ok)
        if verdict.ok:
            self._commit()
        if not verdict.ok or verdict.alive != self.quorum.alive:
            self._notice("agreement")
            self.step = self._agreed
            self._recover(verdict)

    def _agree(self, ok: bool) -> Verdict:
        hooks.phase("agree")
        return self.quorum.agree(ok) if self.place is not None else self.quorum.agree(ok, protocol.sleepy)

    def _commit(self) -> None:
        if self.place is not None:
            for name, array in self.state.items():
                np.copyto(self.committed[name], array)
            if self.levels is not None:
                self.levels.commit()
        for step in range(self._agreed, self.step + 1):
            self.tools.journal.write("commit", step=step)
        self.step += 1
        self._agreed = self.step
        if self.levels is not None and self.place is not None:
            self.levels.to_disk(self.step, self.committed, self.comm.Get_rank(), self.comm.Get_size())

    # -- recovery ----------------------------------------------------------------------------------
    def _notice(self, how: str) -> None:
        if not self._hurt:
            self._hurt = True
            self.tools.journal.write("noticed", how=how, step=self.step)
        self.tools.noticed()

    def _revoke(self) -> None:
        try:
            self.quorum.lane.Revoke()
        except MPI.Exception:
            return  # revoked by somebody else already

    def _recover(self, verdict: Verdict) -> None:
        """Rebuild and restore until both went through without another death."""
        while True:
            self.tools.journal.write("agreed", alive=verdict.alive, rounds=verdict.rounds, step=self.step)
            died = self._rebuild(verdict)
            if died is not None:
                verdict = died
                continue
            self.tools.journal.write(
                "rebuilt",
                places=sorted(self.table.places),
                coordinator=min(self._holders(), default=None),
                step=self.step,
            )
            if not self._fresh:
                break
            verdict = self._agree(self._restore())
            if verdict.ok and verdict.alive == self.quorum.alive:
                self._fresh.clear()
                break
        self.tools.journal.write("restored", step=self.step)
        self.recoveries += 1
        self._hurt = False
        hooks.phase("replay")

    def _rebuild(self, verdict: Verdict) -> Verdict | None:
        """Give everybody a place and go back to the committed state; a verdict if somebody died meanwhile."""
        hooks.phase("rebuild")
        hooks.phase(self.policy)
        self._revoke()
        before = self.table
        lanes_left = self.quorum.advance(verdict)
        self.table = IN_PLACE[self.policy](before, verdict.alive)
        called = {place for place, base in self.table.places.items() if before.places.get(place) != base}
        self._fresh = (self._fresh | called) & set(self.table.places)
        empty = sorted(self._wanted - set(self.table.places))
        spawn = self.policy == "respawn" and bool(empty) and self._spawns_left > 0
        if spawn or not lanes_left:
            died = self._renew(empty if spawn else [])
            if died is not None:
                return died
        if len(self.table.places) < self.at_least:
            raise Lost(
                "rebuild", f"{len(self.table.places)} ranks are left of at least {self.at_least} that the job needs"
            )
        if self.levels is not None and len(self.table.places) < len(self._wanted):
            gone = min(self._wanted - set(self.table.places))
            raise Lost("rebuild", f"nobody is left to go on with what rank {gone} alone had: give more spares")
        self._roll_back()
        self._look()
        return None

    def _roll_back(self) -> None:
        for name, array in self.state.items():
            np.copyto(array, self.committed[name])
        if self.levels is not None:
            self.levels.roll_back()

    def _holders(self) -> list[int]:
        """Places whose holder has the committed state; the first coordinates."""
        return [place for place in sorted(self.table.places) if place not in self._fresh]

    def _restore(self) -> bool:
        """Hand the committed state to those who have none; false if it did not work on this rank."""
        hooks.phase("restore")
        holders = self._holders()
        if not holders:
            raise Lost("restore", "nobody who holds the state is left alive: use checkpoints and --recovery restart")
        giver = self.table.places[holders[0]]
        takers = [self.table.places[place] for place in sorted(self._fresh)]
        try:
            if self.quorum.rank == giver:
                for taker in takers:
                    newcomers.give(self.quorum.lane, taker, self.committed)
            elif self.quorum.rank in takers:
                newcomers.take(self.quorum.lane, giver, self.committed)
                self._roll_back()
            if self.levels is not None:
                self._restore_own(self.levels, giver)
        except MPI.Exception as error:
            self._notice(f"error {error.Get_error_class()}")
            self._revoke()
            return False
        return True

    def _restore_own(self, levels: Levels, giver: int) -> None:
        """Own arrays from the buddies' memory; from disk, all of them, where that is gone."""
        at_work = sorted(self.table.places)
        fresh = [at_work.index(place) for place in self._fresh]
        if self.step == 0 or levels.memory_has(len(at_work), fresh):
            if self.place is not None:
                levels.from_memory(self.comm, self.step, fresh)
                self.tools.journal.write("level", level="memory", step=self.step)
            return
        find = levels.newest_on_disk if self.quorum.rank == giver else None
        found = newcomers.same_for_all(self.quorum.lane, giver, self.quorum.alive, find)
        if found < 0:
            raise Lost("restore", "a rank and its buddy are both lost, and there is no intact checkpoint on disk")
        self.step = self._agreed = found
        self.tools.journal.write("rolled back", step=self.step)
        if self.place is not None:
            levels.from_disk(self.comm, self.step, self.committed)
            self._roll_back()
            self.tools.journal.write("level", level="disk", step=self.step)

    def _renew(self, empty: list[int]) -> Verdict | None:
        """Build everything anew over the survivors, with a new process for each empty place.

        Deaths that become known while communicators are built can do harm, so the old quorum, which still works,
        says whether it came about everywhere.

        Returns
        -------
        Verdict or None
            None when it did; otherwise what the survivors agreed on instead.
        """
        fresh: Quorum | None = None
        try:
            comm = protocol.shrink(self.quorum.base)
            if empty:
                comm = newcomers.spawn(comm, len(empty))
            fresh = Quorum(comm, protocol.RENEWED_LANES)
        except MPI.Exception as error:
            self._notice(f"error {error.Get_error_class()}")
        verdict = self.quorum.agree(fresh is not None)
        if fresh is None or not verdict.ok or verdict.alive != self.quorum.alive:
            self._spawns_left -= 1
            if self._spawns_left < -_RENEWALS:
                raise Lost("rebuild", f"no new communicators of the survivors came about in {_RENEWALS} tries")
            return verdict
        self.table = self.table.moved(self.quorum.renumbered(fresh))
        self.quorum = fresh
        first = fresh.size - len(empty)
        arrived = {place: first + i for i, place in enumerate(empty)}
        self.table = Table(self.table.places | arrived, self.table.waiting)
        self._fresh |= set(empty)
        if fresh.rank == 0:
            newcomers.welcome(fresh.lane, range(first, fresh.size), self._passport())
        return None

    def _passport(self) -> dict[str, object]:
        return {
            "step": self.step,
            "places": list(self.table.places.items()),
            "waiting": self.table.waiting,
            "wanted": sorted(self._wanted),
            "fresh": sorted(self._fresh),
        }

    def _join(self, orphaned: ctypes.c_void_p | None) -> None:
        """A spawned process learns who works where, then gets the state like any newcomer."""
        passport = newcomers.be_welcomed(self.quorum.lane)
        cancel(orphaned)
        self.step = self._agreed = int(passport["step"])
        self.table = Table(dict(passport["places"]), tuple(passport["waiting"]))
        self._wanted, self._fresh = set(passport["wanted"]), set(passport["fresh"])
        self._look()
        self.tools.journal.write("joined", step=self.step, place=self.place)
        verdict = self._agree(self._restore())
        if verdict.ok and verdict.alive == self.quorum.alive:
            self._fresh.clear()
        else:
            self._recover(verdict)

    def _look(self) -> None:
        """See this rank's place in the table and the communicator of those at work."""
        self.place = self.table.place_of(self.quorum.rank)
        note = self.tools.waits_for if self.tools.board is not None else None
        self.comm = View(self.quorum.lane, self.table.at_work, note)
        self._retired.append(self.comm)
        self.tools.placed(self.place if self.place is not None else -1)

    # -- beginning and end -------------------------------------------------------------------------
    def __enter__(self) -> Recovering:
        sys.excepthook = die_loudly
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave together: who leaves early counts as dead."""
        if kind is None:
            self.quorum.agree(True)


def recovering(
    comm: MPI.Intracomm,
    state: State,
    *,
    policy: str = "shrink",
    spares: int = 0,
    at_least: int = 1,
    instruments: Instruments | None = None,
    levels: Levels | None = None,
    every: int = 1,
) -> Recovering:
    """Begin a loop of steps that survives the death of ranks.

    Parameters
    ----------
    comm
        All processes, the spares last.
    state
        The arrays that a step changes, in place or by assignment to the same name and shape; the same on every rank.
    policy
        ``"shrink"`` (fewer ranks go on), ``"spare"`` (a waiting rank takes the place), ``"respawn"`` (a new process
        takes the place).
    spares
        How many of the ranks wait.
    at_least
        Fewer ranks than this cannot do the work.
    levels
        Arrays that each rank alone has, and where they are kept (`faults.recover.levels`); with a policy that fills
        the places of the dead.
    every
        Steps from one agreement to the next: an agreement costs time in every run, and a death up to so many steps.

    Raises
    ------
    UsageError
        An unknown policy, no rank left to work, or state of the ranks' own under a policy that loses their places.
    """
    if policy not in IN_PLACE:
        raise UsageError(f"a policy within a job is {', '.join(IN_PLACE)}, got {policy!r}")
    if not 0 <= spares < comm.Get_size():
        raise UsageError(f"spares must leave a rank to work, got {spares} of {comm.Get_size()} ranks")
    if levels is not None and policy == "shrink":
        raise UsageError("what a rank alone has needs somebody in its place: policy 'spare' or 'respawn', got 'shrink'")
    if every < 1:
        raise UsageError(f"ranks agree every 1 or more steps, got {every}")
    return Recovering(comm, state, policy, spares, at_least, instruments or Instruments(), levels, every)
