"""What `emulator.carrier.of` answers for a communicator of survivors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from emulator import carrier
from emulator.carrier import LONGEST_NAP_S, Carrier
from faults.record.status_board import NO_RANK

if TYPE_CHECKING:
    from emulator.core.waits_for import WaitNotes
    from faults.recover.survivors.communicator import SurvivorComm


class SurvivorCarrier(Carrier):
    """The parent's carrier, in the survivors' ranks; what algorithms keep per communicator is the survivors' own."""

    def __init__(self, comm: SurvivorComm) -> None:
        self._parents = carrier.of(comm.parent)
        super().__init__(comm, self._parents.instruments)
        self.timed = self._parents.timed
        self._missing = NO_RANK  # the first source of which `arrivals` last found nothing

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        return self._parents.ordered

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self._parents.exact

    def now(self) -> float:
        return self._parents.now()

    def compute(self, seconds: float) -> None:
        self._parents.compute(seconds)

    def align(self, ranks: Sequence[int] | None = None) -> float:
        chosen = range(self.comm.Get_size()) if ranks is None else ranks
        return self._parents.align([self.comm.members[rank] for rank in chosen])

    def note_waits_on(self, board: WaitNotes) -> None:
        self._parents.note_waits_on(board)

    def advance(self, t: float) -> None:
        self._parents.advance(t)

    def wait_until(
        self,
        ready: Callable[[], bool],
        deadline: float = math.inf,
        patience_s: float = math.inf,
        longest_s: float = LONGEST_NAP_S,
    ) -> bool:
        self._missing = NO_RANK
        if ready():
            return True
        self.comm.note(self._missing)
        came = self._parents.wait_until(ready, deadline, patience_s, longest_s)
        self.comm.note(NO_RANK)
        return came

    def idle(self) -> None:
        self._parents.idle()

    def fidelity(self) -> dict[str, Any] | None:
        """None: the figure is of all ranks together, and the dead cannot give theirs."""
        return None

    def failed(self) -> list[int]:
        return self.comm.failed()

    def arrivals(self, sources: Iterable[int], tag: int) -> dict[int, float]:
        ranks = {self.comm.members[source]: source for source in sources}
        found = {ranks[member]: due for member, due in self._parents.arrivals(ranks, self.comm.tag(tag)).items()}
        self._missing = next((member for member, rank in ranks.items() if rank not in found), NO_RANK)
        return found

    def all_sent(self, sources: Sequence[int], tag: int) -> list[Any]:
        return self._parents.all_sent([self.comm.members[source] for source in sources], self.comm.tag(tag))

    def all_matched(self, receives: Sequence[Any]) -> list[Any]:
        return self._parents.all_matched(receives)

    def terms(self) -> tuple[float, float] | None:
        return self._parents.terms()
