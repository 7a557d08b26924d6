"""The search for the earliest message of several sources, used by `emulator.carrier.Carrier.earliest`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from mpi4py import MPI

if TYPE_CHECKING:
    from emulator.carrier import Carrier


class Silence:
    """The sources for which an ordered receive no longer waits, kept from one call of `earliest` to the next.

    A source that owes a message and sends none may hang, or itself wait for this rank. It counts as silent after
    `limit_s` seconds on the wall in which this rank had a message that it could have taken, or a deadline, and did
    not because of the source. A source that sends again is not silent any more.
    """

    def __init__(self, limit_s: float = math.inf) -> None:
        self.limit_s = limit_s
        self.sources: set[int] = set()
        self._since = math.inf

    def wait_for(self, owing: set[int], there: Collection[int], held: bool) -> bool:
        """Whether to wait for a source that owes a message; `held`: a message or a deadline is held back meanwhile."""
        self.sources.difference_update(there)
        missing = owing.difference(there)
        if not held or missing <= self.sources:
            self._since = math.inf
            return not missing <= self.sources
        wall = time.perf_counter()
        self._since = min(self._since, wall)
        if wall - self._since < self.limit_s:
            return True
        self.sources |= missing
        self._since = math.inf
        return False


class Search:
    """The state of one call of `Carrier.earliest`.

    Attributes
    ----------
    expired : it is certain that no message arrives before `until`
    hopeless : every source that could send is lost
    """

    def __init__(
        self,
        carrier: Carrier,
        sources: Iterable[int],
        tag: int,
        owing: Iterable[int] | None,
        silence: Silence,
        lost: Callable[[int, MPI.Exception], None] | None,
    ) -> None:
        self._carrier, self._left, self._tag = carrier, list(sources), tag
        self._owing = set(self._left if owing is None else owing)
        self._silence, self._lost = silence, lost
        self._status = MPI.Status()
        self.expired = self.hopeless = False

    def look(self, until: float) -> int | None:
        """The source to receive from, if it is known by now."""
        there = self._there()
        if self._carrier.ordered:
            return self._first(there, until)
        return next(iter(there), None)

    def _there(self) -> dict[int, float]:
        """The sources whose next message was delivered, with arrival times; not `ordered`: only the first one found."""
        carrier = self._carrier
        if carrier.ordered:
            try:
                return carrier.arrivals(self._left, self._tag)  # one look for all, which is what a wait costs
            except MPI.Exception:
                if self._lost is None:
                    raise
        there: dict[int, float] = {}
        for source in list(self._left):
            try:
                there.update(self._next_of(source))
            except MPI.Exception as error:
                if self._lost is None:
                    raise
                self._lost(source, error)
                self._left.remove(source)
                self._owing.discard(source)
                self.hopeless = not self._left or not self._owing
            if there and not carrier.ordered:
                break
        return carrier.arrivals(there, self._tag) if carrier.ordered else there

    def _next_of(self, source: int) -> dict[int, float]:
        carrier = self._carrier
        if carrier.ordered:
            return carrier.arrivals([source], self._tag)
        if carrier.comm.Iprobe(source, self._tag, self._status):
            return {self._status.Get_source(): 0.0}
        return {}

    def _first(self, there: dict[int, float], until: float) -> int | None:
        """The source of the earliest message, once no source that owes one can still send an earlier one."""
        if self._silence.wait_for(self._owing, there, held=bool(there) or until < math.inf):
            return None
        first = next(iter(there), None)
        if first is not None and there[first] <= until:
            return first
        self.expired = until < math.inf
        return None
