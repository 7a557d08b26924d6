"""One word after the other, agreed on by all who live, whatever becomes of MPI's agreement.

Open MPI's agreement hangs now and then when somebody dies during it (once in some hundred such deaths, on some builds
and machines; for all survivors, or for some while others have its outcome). So there are several communicators to
agree on, the *bases*, of which one is in use::

    base 0   word 6   word 7 ──╳ those who wait long vote for the next base, by an agreement there
    base 1                      vote ─ where is everybody? ─ word 7 again ─ word 8 ─ ...

The vote needs everybody who lives, so nobody is left behind who still computes. A word may come about after all while
others vote; then some have gone on to the next one, and everybody asks on the new base how far the others are. Two
bits of three say it: that a rank is at word 7 it says by the bits 7 and 6 modulo 3, that it is at word 8 by 8 and 7.
What all have in common are two bits if all are at the same word, and the bit of the older one if not: no rank can be
further ahead, because word 8 needs everybody who lives. Who is ahead then gives the outcome of word 7 for its word,
which the others add nothing to: what they said is in it.

A vote can hang like any agreement: then the same people vote for the base behind it.

Source: Herault et al., "Practical scalable consensus for pseudo-synchronous distributed systems" (SC 2015), which is
the agreement that Open MPI has; what is done about its hanging is ours.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable

from mpi4py import MPI

BASES, STUCK_S = 5, 2.0
_CLEAN = -(2**31)  # the sign: words themselves have 31 bits
QUIET, RECENT, FRESH = 0, 1, 2
"""Nobody has died whose death is not old; all but perhaps one agreement know of all deaths; there is a new one."""

Wait = Callable[[MPI.Request, Callable[[], bool]], bool]
"""Wait for a request; false as soon as the second argument, asked again and again, says that waiting is in vain."""


class Agreements:
    """The bases, and how many words have been agreed on.

    Parameters
    ----------
    comm
        All processes; it is duplicated and itself left alone.
    unrest
        Whether an agreement may hang now, or will: `QUIET`, `RECENT` or `FRESH`. Only then is there a vote.
    call_in
        Called by those who wait long, to wake those who are at work and may be needed here. The argument is whether
        they may have taken a step that this rank has not.
    """

    def __init__(self, comm: MPI.Intracomm, unrest: Callable[[], int], call_in: Callable[[bool], None]) -> None:
        self.bases = [comm.Dup() for _ in range(BASES)]
        self._unrest, self._call_in = unrest, call_in
        self._votes: list[MPI.Request] = []  # for the bases behind the first
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
        """Ask on a new base how far the others are; the outcome of this word if some have it already."""
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
        """The farthest that all have voted for; those who are elsewhere at work are to come too."""
        passed = max(number for number, vote in enumerate(self._votes, 1) if _done(vote))
        self.given_up += self._votes[:passed]
        del self.bases[:passed], self._votes[:passed]
        self._call_in(True)

    def _in_vain(self) -> Callable[[], bool]:
        """Whether everybody has voted to go on elsewhere; votes, after a while, as well."""
        due = time.monotonic() + STUCK_S
        called = False

        def in_vain() -> bool:
            nonlocal due, called
            if any(map(_done, self._votes)):
                return True
            if time.monotonic() < due:
                return False
            due = time.monotonic() + STUCK_S
            unrest = self._unrest()
            if unrest > QUIET and len(self._votes) + 1 < len(self.bases):
                self._vote()
            if unrest == FRESH:
                self._call_in(called)
                called = True
            return False

        return in_vain

    def _vote(self) -> None:
        base, ballot = self.bases[len(self._votes) + 1], array("i", [0])
        base.Ack_failed()
        self._votes.append(base.Iagree(ballot))
        self.given_up.append(ballot)


def _done(vote: MPI.Request) -> bool:
    """Whether everybody has voted."""
    try:
        return bool(vote.Test())
    except MPI.Exception:  # and a death was news
        return True
