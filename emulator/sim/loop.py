"""The event loop of a simulation: ranks are greenlets, and the rank with the earliest time runs.

A rank runs until it waits. It then names the time at which it wants to go on, or leaves that to the rank that sends it
something, and the loop switches to the rank whose time is least; equal times go in the order of the ranks. Nothing
depends on the machine, so a simulation gives the same result in every run.

Ranks that do the same go on at the same instants. So the loop keeps the times in a heap, and the turns of each in a
list that is sorted when its time comes: a thousand ranks that go on together cost one operation on the heap.
"""

from __future__ import annotations

import math
import sys
from bisect import insort
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

_FIRST, _LAST = -1, sys.maxsize  # before and after all ranks


class Sleeper:
    """A rank as the loop sees it.

    Attributes
    ----------
    rank : orders ranks that want to go on at the same time
    sleeping : the rank waits
    since, wake_at : simulated times at which it began to wait, and at which it will go on; infinity if another rank
        must wake it
    killed : it never runs again
    held : its turn is not simply to run: it is stopped, or a call of the loop itself
    """

    rank: int
    killed = held = False

    def __init__(self) -> None:
        self.sleeping = False
        self.since, self.wake_at = 0.0, 0.0
        self.entry = 0  # number of its latest turn, the only one that counts; it goes down, as lists end with the next
        self.thread: greenlet | None = None

    def turn(self) -> None:
        """Called when its turn comes while it is `held`."""

    def waits_on(self, now: float) -> float | None:
        """The time until which it would only wait again if it ran now; None: it runs."""
        return None


class _Call(Sleeper):
    """A function to call at a simulated time, scheduled like a rank."""

    held = True

    def __init__(self, rank: int, number: int, act: Callable[[], None], background: bool) -> None:
        super().__init__()
        self.rank, self.entry = rank, -number
        self.background, self.turn = background, act  # type: ignore[method-assign]


_Turn = tuple[int, int, Sleeper]
"""A rank's turn at some time: its rank and entry, negative so that the last one of a sorted list is the next."""


