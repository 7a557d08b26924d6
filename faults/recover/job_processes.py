"""The processes of a job: who works in which place, over which communicator, and what a death makes of it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from mpi4py import MPI

from emulator import carrier
from faults.agree import survivor_group
from faults.agree.agreement import revoke
from faults.agree.survivor_group import Decision, RecoveryFailed, SurvivorGroup
from faults.inject.kernel_timer import cancel
from faults.recover import joining
from faults.recover.placement import IN_PLACE, Placement, begin
from faults.recover.survivor_comm import SurvivorComm

if TYPE_CHECKING:
    from faults.inject.drill_context import DrillContext

_SPAWNS = 3  # failed attempts to let new processes in, before the survivors go on with fewer
_RENEWALS = 20


class JobProcesses:
    """Everybody who is alive, seen from one of them.

    Attributes
    ----------
    group
        The agreements, and the communicators for the work.
    table
        Who works where, and who waits.
    place
        This rank's own place; None while it waits.
    comm
        The communicator of those at work; it is another one after a recovery.
    wanted
        The places that the job began with.
    fresh
        Places whose holder has not got the state yet.
    """

    def __init__(self, comm: MPI.Intracomm, policy: str, spares: int, at_least: int, drill: DrillContext) -> None:
        self.policy, self.at_least, self._drill = policy, at_least, drill
        self._instruments = carrier.of(comm).instruments
        self._retired: list[SurvivorComm] = []  # their buffers may still be the target of messages under way
        self._spawns_left = _SPAWNS
        orphaned = joining.arm() if joining.spawned() else None
        work_comms = survivor_group.RENEWED_WORK_COMMS if joining.spawned() else survivor_group.WORK_COMMS
        self.group = SurvivorGroup(joining.everybody(comm), work_comms, begins=not joining.spawned())
        self.placement: Placement = begin(self.group.size - spares, spares)
        self.wanted = set(self.placement.places)
        self.fresh: set[int] = set()
        if joining.spawned():
            self._be_welcomed(orphaned)
        self._look()

    def _look(self) -> None:
        """See this rank's place in the table and the communicator of those at work."""
        self.place = self.placement.place_of(self.group.rank)
        note = self._drill.waits_for if self._drill.board is not None else None
        parents = carrier.of(self.group.work_comm)
        parents.instruments = self._instruments  # a communicator that was made after a failure has inherited none
        self.phase = parents.phase
        self.comm = SurvivorComm(self.group.work_comm, self.placement.at_work, note)
        self._retired.append(self.comm)
        self._drill.placed(self.place if self.place is not None else -1)

    @property
    def has_state(self) -> bool:
        """Whether this rank is at work and has got what it needs for that."""
        return self.place is not None and self.place not in self.fresh

    def holders(self) -> list[int]:
        """Places whose holder has the state; the first coordinates."""
        return [place for place in sorted(self.placement.places) if place not in self.fresh]

    def all_are_in(self, decision: Decision) -> bool:
        """Whether it worked for everybody and nobody has died since the last repair."""
        return decision.ok and decision.alive == self.group.alive

    def revoke(self) -> None:
        """Wake everybody who waits for a message on the communicator in use."""
        revoke(self.group.work_comm)

    def rebuild(self, decision: Decision) -> Decision | None:
        """Give everybody a place and the next communicator.

        Returns
        -------
        Decision or None
            None when it is done; what the survivors agreed on instead if somebody died meanwhile.
        """
        self.phase("rebuild")
        self.phase(self.policy)
        self.revoke()
        before = self.placement
        comms_left = self.group.advance(decision)
        self.placement = IN_PLACE[self.policy](before, decision.alive)
        called = {place for place, base in self.placement.places.items() if before.places.get(place) != base}
        self.fresh = (self.fresh | called) & set(self.placement.places)
        empty = sorted(self.wanted - set(self.placement.places))
        spawn = self.policy == "respawn" and bool(empty) and self._spawns_left > 0
        if spawn or not comms_left:
            died = self._renew(empty if spawn else [])
            if died is not None:
                return died
        if len(self.placement.places) < self.at_least:
            raise RecoveryFailed(
                "rebuild", f"{len(self.placement.places)} ranks are left of at least {self.at_least} that the job needs"
            )
        self._look()
        return None

    def _renew(self, empty: list[int]) -> Decision | None:
        """Build everything anew over the survivors, with a new process for each empty place.

        Deaths that become known while communicators are built can do harm, so the old group, which still works,
        says whether it came about everywhere; if it did not, what it says instead is returned. Nobody can be called
        from here to an agreement that hangs for others: whoever has the second outcome knows that all have the first.
        """
        for _ in range(2):
            decision = self.group.agree(True)
            if not self.all_are_in(decision):
                return decision
        fresh: SurvivorGroup | None = None
        try:
            comm = survivor_group.shrink(self.group.base)
            if empty:
                comm = joining.spawn(comm, len(empty))
            fresh = SurvivorGroup(comm, survivor_group.RENEWED_WORK_COMMS, begins=False)
        except MPI.Exception as error:
            self._drill.journal.write("noticed", how=f"error {error.Get_error_class()}")
        decision = self.group.agree(fresh is not None)
        if fresh is None or not self.all_are_in(decision):
            self._spawns_left -= 1
            if self._spawns_left < -_RENEWALS:
                raise RecoveryFailed("rebuild", f"no new communicators of the survivors in {_RENEWALS} tries")
            return decision
        self.placement = self.placement.moved(self.group.renumbered(fresh))
        self.group = fresh
        first = fresh.size - len(empty)
        arrived = {place: first + i for i, place in enumerate(empty)}
        self.placement = Placement(self.placement.places | arrived, self.placement.waiting)
        self.fresh |= set(empty)
        if fresh.rank == 0:
            try:
                joining.welcome(fresh.work_comm, range(first, fresh.size), self._passport())
            except MPI.Exception:  # one has died again, which whoever hands the state out or asks for it will find
                self.revoke()
        return None

    def _passport(self) -> dict[str, object]:
        return {
            "places": list(self.placement.places.items()),
            "waiting": self.placement.waiting,
            "wanted": sorted(self.wanted),
            "fresh": sorted(self.fresh),
            "spawns_left": self._spawns_left,
        }

    def _be_welcomed(self, orphaned: ctypes.c_void_p | None) -> None:
        """A spawned process learns who works where; it gets the state like any newcomer."""
        passport = joining.be_welcomed(self.group.work_comm)
        cancel(orphaned)
        self.placement = Placement(dict(passport["places"]), tuple(passport["waiting"]))
        self.wanted, self.fresh = set(passport["wanted"]), set(passport["fresh"])
        self._spawns_left = passport["spawns_left"]  # all must stop trying at once
