"""The processes of a job, which agree on who is alive without building a communicator after a death.

    work on comm e ──ok──► agree(ok, copies, who lives) ── ok on all survivors ──► the work is committed
         │                        │
         └─error─► revoke comm e  └── a rank died, or not ok ──► all adopt the same list of living ranks,
                   ok = no                  go to comm e+1 and, if not ok, back to the newest state that all have

Death notices that arrive inside Shrink, Split, Dup or Create_group can crash or hang the survivors. So all
communicators are built at the start: those that carry only agreements (`faults.agree.agreement`; an agreement works on
a revoked one too), and a stock of `work_comms`, duplicates that carry the work one after the other. A death at any
instant is found by the rank that needs the dead one, or by the next agreement; a second death during a repair makes the
agreement run another round. A rank that waits as a spare takes part in the agreements and holds no place.

Which state all ranks have is agreed on without a number: each says which copies it holds modulo 3, and the bits that
are left tell (`faults.recover.state.copies`).

Cost of an agreement without failures: a reduction and a broadcast over a tree, of 4 bytes per 26 ranks.
Limits: as many repairs as there are `work_comms`; then a new group must be built, from a `shrink`.
Source: Bland et al., "Post-failure recovery of MPI communication capability" (2013); Bosilca et al., "Failure
detection and propagation in HPC systems" (2016); two-phase commit with the coordinator replaced by the agreement.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import cast

from mpi4py import MPI

from faults.agree.agreement import FRESH, QUIET, RECENT, Agreements, Wait, revoke
from faults.agree.deaths import RecoveryFailed, dead_ranks
from faults.platform import LOCAL, Clock

WORK_COMMS, RENEWED_WORK_COMMS = 24, 4  # a new group is built while all ranks wait for it
_PER_WORD = 26  # ranks per agreed int, of whose 31 bits beside the sign five are the head
_HEAR_S = 0.02  # longest wait for the runtime to name the dead, when a revoked communicator says that there are some
ANY = 0b111
"""The copies of a rank that has none and takes what the others have."""


@dataclass(frozen=True)
class Decision:
    """What all living processes have agreed on.

    Attributes
    ----------
    ok : whether the work succeeded everywhere
    alive : the processes that live
    kept : the copies that all have
    grows : whether a process wants to let new ones in
    """

    ok: bool
    alive: tuple[int, ...]
    rounds: int
    kept: int = ANY
    grows: bool = False


def quiet(comm: MPI.Comm) -> None:
    """Let errors on `comm` raise exceptions instead of ending the job."""
    comm.Set_errhandler(MPI.ERRORS_RETURN)


class SurvivorGroup:
    """The processes of a job, the agreement among the living ones, and the communicators for their work.

    Parameters
    ----------
    comm : all processes, spares included; with ULFM. It is duplicated and itself left alone.
    work_comms : repairs that can be made before new communicators must be built
    beside : whether each of them has another one beside it, for collectives
    revocable : whether a rank that needs the others for an agreement may revoke the communicator that they work on
    begins : whether the job begins with it: a death in these first instants is then left to the first agreement, where
        otherwise it is an error

    Attributes
    ----------
    alive : processes that live, as of the last decision that was adopted
    epoch : number of the communicator in use
    spoiled : numbers of communicators that this rank revoked without a new death: each causes a repair more than deaths
        do
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        work_comms: int = WORK_COMMS,
        beside: bool = False,
        revocable: bool = True,
        begins: bool = True,
        clock: Clock = LOCAL.clock,
    ) -> None:
        for given in (comm, MPI.COMM_SELF, MPI.COMM_WORLD):
            quiet(given)
        self._clock = clock
        self.agreements = Agreements(comm, self._death_state, self._wake_workers, clock)
        self._group = self.agree_comm.Get_group()
        self.work_comms = [comm.Dup() for _ in range(work_comms)]
        self._beside = [comm.Dup() for _ in self.work_comms] if beside else []
        for made in self.comms:
            quiet(made)
        self.rank, self.size = self.agree_comm.Get_rank(), self.agree_comm.Get_size()
        self.alive = tuple(range(self.size))
        self._gone: set[int] = set()
        self.epoch = 0
        self._settled, self._revocable = self.alive, revocable
        self.spoiled: set[int] = set()
        self._idle = False
        try:
            self.agree_comm.Barrier()
        except MPI.Exception:  # the rank that leaves it first may die while others are still in it
            if not begins:
                raise

    @property
    def comms(self) -> list[MPI.Intracomm]:
        """All communicators that the group has made and may use."""
        return [*self.agreements.comms, *self.work_comms, *self._beside]

    @property
    def agree_comm(self) -> MPI.Intracomm:
        """The communicator that carries only the agreements."""
        return self.agreements.comm

    @property
    def work_comm(self) -> MPI.Intracomm:
        """The communicator that carries the work now, over all processes, dead ones included."""
        return self.work_comms[self.epoch]

    @property
    def comm_beside(self) -> MPI.Intracomm:
        """The second communicator of the same processes, for collectives."""
        return self._beside[self.epoch]

    def revoke(self, epoch: int | None = None) -> None:
        """Wake every rank that waits for a message on the communicators of epoch `epoch`, by default those in use."""
        number = self.epoch if epoch is None else epoch
        for comms in (self.work_comms, self._beside):
            if number < len(comms):
                revoke(comms[number])

    def failed(self) -> set[int]:
        """Processes that this process knows to be dead."""
        return dead_ranks(self.agree_comm, self._group)

    def death_is_news(self) -> bool:
        """Whether this process knows of a death that the last decision does not include."""
        return not self.failed().isdisjoint(self.alive)

    def agree(
        self, ok: bool, kept: int = ANY, wait: Wait | None = None, leaves: bool = False, grows: bool = False
    ) -> Decision:
        """Agree with every living process; all return the same decision.

        A round in which a death is news to a rank raises on all ranks, so all run the same number of rounds. The
        buffer keeps the agreed bitwise AND even then.

        Parameters
        ----------
        ok : whether this process' work succeeded
        kept : the copies that it has, as three bits (`faults.recover.state.copies`)
        wait : how to wait for a request where this rank has nothing else to do, as a spare, which sleeps where a
            working rank spins. It returns false as soon as the second argument, called again and again, says that the
            request was superseded.
        leaves : this process ends after the agreement, and is to count as dead from then on
        grows : this process wants to let new ones in
        """
        wait, self._idle = wait or spin, wait is not None
        rounds, head = 0, (not grows) << 4 | kept << 1 | ok
        absent = self._gone | {self.rank} if leaves else self._gone  # one that has left may not be known to be dead yet
        if not ok:
            self._await_report()
        while True:
            rounds += 1
            self.agree_comm.Ack_failed()
            given = packed(head, self.failed() | absent, self.size)
            outcomes = [self.agreements.agree(word, wait) for word in given]
            head, alive = unpacked([word for word, _ in outcomes], self.size)
            if all(clean for _, clean in outcomes):
                self._settled = self.alive
                return Decision(bool(head & 1), alive, rounds, head >> 1 & ANY, not head >> 4)

    def _await_report(self) -> None:
        """Wait at most `_HEAR_S` for MPI to report the death that caused an error: a revocation can arrive before that.

        News arrive while a communicator makes progress. COMM_SELF has no other rank that could die or revoke it, so its
        progress is denied by neither.
        """
        until = self._clock.now() + _HEAR_S
        while not self.death_is_news() and self._clock.now() < until:
            MPI.COMM_SELF.Iprobe()
            self._clock.give_way()

    def _death_state(self) -> int:
        """How new the known deaths are; ranks that have not got the last decision do not know its deaths yet."""
        failed = self.failed()
        if not failed.isdisjoint(self.alive):
            return FRESH
        return QUIET if failed.isdisjoint(self._settled) else RECENT

    def _wake_workers(self, ahead: bool) -> None:
        """Wake ranks that wait for a message on the communicator in use and, with `ahead`, on the next one.

        A spare wakes no rank: it waits long as a matter of course.
        """
        if self._idle or not self._revocable:
            return
        for number in range(self.epoch, min(self.epoch + 1 + ahead, len(self.work_comms))):
            self.revoke(number)
            if number > self.epoch or self._death_state() < FRESH:
                self.spoiled.add(number)

    def advance(self, decision: Decision) -> bool:
        """Adopt the agreed living ranks and move to the next communicator; False when none is left."""
        self.alive = decision.alive
        self._gone = set(range(self.size)).difference(self.alive)
        if self.epoch + 1 == len(self.work_comms):
            return False
        self.epoch += 1
        return True

    def rank_in(self, members: MPI.Group, process: int) -> int:
        """The rank of a process among `members` of another communicator; MPI.UNDEFINED if it is not one of them."""
        (rank,) = self._group.Translate_ranks([process], members)
        return rank

    def renumbered(self, newer: SurvivorGroup) -> list[int]:
        """The rank in `newer` of each process; -1 for those that are not in it."""
        moved = self._group.Translate_ranks(list(range(self.size)), newer._group)
        return [rank if rank != MPI.UNDEFINED else -1 for rank in moved]