class Loop:
    """Runs ranks in the order of their times.

    Attributes
    ----------
    now : simulated time in seconds of the rank that is running
    running : that rank
    pending : calls that are still to be made, without those in the background
    calling : a function of `call_at` is being called, which no rank can wait in
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.running: Sleeper | None = None
        self.calling = False
        self._calls = self.pending = 0
        self._sleepers: Sequence[Sleeper] = ()
        self._times: list[float] = []  # a heap of the keys of `_turns`
        self._turns: dict[float, list[_Turn]] = {}
        self._instant = -math.inf  # the time of the turns below, which are sorted
        self._next: list[_Turn] = []
        self._hub: Any = None
        self._to_start: Sleeper | None = None
        self._failure: BaseException | None = None
        self._over = False

    def run(self, sleepers: Sequence[Sleeper], bodies: Sequence[Callable[[], None]]) -> list[Sleeper]:
        """Run a body for each rank to its end; returns the ranks that wait for ever.

        Raises
        ------
        BaseException
            What the first failing rank raised, with a note that names the rank.
        """
        self._hub, self._sleepers = getcurrent(), sleepers
        for sleeper, body in zip(sleepers, bodies, strict=True):
            self.start(sleeper, body, 0.0)
        while self._failure is None:
            # Threads are started here and nowhere else: a thread inherits the recursion depth of its starter.
            following, self._to_start = self._to_start or self._following(), None
            if following is None:
                break
            following.thread.switch()  # type: ignore[union-attr]
        left = [sleeper for sleeper in sleepers if not sleeper.thread.dead]  # type: ignore[union-attr]
        if self._failure is not None:
            self.close(left)
            raise self._failure
        self.close([sleeper for sleeper in left if sleeper.killed])
        return [sleeper for sleeper in left if not sleeper.killed]

    def start(self, sleeper: Sleeper, body: Callable[[], None], time: float) -> None:
        """Start a rank at simulated time `time`; one that `run` was not given is in its list of ranks already."""
        sleeper.thread = greenlet(self._guarded(sleeper, body), self._hub)
        self._schedule(sleeper, time)

    def interrupt(self, *signalled: Any) -> None:
        """Handle Ctrl-C: end all ranks, so that no ``finally`` block of the running one waits for the others."""
        self._failure, self._over = KeyboardInterrupt(), True
        raise self._failure

    def close(self, stuck: Sequence[Sleeper]) -> None:
        """End waiting ranks: their ``finally`` blocks run, and a wait inside one ends at once."""
        self._over = True
        for sleeper in stuck:
            if sleeper.thread is not None and not sleeper.thread.dead:
                self.running = sleeper
                sleeper.thread.throw(GreenletExit)

    def _guarded(self, sleeper: Sleeper, body: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                body()
            except GreenletExit:
                pass
            except BaseException as error:
                if self._failure is None and not self._over:
                    error.add_note(f"raised on simulated rank {sleeper.rank} at {self.now:.9g} s")
                    self._failure = error

        return guarded

    # -- called by the rank that is running

    def block(self, sleeper: Sleeper, until: float = math.inf) -> None:
        """Wait until simulated time `until`, or until another rank calls `wake`."""
        if self._over:
            raise GreenletExit
        sleeper.since = now = self.now
        sleeper.sleeping = True
        if until < math.inf:
            self._schedule(sleeper, until if until > now else now)
        else:
            sleeper.entry -= 1
            sleeper.wake_at = until
        following = self._following()
        if following is not sleeper:
            if following is None or not following.thread:  # a thread is false until it has been started
                self._leave(following)
            else:
                following.thread.switch()
        sleeper.sleeping = False
        if self._over:
            raise GreenletExit

    def _leave(self, following: Sleeper | None) -> None:
        """Let `run` run another rank (None: none can run); returns at this one's next turn."""
        self._to_start = following
        self._hub.switch()

    def call_at(self, time: float, act: Callable[[], None], background: bool = False) -> Sleeper:
        """Call a function at simulated time `time`, or next if that has passed; it must not wait.

        Parameters
        ----------
        background : it is not called if all ranks wait for ever by then

        Returns
        -------
        The call, for `cancel`.
        """
        self._calls += 1
        self.pending += not background
        call = _Call(_FIRST, self._calls, act, background)
        self._schedule(call, max(time, self.now))
        return call

    def cancel(self, call: Any) -> None:
        """Drop a call of `call_at` that was not made yet."""
        if call.entry:
            call.entry = 0
            self.pending -= not call.background

    def call_after(self, time: float, by: int, act: Callable[[], None]) -> None:
        """Call a function at simulated time `time`, after the ranks that run then; several in the order of `by`."""
        self.pending += 1
        self._schedule(_Call(_LAST, by, act, background=False), time)

    def call_last(self, act: Callable[[], None]) -> None:
        """Call a function after everything that runs at this instant."""
        self._calls += 1
        self.call_after(self.now, _LAST + self._calls, act)

    def stop(self, error: BaseException) -> None:
        """End the simulation: `run` closes all ranks and raises the error."""
        if self._failure is None:
            self._failure = error

    def kill(self, sleeper: Sleeper) -> None:
        """Never run a rank again. It is not unwound while others run, because its ``finally`` blocks must not run.

        A rank that kills itself does not return from here.
        """
        sleeper.killed, sleeper.sleeping = True, False
        sleeper.entry -= 1
        if sleeper is self.running:
            if not self.calling:
                self._leave(self._following())
            raise GreenletExit

    def wake(self, sleeper: Sleeper, time: float) -> None:
        """Let a waiting rank run at simulated time `time`, or at once if that has passed, unless it does so earlier."""
        time = max(time, sleeper.since)
        if sleeper.sleeping and time < sleeper.wake_at:
            self._schedule(sleeper, time)

    def go_on(self, sleeper: Sleeper) -> None:
        """Let a rank run that was held when its turn came."""
        self._schedule(sleeper, self.now)

    def _schedule(self, sleeper: Sleeper, time: float) -> None:
        sleeper.wake_at = time
        entry = sleeper.entry = sleeper.entry - 1
        turn = (-sleeper.rank, entry, sleeper)
        if time == self._instant:
            insort(self._next, turn)
        elif time in self._turns:
            self._turns[time].append(turn)
        else:
            self._turns[time] = [turn]
            heappush(self._times, time)

    def _following(self) -> Sleeper | None:
        """Remove and return the rank with the earliest time, which becomes the present; None if no rank can run."""
        times = self._times
        while True:
            turns, instant = self._next, self._instant
            if not turns or (times and times[0] < instant):
                if not times:
                    return None
                if turns:  # a rank was let go on at a time of its own, before now
                    self._turns[instant] = turns
                    heappush(times, instant)
                instant = self._instant = heappop(times)
                turns = self._next = self._turns.pop(instant)
                turns.sort()
            _, entry, sleeper = turns.pop()
            if sleeper.entry != entry:
                continue
            if sleeper.held:
                self._take_turn(sleeper, instant)
                if self._failure is not None:
                    return None
                continue
            self.now = instant
            until = sleeper.waits_on(instant) if sleeper.sleeping else None
            if until is None:
                self.running = sleeper
                return sleeper
            sleeper.since = instant  # spares two switches
            self._schedule(sleeper, until)

    def _take_turn(self, sleeper: Sleeper, time: float) -> None:
        """Handle the turn of what is held: make a call, or note a stopped rank's missed turn."""
        if isinstance(sleeper, _Call):
            sleeper.entry = 0
            if sleeper.background and self._idle():
                return
            self.pending -= not sleeper.background
        self.now = time
        self.running, self.calling = None, True
        try:
            sleeper.turn()
        except GreenletExit:  # it has killed the rank in whose name it acted
            pass
        except BaseException as error:
            self.stop(error)
        self.calling = False

    def _idle(self) -> bool:
        """Whether all ranks have ended, are dead or stopped, or wait for something that no time brings."""
        return not self.pending and all(
            one.killed or one.held or one.thread.dead or (one.sleeping and one.wake_at == math.inf)  # type: ignore[union-attr]
            for one in self._sleepers
        )
