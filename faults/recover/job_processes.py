"""The processes of a job: which one works in which place, over which communicator, and what a death changes.

A place is a rank's number as the job began, and faults address ranks by it. The program's own ranks count the places
that are filled, in order: after the death of place 3 of 0..7, place 4 is rank 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mpi4py import MPI

from emulator import carrier
from emulator.comm import refused
from emulator.policies import Policy
from faults.agree import survivor_group
from faults.agree.deaths import RecoveryFailed
from faults.agree.survivor_group import Decision, SurvivorGroup
from faults.record.journal import What
from faults.record.status_board import IN_STEPS, NO_RANK, REBUILDS
from faults.recover import step_errors
from faults.recover.replacements import admission
from faults.recover.replacements.filling import Filling
from faults.recover.replacements.placement import Placement
from faults.recover.survivors import revoked_comms
from faults.recover.survivors.communicator import SurvivorComm
from faults.recover.survivors.tag_ranges import TagRanges
from faults.recover.user_loop import earlier_loop, refused_calls

if TYPE_CHECKING:
    from faults.inject.drill_context import DrillContext
    from faults.platform import Timer
    from faults.recover.checked_messages import MessageSums

_RENEWALS = 20


class JobProcesses:
    """All living processes, as one of them knows them.

    Attributes
    ----------
    group : the agreements, and the communicators for the work
    placement : which process works where, and which wait
    place : this rank's own place; None while it waits
    comm : the communicator of those at work; it is another one after a recovery
    wanted : the places that the job began with
    fresh : places whose holder has not got the state yet
    filling : the new processes for empty places

    Parameters
    ----------
    checks : messages of MPI are checked by checksums
    """

    def __init__(
        self, comm: MPI.Intracomm, policy: Policy, spares: int, at_least: int, drill: DrillContext, checks: bool = False
    ) -> None:
        self._checks = checks
        self.policy, self.at_least, self._drill = policy, at_least, drill
        if drill.platform.survives is None:
            earlier_loop.begins(self)
        refused.refuse_outside()
        if spares and drill.platform.survives is None and not drill.in_drill:
            refused_calls.refuse_collectives_with_spares(comm, spares)
        self._instruments = carrier.of(comm).instruments
        self._retired: list[SurvivorComm] = []  # their buffers may still be the target of messages under way
        self.filling = Filling(drill)
        spawned = admission.starter_of(drill).spawned
        everyone, orphan_timer = admission.all_processes(comm, drill)
        work_comms = survivor_group.RENEWED_WORK_COMMS if spawned else survivor_group.WORK_COMMS
        self.group = SurvivorGroup(
            everyone,
            work_comms,
            beside=True,
            begins=not spawned,
            clock=drill.platform.clock,
        )
        self._claim()
        self.placement = Placement.begin(self.group.size - spares, spares)
        self.wanted = set(self.placement.places)
        self.fresh: set[int] = set()
        if spawned:
            self._receive_placement(orphan_timer)
            drill.enters(IN_STEPS)
        self._look()

    def _claim(self) -> None:
        """Mark the group's communicators as the job's own, unlike those of the program."""
        if self._drill.platform.survives is None:
            revoked_comms.claim(self.group.comms)

    def _look(self) -> None:
        """Look up this rank's place, and make the communicator of the working ranks."""
        self.place = self.placement.place_of(self.group.rank)
        note = self._drill.waits_for if self._drill.board is not None else None
        work_comm, comm_beside = self.group.work_comm, self.group.comm_beside
        self._sums = self._new_sums()
        if self._sums is not None:
            from faults.recover.checked_messages import CheckedComm  # few jobs pay for the import

            work_comm, comm_beside = (CheckedComm(comm, self._sums) for comm in (work_comm, comm_beside))
        for parent in (comm_beside, work_comm):
            parents = carrier.of(parent)
            parents.instruments = self._instruments  # a communicator that was made after a failure has inherited none
        self.phase = parents.phase
        if self._retired:
            self._retired[-1].expire()
        beside = TagRanges(comm_beside)
        self.comm = SurvivorComm(work_comm, self.placement.at_work, note, beside)
        self._retired.append(self.comm)
        if self._drill.network_faults is not None:
            members = self.group.work_comm.members  # type: ignore[attr-defined]
            self._drill.network_faults.placed({p: members[one] for p, one in self.placement.places.items()})
        self._drill.waits_for(NO_RANK)  # the error that ended a wait left its note
        self._drill.placed(self.place if self.place is not None else -1)

    def recovers(self, phase: str) -> None:
        """Tell instruments that this rank enters a recovery phase, in which it does not do the program's work."""
        self.phase(phase, recovery=True)

    def _new_sums(self) -> MessageSums | None:
        """Make the checksums of messages, if they are compared or one message is to be spoiled."""
        injector = self._drill.injector
        flip = injector.spoil if injector is not None and injector.spoils_messages else None
        if (flip is None and not self._checks) or carrier.of(self.group.work_comm).timed:
            return None
        from faults.recover.checked_messages import MessageSums

        return MessageSums(self.group.size, flip)

    def spoiled(self) -> bool:
        """Whether a message to this rank was altered on the way; collective."""
        return self._checks and self._sums is not None and self._sums.differ(self.comm, self.placement.at_work)

    @property
    def has_state(self) -> bool:
        """Whether this rank works and has the state for it."""
        return self.place is not None and self.place not in self.fresh

    def holders(self) -> list[int]:
        """The places whose process has the state; the first one coordinates."""
        return [place for place in sorted(self.placement.places) if place not in self.fresh]

    @property
    def coordinates(self) -> bool:
        """Whether this rank is the coordinator: the first that has the state."""
        return self.holders()[:1] == [self.place]

    @property
    def _coordinator(self) -> int:
        """The coordinator: the first process that has the state, or the first living one if none has."""
        return next((self.placement.places[place] for place in self.holders()), self.group.alive[0])

    def unchanged(self, decision: Decision) -> bool:
        """Whether the step succeeded everywhere, no rank died since the last repair, and none is to be admitted."""
        return decision.ok and decision.alive == self.group.alive and not decision.grows

    def deserted(self, decision: Decision) -> bool:
        """Whether all processes that have the state would leave together although others could go on with it."""
        heirs = self.policy.spawns or not set(self.placement.waiting).isdisjoint(decision.alive)
        holders = [self.placement.places[place] for place in self.holders()]
        return heirs and len(holders) > 1 and set(holders).isdisjoint(decision.alive)

    def grows(self, room: Callable[[], bool], step: int, waits: bool) -> bool:
        """Whether this rank coordinates and new processes for empty places are ready; it starts them if there is room.

        Parameters
        ----------
        room : asked before they are started
        step : the next one
        waits : wait for those that have been started: there is no later occasion
        """
        empty = sorted(self.wanted - set(self.placement.places))
        return self.policy.later and bool(empty) and self.coordinates and self.filling.ready(empty, room, step, waits)

    @property
    def revoked(self) -> bool:
        """Whether another rank has given up the present step, after which calls may fail with any error."""
        return self.group.work_comm.Is_revoked() or self.group.comm_beside.Is_revoked()

    def tries(self, error: MPI.Exception) -> float:
        """How often a step may fail with this error; without limit if a death explains it."""
        return step_errors.tries(error, self.group.death_is_news(), self.revoked)

    def programs_own(self, error: MPI.Exception) -> bool:
        """Whether an error is the program's own: a wrong argument, or a buffer that is too short."""
        return step_errors.can_be_of_program(error) and self.tries(error) == step_errors.TRIES

    def revoke(self) -> None:
        """Wake every rank that waits for a message on the communicator in use.

        After a death also on those of the program's own, which it may use in a step against the rules.
        """
        self.group.revoke()
        if self._drill.platform.survives is None and self.group.failed():
            revoked_comms.revoke_others()

    def rebuild(self, decision: Decision) -> Decision | None:
        """Move every rank to its place and to the next communicator.

        Returns
        -------
        Decision or None
            None when it is done; what the survivors agreed on instead if a rank died meanwhile.
        """
        self._drill.enters(REBUILDS)
        self.recovers("rebuild")
        self.recovers(self.policy.name)
        self.revoke()
        before, coordinator = self.placement, self._coordinator
        comms_left = self.group.advance(decision)
        alive = decision.alive
        # A spawned process is not in the communicator yet: the survivors go on without it first.
        self.placement = before.refilled(alive) if self.policy.has_spares else before.survivors(alive)
        called = {place for place, holder in self.placement.places.items() if before.places.get(place) != holder}
        self.fresh = (self.fresh | called) & set(self.placement.places)
        empty = sorted(self.wanted - set(self.placement.places))
        may = decision.grows and coordinator in alive if self.policy.later else self.filling.left > 0
        spawn = self.policy.spawns and bool(empty) and may
        if spawn or not comms_left:
            died = self._renew(empty if spawn else [])
            if died is not None:
                return died
        if len(self.placement.places) < self.at_least:
            raise RecoveryFailed(
                "rebuild", f"{len(self.placement.places)} ranks are left of at least {self.at_least} that the job needs"
            )
        self._look()
        self._drill.enters(IN_STEPS)
        return None

    def _renew(self, empty: list[int]) -> Decision | None:
        """Build all communicators anew over the survivors, with a new process for each empty place.

        Deaths that become known while communicators are built can do harm, so the old group, which still works,
        agrees on whether it was built everywhere; if it was not, the decision is returned. No rank can be woken in here
        for an agreement that hangs for others: a rank that has the second outcome knows that all have the first.
        """
        for _ in range(2):
            decision = self.group.agree(True)
            if not self.unchanged(decision):
                return decision
        fresh: SurvivorGroup | None = None
        try:
            comm = survivor_group.shrink(self.group.agree_comm)
            self._drill.enters(REBUILDS)
            if empty:
                starter = self.group.rank_in(comm.Get_group(), self._coordinator)
                comm, empty = self.filling.let_in(comm, starter, empty, started=self.policy.later)
            clock = self._drill.platform.clock
            fresh = SurvivorGroup(comm, survivor_group.RENEWED_WORK_COMMS, beside=True, begins=False, clock=clock)
        except MPI.Exception as error:
            self._drill.journal.write(What.NOTICED, how=f"error {error.Get_error_class()}")
        decision = self.group.agree(fresh is not None)
        if fresh is None or not self.unchanged(decision):
            self.filling.left -= 1
            if self.filling.left < -_RENEWALS:
                raise RecoveryFailed("rebuild", f"no new communicators of the survivors in {_RENEWALS} tries")
            return decision
        self.placement = self.placement.moved(self.group.renumbered(fresh))
        self.group = fresh
        self._claim()
        first = fresh.size - len(empty)
        arrived = {place: first + i for i, place in enumerate(empty)}
        self.placement = Placement(self.placement.places | arrived, self.placement.waiting)
        self.fresh |= set(empty)
        if fresh.rank == 0:
            try:
                admission.send_placement(fresh.work_comm, range(first, fresh.size), self._message())
            except MPI.Exception:  # one has died again: the exchange of the state will find that
                self.revoke()
        return None

    def _message(self) -> dict[str, object]:
        return {
            "places": list(self.placement.places.items()),
            "waiting": self.placement.waiting,
            "wanted": sorted(self.wanted),
            "fresh": sorted(self.fresh),
            "spawns_left": self.filling.left,
        }

    def _receive_placement(self, orphan_timer: Timer | None) -> None:
        """Receive, as a spawned process, who works where; the state follows later, as for a called-in spare."""
        message = admission.receive_placement(self.group.work_comm)
        self._drill.platform.executioner.cancel(orphan_timer)
        self.placement = Placement(dict(message["places"]), tuple(message["waiting"]))
        self.wanted, self.fresh = set(message["wanted"]), set(message["fresh"])
        self.filling.left = message["spawns_left"]  # all must stop trying at once
