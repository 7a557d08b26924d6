"""The processes of a job: who works in which place, over which lane, and what a death makes of it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from mpi4py import MPI

from emulator import carrier
from faults.agree import consensus
from faults.agree.agreement import revoke
from faults.agree.consensus import Lost, Quorum, Verdict
from faults.inject.kernel_timer import cancel
from faults.recover import joining
from faults.recover.placement import IN_PLACE, Table, begin
from faults.recover.survivor_comm import View

if TYPE_CHECKING:
    from faults.inject.instruments import Instruments

_SPAWNS = 3  # failed attempts to let new processes in, before the survivors go on with fewer
_RENEWALS = 20


class Crew:
    """Everybody who is alive, seen from one of them.

    Attributes
    ----------
    quorum
        The agreements, and the lanes.
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

    def __init__(self, comm: MPI.Intracomm, policy: str, spares: int, at_least: int, tools: Instruments) -> None:
        self.policy, self.at_least, self._tools = policy, at_least, tools
        self._instruments = carrier.of(comm).instruments
        self._retired: list[View] = []  # their buffers may still be the target of messages under way
        self._spawns_left = _SPAWNS
        orphaned = joining.arm() if joining.spawned() else None
        lanes = consensus.RENEWED_LANES if joining.spawned() else consensus.LANES
        self.quorum = Quorum(joining.everybody(comm), lanes, begins=not joining.spawned())
        self.table: Table = begin(self.quorum.size - spares, spares)
        self.wanted = set(self.table.places)
        self.fresh: set[int] = set()
        if joining.spawned():
            self._be_welcomed(orphaned)
        self._look()

    def _look(self) -> None:
        """See this rank's place in the table and the communicator of those at work."""
        self.place = self.table.place_of(self.quorum.rank)
        note = self._tools.waits_for if self._tools.board is not None else None
        lane = carrier.of(self.quorum.lane)
        lane.instruments = self._instruments  # a communicator that was made after a failure has inherited none
        self.phase = lane.phase
        self.comm = View(self.quorum.lane, self.table.at_work, note)
        self._retired.append(self.comm)
        self._tools.placed(self.place if self.place is not None else -1)

    @property
    def has_state(self) -> bool:
        """Whether this rank is at work and has got what it needs for that."""
        return self.place is not None and self.place not in self.fresh

    def holders(self) -> list[int]:
        """Places whose holder has the state; the first coordinates."""
        return [place for place in sorted(self.table.places) if place not in self.fresh]

    def all_are_in(self, verdict: Verdict) -> bool:
        """Whether it worked for everybody and nobody has died since the last repair."""
        return verdict.ok and verdict.alive == self.quorum.alive

    def revoke(self) -> None:
        """Wake everybody who waits for a message on the lane in use."""
        revoke(self.quorum.lane)

    def rebuild(self, verdict: Verdict) -> Verdict | None:
        """Give everybody a place and the next lane.

        Returns
        -------
        Verdict or None
            None when it is done; what the survivors agreed on instead if somebody died meanwhile.
        """
        self.phase("rebuild")
        self.phase(self.policy)
        self.revoke()
        before = self.table
        lanes_left = self.quorum.advance(verdict)
        self.table = IN_PLACE[self.policy](before, verdict.alive)
        called = {place for place, base in self.table.places.items() if before.places.get(place) != base}
        self.fresh = (self.fresh | called) & set(self.table.places)
        empty = sorted(self.wanted - set(self.table.places))
        spawn = self.policy == "respawn" and bool(empty) and self._spawns_left > 0
        if spawn or not lanes_left:
            died = self._renew(empty if spawn else [])
            if died is not None:
                return died
        if len(self.table.places) < self.at_least:
            raise Lost(
                "rebuild", f"{len(self.table.places)} ranks are left of at least {self.at_least} that the job needs"
            )
        self._look()
        return None

    def _renew(self, empty: list[int]) -> Verdict | None:
        """Build everything anew over the survivors, with a new process for each empty place.

        Deaths that become known while communicators are built can do harm, so the old quorum, which still works,
        says whether it came about everywhere; if it did not, what it says instead is returned. Nobody can be called
        from here to an agreement that hangs for others: whoever has the second outcome knows that all have the first.
        """
        for _ in range(2):
            verdict = self.quorum.agree(True)
            if not self.all_are_in(verdict):
                return verdict
        fresh: Quorum | None = None
        try:
            comm = consensus.shrink(self.quorum.base)
            if empty:
                comm = joining.spawn(comm, len(empty))
            fresh = Quorum(comm, consensus.RENEWED_LANES, begins=False)
        except MPI.Exception as error:
            self._tools.journal.write("noticed", how=f"error {error.Get_error_class()}")
        verdict = self.quorum.agree(fresh is not None)
        if fresh is None or not self.all_are_in(verdict):
            self._spawns_left -= 1
            if self._spawns_left < -_RENEWALS:
                raise Lost("rebuild", f"no new communicators of the survivors came about in {_RENEWALS} tries")
            return verdict
        self.table = self.table.moved(self.quorum.renumbered(fresh))
        self.quorum = fresh
        first = fresh.size - len(empty)
        arrived = {place: first + i for i, place in enumerate(empty)}
        self.table = Table(self.table.places | arrived, self.table.waiting)
        self.fresh |= set(empty)
        if fresh.rank == 0:
            try:
                joining.welcome(fresh.lane, range(first, fresh.size), self._passport())
            except MPI.Exception:  # one has died again, which whoever hands the state out or asks for it will find
                self.revoke()
        return None

    def _passport(self) -> dict[str, object]:
        return {
            "places": list(self.table.places.items()),
            "waiting": self.table.waiting,
            "wanted": sorted(self.wanted),
            "fresh": sorted(self.fresh),
            "spawns_left": self._spawns_left,
        }

    def _be_welcomed(self, orphaned: ctypes.c_void_p | None) -> None:
        """A spawned process learns who works where; it gets the state like any newcomer."""
        passport = joining.be_welcomed(self.quorum.lane)
        cancel(orphaned)
        self.table = Table(dict(passport["places"]), tuple(passport["waiting"]))
        self.wanted, self.fresh = set(passport["wanted"]), set(passport["fresh"])
        self._spawns_left = passport["spawns_left"]  # all must stop trying at once
