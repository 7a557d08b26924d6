"""The steps that this rank has finished, and how many of them are committed: known to be finished by everybody."""

from __future__ import annotations

import time

from faults.record.journal import Journal, NoJournal


class Commits:
    """Journals each step once, in order, when it is committed, with the instant at which this rank finished it.

    Attributes
    ----------
    count
        Committed steps.
    """

    def __init__(self, journal: Journal | NoJournal) -> None:
        self._journal = journal
        self._silent = isinstance(journal, NoJournal)
        self.count = 0
        self._finished: list[float] = []  # instants of the steps from `count` on

    def finish(self) -> None:
        """One more step is done, as far as this rank is concerned."""
        self._finished.append(time.monotonic())

    def commit(self, count: int) -> None:
        """So many steps are committed."""
        if self._silent:  # nobody asks for the instants, and where it counts they are not even taken
            self.count = max(self.count, count)
            return
        while self.count < count:
            self._journal.write("commit", step=self.count, done=self._finished.pop(0))
            self.count += 1

    def go_back(self) -> None:
        """What is not committed will be done again."""
        self._finished.clear()

    def adopt(self, count: int) -> None:
        """Go on behind so many steps, which others have committed."""
        self.count = count
        self._finished.clear()
