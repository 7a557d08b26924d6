"""What a drill hangs on a recovering program: a journal, a board, an injector. Without a drill they are silent."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from faults.inject.injector import Injector
from faults.record.journal import Journal, NoJournal
from faults.record.status_board import StatusBoard


@dataclass
class DrillContext:
    """Absent instruments cost a comparison."""

    journal: Journal | NoJournal = field(default_factory=NoJournal)
    board: StatusBoard | None = None
    injector: Injector | None = None
    member: int = 0
    conditions: Any = None  # of an emulated network (`faults.inject.network_changes.NetworkFaults`)
    _followed: int = -1

    @property
    def silent(self) -> bool:
        """Whether nobody wants to know what happens in a step."""
        others = (self.board, self.injector, self.conditions)
        return isinstance(self.journal, NoJournal) and all(one is None for one in others)

    def ready(self) -> None:
        """The job can begin; a later launch of the same job goes on with the first one's clock."""
        if self.board is None or self.injector is None:
            return
        if self.board.origin[0] == 0:
            self.board.origin[0] = time.monotonic()
        self.injector.begin(float(self.board.origin[0]))

    def working_on(self, step: int) -> None:
        """A step begins; here a fault may strike."""
        if self.board is not None:
            self.board.steps[self.member] = step
            self.board.beat(self.member)
        if self.conditions is not None:
            self.conditions.tick()
        if self.injector is not None:
            self.injector.at_step(step)
            if self.conditions is not None:
                self.injector.at_emulated(self.conditions.now())

    def follow(self) -> None:
        """Go by the steps of those at work: for a rank that waits and counts none, so that a fault can meet it."""
        if self.board is not None and self.injector is not None:
            furthest = self.board.furthest()
            for step in range(self._followed + 1, furthest + 1):
                self.working_on(step)
            self._followed = max(self._followed, furthest)

    def noticed(self) -> None:
        """A failure became known."""
        if self.injector is not None:
            self.injector.at_recovery()

    def placed(self, place: int) -> None:
        """This process works in another place from now on."""
        if self.board is not None:
            self.board.rows["place"][self.member] = place
        if self.injector is not None and self.board is not None and place >= 0 and place != self.injector.place:
            self.injector.place = place
            if self.board.origin[0]:
                self.injector.begin(float(self.board.origin[0]))  # what the clock has in store for that place

    def waits_for(self, base: int) -> None:
        if self.board is not None:
            self.board.peers[self.member] = base
