"""What a communicator can do besides mpi4py's methods: clock, declared compute, waiting, ordered receive, instruments.

Every algorithm is an ordinary mpi4py program. What mpi4py's interface does not have is asked of its carrier, and
of nothing else::

    carrier = carrier.of(comm)
    start = carrier.now()
    carrier.compute(2e-3)
    carrier.phase("reduce_scatter")

`Carrier` is that of MPI itself: the wall clock, nothing in between. Other communicators bring a subclass and hand it
out as their attribute ``carrier``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from typing import Any

from mpi4py import MPI

from emulator.core import wall_clock
from emulator.core.dissemination import largest
from emulator.core.instruments import Instrument as Instrument  # for programs: their observers are subclasses
from emulator.core.instruments import Instruments
from emulator.core.waits_for import WaitNotes
from emulator.earliest import Search, Silence
from emulator.errors import UsageError
from emulator.units import check_compute

CARRIES_OTHERS = "carries other communicators"
"""MPI's name of a communicator that no program uses itself."""
LONGEST_NAP_S = 500e-6
"""Longest sleep between two tests of a condition that is waited for."""


class Carrier:
    """The carrier of a communicator of MPI itself.

    Attributes
    ----------
    comm : the communicator
    timed : whether it has a clock of its own; without one time is the wall's and `compute` sleeps
    exact : whether an operation takes the same time each time that it is repeated
    ordered : whether messages must be taken by `arrivals` and not by physical delivery, because emulated time is not
        tied to the wall clock; conservative simulation then makes the result exact and repeatable (Chandy and
        Misra, IEEE TSE 5(5), 1979)
    finds_first : whether a probe of MPI.ANY_SOURCE gives the message that arrived first, at the same cost for any
        number of ranks
    instruments : observers; every duplicate of the communicator shares them
    state : what algorithms keep per communicator, by a key of their own; values with a `free` are freed with it
    """

    timed = False
    exact = False
    ordered = False
    finds_first = False

    def __init__(self, comm: MPI.Comm, instruments: Instruments | None = None) -> None:
        self.comm: Any = comm
        self.instruments = Instruments() if instruments is None else instruments
        self.state: dict[Hashable, Any] = {}

    def note_waits_on(self, board: WaitNotes) -> None:
        """Make this rank note on `board` which rank it waits for; without effect where that is not known."""

    # -- time

    def now(self) -> float:
        """Seconds on the clock that counts for this communicator."""
        return time.perf_counter()

    def compute(self, seconds: float) -> None:
        """Spend `seconds` >= 0 of declared computing."""
        check_compute(seconds)
        time.sleep(seconds)

    def align(self, ranks: Sequence[int] | None = None) -> float:
        """Wait for all ranks and return the common time, on MPI itself this rank's; collective.

        Parameters
        ----------
        ranks : those that take part, in the same order everywhere, where others are dead; absent: all
        """
        if ranks is None:
            self.comm.Barrier()
        else:
            largest(self.comm, ranks, 0.0)
        return self.now()

    def advance(self, t: float) -> None:
        """Set this rank's clock to `t`, unless it is later already; without effect on the wall clock."""

    # -- collectives

    def run(self, collective: Any) -> None:
        """Run the `steps` of a collective on this rank; they yield each request to wait for."""
        for request in collective.steps():
            request.Wait()

    # -- waiting

    def nap_s(self, longest_s: float) -> float:
        """The longest sleep between two looks: `longest_s`, or more on an ordered clock, where a wait is free."""
        return max(longest_s, wall_clock.polite_nap(self.comm.Get_size())) if self.ordered else longest_s

    def wait_until(
        self,
        ready: Callable[[], bool],
        deadline: float = math.inf,
        patience_s: float = math.inf,
        longest_s: float = LONGEST_NAP_S,
    ) -> bool:
        """Call `ready` until it returns true, asleep in between; returns whether it did.

        Parameters
        ----------
        ready : a cheap test, which makes progress (probes, tests a request)
        deadline : instant of `now` at which to give up
        patience_s : seconds on the wall after which to give up, whatever the communicator's clock says: for what may
            hang
        longest_s : longest sleep between two tests
        """
        done = False

        def over() -> bool:
            nonlocal done
            done = ready()
            if not done and deadline < math.inf:
                self.idle()
                return self.now() >= deadline
            return done

        wall_clock.wait_until(over, None if patience_s == math.inf else patience_s, longest_s)
        return done

    def idle(self) -> None:
        """Note a test that found nothing: a paced emulated clock catches up with the wall clock, others ignore it."""

    # -- ordered receive; nothing to do where messages are delivered in the order of their time

    def arrivals(self, sources: Iterable[int], tag: int) -> dict[int, float]:
        """When the next message from each source with this tag will have arrived, for those known; moves no clock.

        In the order in which a receive from MPI.ANY_SOURCE would take them: that of their first bytes.

        On MPI itself a message that is there has arrived now. Raises an MPI.Exception if a source is dead and has left
        no message.
        """
        return {source: self.now() for source in sources if self.comm.Iprobe(source, tag)}

    def earliest(
        self,
        sources: Iterable[int],
        tag: int,
        until: float = math.inf,
        patience_s: float = math.inf,
        owing: Iterable[int] | None = None,
        silence: Silence | None = None,
        lost: Callable[[int, MPI.Exception], None] | None = None,
    ) -> int | None:
        """Wait for the next message with this tag and return its source, to receive it from there.

        On MPI itself and on a paced network that is the first message delivered. Where messages are `ordered` it is
        the one whose first byte arrives first, known once every source in `owing` has sent one.

        Parameters
        ----------
        sources : ranks to receive from, looked at in this order; MPI.ANY_SOURCE only where messages are not ordered
        until : instant of `now` at which to give up
        patience_s : seconds on the wall after which to give up; 0 looks once
        owing : sources that will send a message whatever happens; default: all of them
        silence : for how long an ordered receive waits for sources that send nothing; default: for ever
        lost : called with a source that is dead and has left no message; without it the error is raised

        Returns
        -------
        int or None
            None when the time or the patience is over, or when no source is left that could send. An ordered clock has
            advanced to a finite `until` unless the patience ended first.

        Raises
        ------
        MPI.Exception
            A source is dead and has left no message, and there is no `lost`.
        """
        search = Search(self, sources, tag, owing, silence or Silence(), lost)
        found: list[int | None] = []

        def over() -> bool:
            source = search.look(until)
            if source is not None or search.hopeless or search.expired:
                found.append(source)
            return bool(found)

        self.wait_until(over, math.inf if self.ordered else until, patience_s, self.nap_s(LONGEST_NAP_S))
        if search.expired:
            self.advance(until)
        return found[0] if found else None

    def all_sent(self, sources: Sequence[int], tag: int) -> list[Any]:
        """Requests to wait for before messages of these sources are received; empty if delivery is ordered anyway."""
        return []

    def all_matched(self, receives: Sequence[Any]) -> list[Any]:
        """The requests of `all_sent` for receives that are already posted."""
        return []

    def wait_for_all(self, sources: Sequence[int], tag: int) -> None:
        """Wait for the requests of `all_sent`; raises an MPI.Exception if a source died without sending."""
        for request in self.all_sent(sources, tag):
            request.Wait()

    def fidelity(self) -> dict[str, Any] | None:
        """How accurate emulated time has been so far, over all ranks; collective. None on MPI itself."""
        return None

    def failed(self) -> list[int]:
        """Ranks of a recovering job that are known to be dead; receives from any source go on without them."""
        return []

    # -- what the choice of an algorithm goes by

    def terms(self) -> tuple[float, float] | None:
        """alpha (s) and beta (s/B) of the slowest configured path between two ranks; None where none is configured."""
        return None

    # -- instruments

    def phase(self, name: str, **info: object) -> None:
        """Tell every instrument that an algorithm enters a phase."""
        for phase in self.instruments.phase:
            phase(name, **info)

    def fault(self, kind: str, **info: object) -> None:
        """Tell every instrument that a fault has happened."""
        for fault in self.instruments.fault:
            fault(kind, **info)

    def free(self) -> None:
        """Free the state of algorithms; MPI calls this when the communicator is freed."""
        while self.state:
            value = self.state.popitem()[1]
            release = getattr(value, "free", None)
            if release is not None:
                release()


