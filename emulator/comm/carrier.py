"""The carrier of an emulated communicator: emulated time, and messages in the order of their emulated arrival.

Without pacing a message can have arrived physically while its emulated arrival lies far ahead, and a probe for it
moves the clock there. A program that receives from the first of several sources, or that has deadlines, asks for the
arrivals before: it waits until every source that owes it a message has sent one, and receives the earliest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from emulator.carrier import Carrier
from emulator.comm.persistent import Condition
from emulator.core.instruments import Wait
from emulator.core.waits_for import WaitNotes

if TYPE_CHECKING:
    from emulator.comm.communicator import EmulatedComm


class EmulatedCarrier(Carrier):
    """The carrier of an emulated communicator; all of one emulated cluster share the instruments."""

    comm: EmulatedComm
    timed = True

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        return not self.comm.engine.pacer.pace

    def note_waits_on(self, board: WaitNotes) -> None:
        self.comm.engine.board = board

    def now(self) -> float:
        return self.comm.now()

    def compute(self, seconds: float) -> None:
        self.comm.compute(seconds)

    def align(self, ranks: Sequence[int] | None = None) -> float:
        return self.comm.align(ranks)

    def idle(self) -> None:
        self.comm.engine.idling = True

    def advance(self, t: float) -> None:
        self.comm.engine.wait_until(t, Wait.POLL)

    def arrivals(self, sources: Iterable[int], tag: int) -> dict[int, float]:
        self.comm.engine.progress()
        found = self._found(sources, tag)
        dues: dict[int, float] = {}
        for port in {message.port for message in found.values()}:
            there = {source: message for source, message in found.items() if message.port is port}
            dues |= zip(there, port.expected(there.values()), strict=True)
        return {source: dues[source] for source in sorted(found, key=lambda one: (found[one].first, found[one].source))}

    def _found(self, sources: Iterable[int], tag: int) -> dict[int, Any]:
        """The next message of each source with this tag, for sources whose message has been delivered."""
        comm = self.comm
        matcher = comm.engine.matchers[comm.context]
        found = {}
        for source in sources:
            message = matcher.find(comm.members[source], tag, None)
            if message is not None:
                found[source] = message
            elif error := comm.failure(comm.members[source], blocking=True):
                comm.raise_error(error)
        return found

    def all_sent(self, sources: Sequence[int], tag: int) -> list[Any]:
        if len(sources) < 2 or not self.ordered:
            return []
        return [Condition(self.comm, lambda: len(self._found(sources, tag)) == len(sources))]

    def all_matched(self, receives: Sequence[Any]) -> list[Any]:
        if len(receives) < 2 or not self.ordered:
            return []
        return [Condition(self.comm, lambda: all(receive.poll() for receive in receives), receives)]

    def fidelity(self) -> dict[str, Any]:
        return self.comm.fidelity()

    def terms(self) -> tuple[float, float] | None:
        # What it takes to choose an algorithm is not the program's compute: neither this nor the import of the prices.
        self.comm._enter()
        import emulator.costs.registry  # noqa: F401 - each rank pays for an import, and not each has a choice

        terms = self.comm.slowest_path()
        self.comm._leave()
        return terms