def shrink(comm: MPI.Comm) -> MPI.Intracomm:
    """Build a communicator of the living ranks; they agree on it before its first use, which could hang otherwise.

    Raises
    ------
    RecoveryFailed
        It did not come about in 60 tries.
    """
    for _ in range(60):
        try:
            smaller = comm.Shrink()
        except MPI.Exception:
            continue
        quiet(smaller)
        try:
            agreed = smaller.Agree(1)
        except MPI.Exception:
            agreed = 0
        if agreed == 1:
            return cast("MPI.Intracomm", smaller)  # of the same kind as `comm`: bare or emulated
        smaller.Revoke()
        comm = smaller
    raise RecoveryFailed("rebuild", "no communicator of the survivors came about in 60 tries")


def _never() -> bool:
    """Return False: nothing supersedes the request."""
    return False


def spin(request: MPI.Request, superseded: Callable[[], bool] = _never) -> bool:
    """Wait for a request by testing it without a pause; false if it was superseded."""
    while not request.Test():
        if superseded():
            return False
    return True


def sleepy(
    request: MPI.Request,
    superseded: Callable[[], bool] = _never,
    calm: Callable[[], bool] = _never,
    doze_s: float = 0.0,
    clock: Clock = LOCAL.clock,
) -> bool:
    """Wait for a request in naps that grow longer, because each test takes a core for 20 us from ranks that work.

    As long as `calm()` is true, no rank needs this process, and it tests every `doze_s` seconds only.
    """
    pause = 50e-6
    while not request.Test():
        if superseded():
            return False
        if calm():
            clock.sleep(doze_s)
            continue
        clock.sleep(pause)
        pause = min(pause * 1.5, 1e-3)
    return True


def packed(head: int, dead: Collection[int], size: int) -> list[int]:
    """Pack `head` (five bits) and who is not dead into ints whose bitwise AND over all processes is what they share."""
    words = []
    for first in range(0, size, _PER_WORD):
        ranks = range(first, min(first + _PER_WORD, size))
        words.append(head << _PER_WORD | sum(1 << rank - first for rank in ranks if rank not in dead))
    return words


def unpacked(words: Sequence[int], size: int) -> tuple[int, tuple[int, ...]]:
    """Unpack the head and the living ranks from ints made by `packed` and combined by AND."""
    head = reduce(and_, (word >> _PER_WORD for word in words))
    return head, tuple(rank for rank in range(size) if words[rank // _PER_WORD] >> rank % _PER_WORD & 1)
