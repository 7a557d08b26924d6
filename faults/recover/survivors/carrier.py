"""The carrier of a communicator of survivors (`emulator.carrier.of`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from emulator import carrier
from emulator.carrier import LONGEST_NAP_S, Carrier
from faults.record.status_board import NO_RANK

if TYPE_CHECKING:
    from faults.recover.survivors.communicator import SurvivorComm


_THE_PARENTS = ("now", "compute", "note_waits_on", "advance", "idle", "all_matched", "terms")
"""Methods of a carrier that do not depend on ranks: the parent's are used."""


class SurvivorCarrier(Carrier):
    """The parent's carrier with the survivors' ranks; state of algorithms is kept per communicator of survivors.

    `run` is not the parent's: the parent may have all ranks begin a collective together, and a rank can die in it.
    """

    def __init__(self, comm: SurvivorComm) -> None:
        self._parents = carrier.of(comm.parent)
        super().__init__(comm, self._parents.instruments)
        self.timed = self._parents.timed
        for name in _THE_PARENTS:
            setattr(self, name, getattr(self._parents, name))
        self._missing = NO_RANK  # the first source of which `arrivals` last found nothing

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        return self._parents.ordered

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self._parents.exact

    @property
    def finds_first(self) -> bool:  # type: ignore[override]
        return self._parents.finds_first  # false after a death, as MPI rejects MPI.ANY_SOURCE then

    def align(self, ranks: Sequence[int] | None = None) -> float:
        chosen = range(self.comm.Get_size()) if ranks is None else ranks
        return self._parents.align([self.comm.members[rank] for rank in chosen])

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

    def fidelity(self) -> dict[str, Any] | None:
        """Return None: the figure needs all ranks, and the dead ones cannot give theirs."""
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
