"""The injector of one process: fires the planned faults and records those that have fired.

The program calls `at_step` as it begins a step; the named phases of algorithms and recovery arrive from the
communicator's carrier, of which the injector is an instrument. An event fires once in the life of a job, whichever
process holds the place by then: the status board keeps the account, because it outlives the victim. An executioner
ends or stops this process, at once or by a kernel timer; other kinds of faults have handlers.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from emulator.carrier import Instrument
from emulator.errors import UsageError
from faults.inject import host_failure
from faults.plan.model import Event
from faults.record.journal import Journal, NoJournal, What
from faults.record.status_board import NO_RANK, StatusBoard

Handler = Callable[[Event], None]


class Injector(Instrument):
    """Fires the faults planned for one process.

    Parameters
    ----------
    events : every event of the job, in the order of the status board's account
    member, place : this process' row on the board, and the rank by which faults address it now, which changes when a
        spare is called in
    """

    def __init__(
        self,
        events: Sequence[Event],
        board: StatusBoard,
        journal: Journal | NoJournal,
        member: int,
        place: int,
    ) -> None:
        self._board, self._journal, self._member = board, journal, member
        self._clock, self._executioner = board.platform.clock, board.platform.executioner
        self._events = list(enumerate(events))
        self.notice = next((event.kind.signal for event in events if event.kind.told), None)
        self._armed: set[int] = set()
        self._pending: list[tuple[float, int, Event]] = []
        self._slow: list[tuple[float, float]] = []
        self._lies: list[tuple[float, float | str]] = []
        self.spoils_messages = any(event.kind.spoils_messages for event in events)
        self._flips: list[Event] = []  # of the next messages
        self.handlers: dict[str, Handler] = {
            "slow": self._slow_down, "lie": self._start_falsifying, "flip": self._flip,
            "flip-message": self._flips.append,
        }  # fmt: skip
        self.state: Mapping[str, np.ndarray] = {}
        self.place, self.step = place, 0
        self.instruments: Sequence[Instrument] = ()
        self._draw = np.random.default_rng(member)

    def handle(self, handlers: Mapping[str, Handler], instead_of: Collection[str] = ()) -> None:
        """Register the handlers of fault kinds, by their names.

        Raises
        ------
        ValueError
            A kind has a handler already, and is not among those to be replaced.
        """
        if twice := (handlers.keys() & self.handlers.keys()) - set(instead_of):
            raise ValueError(f"a kind of fault has one handler, got a second one for {', '.join(sorted(twice))}")
        self.handlers |= handlers

    def begin(self, origin: float) -> None:
        """Set the timers of all faults planned by wall time, whose zero is `origin`.

        Raises
        ------
        UsageError
            A planned fault has no handler on this rank.
        """
        for _, event in self._events:
            if event.kind.signal is None and event.kind.name not in self.handlers:
                raise UsageError(
                    f"fault {event.text!r}: a rank of this job does not handle the kind {event.kind.name}: leave it out"
                )
        for index, event in self._open(lambda e: e.when.time_s is not None):
            self._fire(index, event, origin + (event.when.time_s or 0.0))

    def at_step(self, step: int) -> None:
        """Fire the faults planned for a step, before its work."""
        self.step = step
        self._deliver()
        for index, event in self._open(lambda e: e.when.step == step and e.when.phase is None):
            self._fire(index, event, self._clock.now() + event.when.offset_s)

    def phase(self, name: str, **info: object) -> None:
        """Fire the faults planned for a named point of an algorithm or a recovery."""
        self._deliver()
        step = info.get("step", self.step)
        for index, event in self._open(lambda e: e.when.phase == name and e.when.step in (None, step)):
            self._fire(index, event, self._clock.now() + event.when.offset_s)

    def at_recovery(self) -> None:
        """Fire the faults that wait for a recovery, now that this process has learned of a failure."""
        for index, event in self._open(lambda e: e.when.recovery):
            self._fire(index, event, self._clock.now() + event.when.offset_s)

    def at_emulated(self, seconds: float) -> None:
        """Fire the faults planned for emulated times up to `seconds`."""
        due = self._open(lambda e: e.when.emulated_s is not None and e.when.emulated_s <= seconds)
        for index, event in due:
            self._fire(index, event, self._clock.now())

    def _open(self, meant: Callable[[Event], bool]) -> list[tuple[int, Event]]:
        """The events for this process that `meant` selects and that have not fired at any rank."""
        if not self._events:
            return []
        now = self._clock.now()
        return [
            (index, event)
            for index, event in self._events
            if event.rank == self.place
            and meant(event)
            and index not in self._armed
            # An instant in the future stands there when its process was ended by something else first.
            and not 0 < self._board.fired[index] <= now
        ]

    def _fire(self, index: int, event: Event, at: float) -> None:
        """Fire an event at `at`: a signal by a kernel timer, others at this rank's next step or named point."""
        self._armed.add(index)
        if event.kind.signal is None and at > self._clock.now():
            self._pending.append((at, index, event))
        else:
            self._strike(index, event, at)

    def _deliver(self) -> None:
        """Fire the pending events that are due."""
        if not self._pending:
            return
        now = self._clock.now()
        due = [one for one in self._pending if one[0] <= now]
        self._pending = [one for one in self._pending if one[0] > now]
        for _, index, event in due:
            self._strike(index, event, now)

    def _strike(self, index: int, event: Event, at: float) -> None:
        if event.host is not None and event.when.time_s is None:  # by the clock all ranks have timers for one instant
            self._end_host(event, at)
            return
        self._board.fired[index] = at
        self._journal.write(
            What.FAULT, event=event.ident, text=event.text, kind=event.kind.name, due=at, place=self.place,
            waiting=bool(self._board.rows["place"][self._member] == NO_RANK),
        )  # fmt: skip
        for instrument in self.instruments:
            instrument.fault(event.kind.name, text=event.text, place=self.place, due=at)
        if event.kind.signal is not None:
            if event.duration_s is not None and event.kind.final:
                self._executioner.strike(signal.SIGKILL, at + event.duration_s)
            elif event.duration_s is not None:
                self._board.rows["wake_at"][self._member] = at + event.duration_s
            self._executioner.strike(event.kind.signal, at)
        else:
            self.handlers[event.kind.name](event)

    def _end_host(self, event: Event, at: float) -> None:
        """End all ranks of this host, and its daemon before them, if this rank is the first to come here."""
        if not host_failure.claim(self._board, event, self._journal.attempt):
            return  # another rank of the host is about to end this process
        if event.daemon:
            self._executioner.kill_daemon()
        doomed = host_failure.fellows(self._events, event)
        host_failure.strike(self._board, self._journal, doomed, at)

    def _flip(self, event: Event) -> None:
        """Flip a bit of the largest array, chosen by random numbers seeded with the event."""
        array = max(self.state.values(), key=lambda one: one.nbytes)
        draw = _draw_of(event)
        flat = array.reshape(-1).copy()
        flat.view(np.uint8)[draw.integers(array.nbytes)] ^= np.uint8(1 << draw.integers(8))
        array[...] = flat.reshape(array.shape)

    def spoil(self, message: memoryview) -> None:
        """Flip a bit of a message that has arrived, for each pending ``flip ... in message`` fault."""
        for event in self._flips:
            draw = _draw_of(event)
            message[int(draw.integers(len(message)))] ^= 1 << int(draw.integers(8))
        self._flips.clear()

    # -- slow ranks and false values -------------------------------------------------------------------
    def _slow_down(self, event: Event) -> None:
        until = self._clock.now() + (math.inf if event.duration_s is None else event.duration_s)
        self._slow.append((until, float(event.factor or 1.0)))

    def stretch(self, cpu_seconds: float) -> None:
        """Sleep after `cpu_seconds` of work for as long as the slowness in force adds to it."""
        now = self._clock.now()
        factor = max((f for until, f in self._slow if until > now), default=1.0)
        if factor > 1:
            self._clock.sleep(cpu_seconds * (factor - 1))

    def _start_falsifying(self, event: Event) -> None:
        until = self._clock.now() + (math.inf if event.duration_s is None else event.duration_s)
        self._lies.append((until, event.factor if event.factor is not None else -1.0))

    def falsified(self, values: np.ndarray) -> np.ndarray:
        """The array that this rank sends for `values`: the same, or a false copy while a `lie` fault lasts."""
        now = self._clock.now()
        how = next((h for until, h in self._lies if until > now), None)
        if how is None:
            return values
        if how == "nan":
            return np.full_like(values, np.nan)
        if how == "random":
            return (self._draw.standard_normal(values.shape) * (np.abs(values).max() + 1)).astype(values.dtype)
        return (values * float(how)).astype(values.dtype)


def _draw_of(event: Event) -> np.random.Generator:
    """A random generator seeded with the event."""
    return np.random.default_rng(list(f"{event.ident}/{event.text}".encode()))