_by_handle: dict[int, Carrier] = {}
"""A cache of MPI's attributes by handle; the attribute's deletion removes the entry."""


def of(comm: Any) -> Carrier:
    """The carrier of a communicator, always the same object for the same communicator.

    Parameters
    ----------
    comm : MPI's own communicator, an emulated one, a job's view of the living, or what else has a `carrier`

    Raises
    ------
    UsageError
        `comm` is no communicator.
    """
    if type(comm) is MPI.Intracomm:
        return _of_handle(comm)
    own = getattr(comm, "carrier", None)
    if own is not None:
        return own
    if not isinstance(comm, MPI.Comm):
        raise UsageError(f"a communicator is needed, such as MPI.COMM_WORLD, got {type(comm).__name__}")
    handles = _of_handle(comm)
    if type(comm).__module__ == MPI.__name__:
        return handles
    # An object of a class written in Python may share MPI's handle with another object.
    attributes = vars(comm)
    if "_bare_carrier" not in attributes:
        attributes["_bare_carrier"] = Carrier(comm, handles.instruments)
    return attributes["_bare_carrier"]


def _of_handle(comm: MPI.Comm) -> Carrier:
    """The carrier of a communicator of MPI, whichever Python object stands for its handle."""
    found = _by_handle.get(comm.handle)
    return _adopt(comm) if found is None else found


def _adopt(comm: MPI.Comm) -> Carrier:
    """Make the carrier of a communicator of MPI; a duplicate has the instruments of the original."""
    if comm == MPI.COMM_NULL:
        raise UsageError("a communicator is needed, got MPI.COMM_NULL: this rank is not a member of it")
    inherited = comm.Get_attr(_keyval())
    made = Carrier(comm, inherited if isinstance(inherited, Instruments) else None)
    comm.Set_attr(_keyval(), made)
    _by_handle[comm.handle] = made
    return made


@cache
def _keyval() -> int:
    """The MPI attribute key of carriers, made at first use: a launcher imports this module without initialising MPI."""
    return MPI.Comm.Create_keyval(copy_fn=_copied, delete_fn=_deleted)


def _copied(comm: MPI.Comm, keyval: int, value: Any) -> Any:
    """Give a duplicate the instruments of the original; its carrier is made by the first call of `of`."""
    return value.instruments if isinstance(value, Carrier) else value


def _deleted(comm: MPI.Comm, keyval: int, value: Any) -> None:
    if isinstance(value, Carrier):
        _by_handle.pop(comm.handle, None)
        value.free()
