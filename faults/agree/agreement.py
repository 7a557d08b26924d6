"""A sequence of agreements by all living ranks that goes on even when one of MPI's agreements hangs.

Open MPI's agreement hangs now and then when somebody dies during it (seen: once in some hundred such deaths, or in some
thousand, for all survivors alike). Nothing says that it cannot hang for some only, and one that is merely late comes
about while others give it up. So there are several communicators to agree on, the *bases*, of which one is in use.
The *word* of a rank is its input to an agreement: 31 bits, which are combined by AND::

    base 0   word 6   word 7 ──╳ those who wait long vote for the next base, by an agreement there
    base 1                      vote ─ how far are all? ─ word 7 once more ─ word 8 ─ ...

The vote needs everybody who lives, so nobody is left behind. Those who wait, and know of a death, revoke the base, by
which they ask the others for their votes, and after a while the lanes that these may be at work on.

A word may come about after all, or for some only, who have then gone on to the next one. So all ask on the new base how
far the others are. Two bits of three say it: a rank that is at word 7 says the bits 7 and 6 modulo 3, one that is at
word 8 the bits 8 and 7. What all have in common are two bits if all are at the same word, and the bit of the older word
if not; no rank can be further ahead, because word 8 needs everybody who lives. Who is ahead then gives the outcome of
word 7 for its word, which the others add nothing to: what they said is in it.

A vote or a question can hang like any agreement: then all vote for the base behind it in the same way.

Source: Herault et al., "Practical scalable consensus for pseudo-synchronous distributed systems" (SC 2015), which is
the agreement that Open MPI has; what is done about its hanging is ours.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from mpi4py import MPI

from faults.platform import LOCAL, Clock

BASES, STUCK_S = 5, 2.0
_LATE = 5  # times that long until who may only be slow is called in
_CLEAN = -(2**31)  # the sign: words themselves have 31 bits
QUIET, RECENT, FRESH = 0, 1, 2
"""Of deaths: all are old; those that the last word was about are young; there are some that no word was about."""

Wait = Callable[[MPI.Request, Callable[[], bool]], bool]
"""Wait for a request; false as soon as the second argument, asked again and again, says that waiting is in vain."""


class Agreements:
    """Agreements one after the other, on the first of several communicators that does not hang.

    Parameters
    ----------
    comm
        All processes; it is duplicated and itself left alone.
    unrest
        Whether an agreement may hang: `QUIET`, `RECENT` or `FRESH`. Who knows of nothing votes if others ask for it.
    call_in
        Called by those who wait long, to wake those who are at work and may be needed here. The argument is whether
        they may have had a word more than this rank.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        unrest: Callable[[], int],
        call_in: Callable[[bool], None],
        clock: Clock = LOCAL.clock,
    ) -> None:
        self._clock = clock
        self.bases = [comm.Dup() for _ in range(BASES)]
        self._unrest, self._call_in = unrest, call_in
        self._votes: list[MPI.Request] = []  # for the bases behind the first
        self._moved = False  # within this word
        self._count = 0
        self._outcome = 0  # of the word before
        self.given_up: list[object] = []  # requests that are stuck, and their buffers

    @property
    def base(self) -> MPI.Intracomm:
        """The communicator in use."""
        return self.bases[0]

    def agree(self, word: int, wait: Wait) -> tuple[int, bool]:
        """The bitwise AND of what all who live say, and whether no death was news to anybody.

        Parameters
        ----------
        word
            31 bits.
        """
        outcome = self._word(word, wait)
        while outcome is None:  # on another base now
            outcome = self._align(word, wait) or self._word(word, wait)
        self._moved = False
        value, clean = outcome
        self._outcome = value | _CLEAN if clean else value
        self._count += 1
        return outcome

    def _word(self, word: int, wait: Wait) -> tuple[int, bool] | None:
        """One try on the base in use; None if it was given up. The buffer keeps the agreed AND even with an error."""
        buffer = array("i", [word])
        request = self.base.Iagree(buffer)
        try:
            if not wait(request, self._in_vain()):
                self.given_up.append((request, buffer))
                self._next_base()
                return None
        except MPI.Exception:
            return buffer[0], False
        return buffer[0], True

    def _align(self, word: int, wait: Wait) -> tuple[int, bool] | None:
        """On a new base, find out whether some ranks have this word's outcome already, and return it if so."""
        here, before = 1 << self._count % 3, 1 << (self._count - 1) % 3
        said = self._word(here | before, wait)
        if said is None:
            return self._align(word, wait)
        if said[0] == here | before:
            return None
        ahead = said[0] == before
        again = self._word(self._outcome if ahead else word | _CLEAN, wait)
        if again is None:
            return self._align(word, wait)
        return None if ahead else (again[0] & ~_CLEAN, bool(again[0] & _CLEAN))

    def _next_base(self) -> None:
        """Go on with the farthest base that all living ranks have voted for."""
        passed = max(number for number, vote in enumerate(self._votes, 1) if _done(vote))
        self.given_up += self._votes[:passed]
        del self.bases[:passed], self._votes[:passed]
        self._moved = True

    def _in_vain(self) -> Callable[[], bool]:
        """Make the test whether all living ranks voted for another base; it votes itself every `STUCK_S`."""
        due, times = self._clock.now() + STUCK_S, 0

        def in_vain() -> bool:
            nonlocal due, times
            if any(map(_done, self._votes)):
                return True
            if self._clock.now() >= due:
                due, times = self._clock.now() + STUCK_S, times + 1
                self._urge(times)
            return False

        return in_vain

    def _urge(self, times: int) -> None:
        """Vote for the next base and make the other ranks vote; it has waited `times` times `STUCK_S`."""
        unrest, number = self._unrest(), len(self._votes) + 1
        if number < len(self.bases):
            asks = self.bases[number - 1]
            if unrest > QUIET or self._moved:
                revoke(asks)
            if asks.Is_revoked():
                ballot = array("i", [0])
                self._votes.append(self.bases[number].Iagree(ballot))
                self.given_up.append(ballot)
        if unrest == FRESH:
            self._call_in(times > 1)
        elif (unrest == RECENT or self._moved) and times >= _LATE:
            self._call_in(True)


def revoke(comm: MPI.Comm) -> None:
    """Wake everybody who waits for a message on `comm`, which is of no use for messages any more."""
    try:
        comm.Revoke()
    except MPI.Exception:
        return  # here it is revoked, whatever kept the word of it from others


def _done(vote: MPI.Request) -> bool:
    """Whether all living ranks have voted."""
    try:
        return bool(vote.Test())
    except MPI.Exception:  # and a death was news
        return True
