"""How a rank waits: asleep most of the time, and never beyond the moment at which it can go on."""

from __future__ import annotations

import os
from typing import Any

from mpi4py import MPI

from emulator.core import wall_clock as clocks
from emulator.core.cards import Route
from emulator.wire.pacing import Pacer

_ANY = MPI.ANY_SOURCE


class Waiting:
    """The waiting of an engine.

    Attributes
    ----------
    idling : the last test found nothing, so that the program sees time pass if it looks at the clock
    """

    clock: clocks.Clock
    pacer: Pacer
    routes: list[Route]
    idling: bool
    _pause: clocks.Backoff
    _nap: float
    _crowded: bool

    def progress(self) -> None:
        """Take in what has physically arrived."""
        raise NotImplementedError

    def wait(self, operation: Any) -> None:
        """Make progress until ``operation.poll()``, asleep most of the time.

        `operation.hint` is the emulated time before which another poll cannot succeed, None when that is unknown; it
        may then have a `soonest`, at which a poll will succeed if none has before.
        """
        if operation.poll():
            return
        pacer, pause = self.pacer, self._pause
        nap = self._longest_nap(operation)
        pause.restart(nap, ramp=not pacer.pace)
        while True:
            self.progress()
            if operation.poll():
                return
            hint = operation.hint
            if not pacer.pace:
                pause()
            elif hint is None:
                soonest = getattr(operation, "soonest", None)
                pause(None if soonest is None else pacer.wall(soonest))
            else:
                # In slices, because others may need this rank to take in their long messages.
                self._sleep(hint, nap)

    def _longest_nap(self, operation: Any) -> float:
        if not self.pacer.pace:
            return self._nap
        source = getattr(operation, "source", _ANY)
        return self.pacer.nap(self.pacer.latency if source < 0 else self.routes[source].back)

    def _sleep(self, hint: float, nap: float) -> None:
        """Sleep until emulated time `hint`, in slices: others may need this rank to take in their long messages."""
        deadline = self.pacer.wall(hint)
        slice_end = clocks.perf_counter() + max(1e-3, nap)
        if deadline <= slice_end:
            clocks.sleep_until(deadline, self.pacer.spin)
        else:
            clocks.sleep_until(slice_end)

    def hold(self, t: float) -> None:
        """Hold this rank until emulated time `t`, if paced."""
        if self.pacer.pace:
            self.pacer.hold(t)

    def idle(self) -> None:
        """Note a test that found nothing: time passes for a program that polls, as it sees if it looks at the clock."""
        self.idling = True
        if self._crowded:
            os.sched_yield()

    def now(self) -> float:
        """Give the emulated time of this rank, after a call has charged its compute."""
        clock = self.clock
        if self.idling and self.pacer.pace:
            self.idling = False
            clock.t = max(clock.t, self.pacer.emulated())
        return clock.t
