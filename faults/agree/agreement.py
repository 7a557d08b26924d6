"""A sequence of agreements by all living ranks that goes on even when one of MPI's agreements hangs.

Open MPI's agreement hangs now and then when a rank dies during it (seen: once in some hundred such deaths, or in some
thousand, for all survivors alike). It is not known whether it can hang for some only, and one that is merely late comes
about while other ranks give it up. So there are several communicators for agreements, of which one is in use. The
*word* of a rank is its input to an agreement: 31 bits, which are combined by AND::

    communicator 0   word 6   word 7 ──╳ ranks that wait long vote for the next communicator, by an agreement on it
    communicator 1                       vote ─ how far are all? ─ word 7 once more ─ word 8 ─ ...

A vote needs every living rank, so no rank is left behind. A rank that waits and knows of a death revokes the
communicator in use, which asks the others for their votes, and after a while the communicators on which they may be at
work.

A word may come about after all, or for some ranks only, which have then gone on to the next one. So all ask on the new
communicator how far the others are. Two bits of three say it: a rank that is at word 7 sets the bits 7 and 6 modulo 3,
one that is at word 8 the bits 8 and 7. The AND has two bits if all are at the same word, and the bit of the older word
if not; no rank can be further ahead, because word 8 needs every living rank. A rank that is ahead then gives the
outcome of word 7 as its word, and the others' words change nothing in it: they are part of that outcome.

A vote or a question can hang like any agreement: then all vote for the communicator after it in the same way.

Source: Herault et al., "Practical scalable consensus for pseudo-synchronous distributed systems" (SC 2015), which is
the agreement that Open MPI has; the way round its hanging is ours.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from mpi4py import MPI

from faults.platform import LOCAL, Clock

AGREE_COMMS, STUCK_S = 5, 2.0
_LATE = 5  # times that long until ranks that may only be slow are woken
_CLEAN = -(2**31)  # the sign: words themselves have 31 bits
QUIET, RECENT, FRESH = 0, 1, 2
"""What a rank knows of deaths: none is new; the last word told of some; there are some that no word has told of."""

Wait = Callable[[MPI.Request, Callable[[], bool]], bool]
"""Wait for a request; false as soon as the second argument, called again and again, says that it was superseded."""


class Agreements:
    """A sequence of agreements of all living ranks, made on the first of several communicators that does not hang.

    Parameters
    ----------
    comm : all processes; it is duplicated and itself left alone
    death_state : what this rank knows of deaths: `QUIET`, `RECENT` or `FRESH`; unless quiet, an agreement may hang. A
        quiet rank votes only if others ask for it.
    wake_workers : called by a rank that waits long, to wake ranks that are at work and may be needed here. The argument
        is whether they may have had one more word than this rank.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        death_state: Callable[[], int],
        wake_workers: Callable[[bool], None],
        clock: Clock = LOCAL.clock,
    ) -> None:
        self._clock = clock
        self.comms = [comm.Dup() for _ in range(AGREE_COMMS)]
        self._death_state, self._wake_workers = death_state, wake_workers
        self._votes: list[MPI.Request] = []  # for the communicators after the first
        self._moved = False  # within this word
        self._count = 0
        self._outcome = 0  # of the word before
        self.given_up: list[object] = []  # requests that are stuck, and their buffers

    @property
    def comm(self) -> MPI.Intracomm:
        """The communicator in use."""
        return self.comms[0]

    def agree(self, word: int, wait: Wait) -> tuple[int, bool]:
        """Return the bitwise AND of all living ranks' words, and whether every rank knew all deaths before.

        Parameters
        ----------
        word : 31 bits
        """
        outcome = self._agree_once(word, wait)
        while outcome is None:  # on another communicator now
            outcome = self._align(word, wait) or self._agree_once(word, wait)
        self._moved = False
        value, clean = outcome
        self._outcome = value | _CLEAN if clean else value
        self._count += 1
        return outcome

    def _agree_once(self, word: int, wait: Wait) -> tuple[int, bool] | None:
        """Agree on the communicator in use; None if it was given up. After an MPI error the buffer holds the AND."""
        buffer = array("i", [word])
        request = self.comm.Iagree(buffer)
        try:
            if not wait(request, self._count_votes()):
                self.given_up.append((request, buffer))
                self._next_base()
                return None
        except MPI.Exception:
            return buffer[0], False
        return buffer[0], True

    def _align(self, word: int, wait: Wait) -> tuple[int, bool] | None:
        """Agree on a new communicator whether other ranks have this word's outcome already; return it, None if not."""
        here, before = 1 << self._count % 3, 1 << (self._count - 1) % 3
        said = self._agree_once(here | before, wait)
        if said is None:
            return self._align(word, wait)
        if said[0] == here | before:
            return None
        ahead = said[0] == before
        again = self._agree_once(self._outcome if ahead else word | _CLEAN, wait)
        if again is None:
            return self._align(word, wait)
        return None if ahead else (again[0] & ~_CLEAN, bool(again[0] & _CLEAN))

    def _next_base(self) -> None:
        """Switch to the last communicator for which all living ranks have voted."""
        passed = max(number for number, vote in enumerate(self._votes, 1) if _done(vote))
        self.given_up += self._votes[:passed]
        del self.comms[:passed], self._votes[:passed]
        self._moved = True

    def _count_votes(self) -> Callable[[], bool]:
        """Make the test whether all living ranks have voted for another communicator; it votes every `STUCK_S`."""
        due, times = self._clock.now() + STUCK_S, 0

        def superseded() -> bool:
            nonlocal due, times
            if any(map(_done, self._votes)):
                return True
            if self._clock.now() >= due:
                due, times = self._clock.now() + STUCK_S, times + 1
                self._vote_again(times)
            return False

        return superseded

    def _vote_again(self, times: int) -> None:
        """Vote for the next communicator and make the other ranks vote, after a wait of `times` times `STUCK_S`."""
        death_state, number = self._death_state(), len(self._votes) + 1
        if number < len(self.comms):
            asks = self.comms[number - 1]
            if death_state > QUIET or self._moved:
                revoke(asks)
            if asks.Is_revoked():
                ballot = array("i", [0])
                self._votes.append(self.comms[number].Iagree(ballot))
                self.given_up.append(ballot)
        if death_state == FRESH:
            self._wake_workers(times > 1)
        elif (death_state == RECENT or self._moved) and times >= _LATE:
            self._wake_workers(True)


def revoke(comm: MPI.Comm) -> None:
    """Wake every rank that waits for a message on `comm`, which carries no more messages."""
    try:
        comm.Revoke()
    except MPI.Exception:
        return  # it is revoked on this rank, even if others could not be told


def _done(vote: MPI.Request) -> bool:
    """Whether all living ranks have voted in this agreement."""
    try:
        return bool(vote.Test())
    except MPI.Exception:  # and a death was news
        return True
