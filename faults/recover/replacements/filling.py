"""New processes for the empty places of a running job: started by one rank, admitted by all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mpi4py import MPI

from faults.record.journal import What
from faults.recover.replacements import admission
from faults.recover.replacements.admission import Started

if TYPE_CHECKING:
    from faults.inject.drill_context import DrillContext

ATTEMPTS = 3  # that may fail, before the survivors go on with fewer
_LOOK_S = 1e-3


class Filling:
    """What one rank knows of the new processes.

    Attributes
    ----------
    left : attempts to let some in that may still fail, the same on all ranks
    since : since when this rank has tried to fill empty places; None if it does not
    """

    def __init__(self, drill: DrillContext) -> None:
        self._drill, self.left = drill, ATTEMPTS
        self.since: float | None = None
        self._newcomers: Started | None = None  # started by this rank, and not let in yet

    def ready(self, empty: Sequence[int], room: Callable[[], bool], step: int, waits: bool) -> bool:
        """Whether new processes for these places wait to be admitted; this rank starts them if there is room.

        Parameters
        ----------
        room : asked before they are started
        step : the next one
        waits : wait for those that have been started: there is no later occasion
        """
        clock = self._drill.platform.clock
        while self.left > 0:
            if self._newcomers is None:
                if not room():
                    return False
                self._drill.journal.write(What.GROWS, step=step)
                self.since = self.since or clock.now()
                self._newcomers = admission.starter_of(self._drill).start(empty)
            try:
                if self._newcomers.ready():
                    return True
            except MPI.Exception:
                self.left -= 1
                self.close()
                continue
            if not waits:
                return False
            clock.sleep(_LOOK_S)
        return False

    def let_in(
        self, survivors: MPI.Intracomm, starter: int, empty: list[int], started: bool
    ) -> tuple[MPI.Intracomm, list[int]]:
        """Admit new processes into the lowest empty places; returns the communicator of all and the places; collective.

        Parameters
        ----------
        starter : the rank that has started them, or starts them now
        empty : places
        started : whether they have been started, and are ready

        Raises
        ------
        MPI.Exception
            They could not be started, or a rank died meanwhile.
        """
        if survivors.Get_rank() == starter and not started:
            self._newcomers = admission.starter_of(self._drill).start(empty)
        try:
            comm = admission.let_in(survivors, starter, self._newcomers, self._drill)
        finally:
            self.close()
        return comm, empty[: comm.Get_size() - survivors.Get_size()]

    def close(self) -> None:
        """Give up the new processes that this rank has started, unless they were admitted."""
        if self._newcomers is not None:
            self._newcomers.close()
            self._newcomers = None
