"""How a rank waits for a message or a send: it polls and sleeps, never beyond the emulated time of completion."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Hashable

from emulator.comm.send_receive import ReceiveRequest, SendRequest
from emulator.core import wall_clock as clocks
from emulator.core.engine import Engine
from emulator.core.operations import Operation
from emulator.wire.pacing import Pacer
from emulator.wire.wait_board import NO_TAG, NOTED_S
from emulator.wire.wakeups import Wakeups

_LOOKS = 100  # of about 1 us, where a rank that waits has a core to itself


class Waiting(Engine):
    """The waiting of an engine between real processes."""

    pacer: Pacer
    wakeups: Wakeups
    _pause: clocks.Backoff
    _nap: float
    _long_nap: float
    _taken_in: int
    _crowded: bool
    _woken: bool
    _mpi_yields: Callable[[bool], object]
    threaded = False  # several threads wait, and a message wakes only one of them

    def wait(self, operation: Operation) -> None:
        if operation.poll() or self._comes_soon(operation):
            return
        nap, board = self._longest_nap(operation), self.board
        self._pause.restart(nap, ramp=not self.pacer.pace)
        since = 0.0 if board is None else clocks.perf_counter()
        woken = self._woken and not self.threaded and not self.pacer.pace
        try:
            while True:
                if self._found(operation, woken):
                    return
                self.doze(operation, nap)
                if since and board is not None and clocks.perf_counter() - since > NOTED_S:
                    peer = operation.destination if isinstance(operation, SendRequest) else operation.source
                    tag = operation.tag if isinstance(operation, ReceiveRequest) else NO_TAG
                    board.waits(since, peer, tag)
                    since = 0.0
        finally:
            self.wakeups.marks[self.wakeups.place] = 0
            if board is not None and not since:
                board.goes_on()

    def _found(self, operation: Operation, woken: bool) -> bool:
        """Poll for messages once more before a sleep, and return whether `operation` is complete."""
        if not woken:
            self.progress()
            return operation.poll()
        self.wakeups.marks[self.wakeups.place] = 1  # before the look: what comes after it wakes this rank
        self._mpi_yields(False)
        try:
            self.progress()
        finally:
            self._mpi_yields(True)
        return operation.poll()

    def _comes_soon(self, operation: Operation) -> bool:
        """Poll for a message, without sleeping, for about as long as a sleep and a wake-up take."""
        for _ in range(0 if self.pacer.pace or self._crowded else _LOOKS):
            before = self._taken_in
            self.progress()
            if (self._taken_in > before or not operation.awaits_message) and operation.poll():
                return True
            os.sched_yield()
        return False

    def doze(self, operation: Operation, nap: float) -> None:
        """Sleep before the next poll; other threads of this rank may make calls meanwhile."""
        if self.pacer.pace:
            self._doze_paced(operation, nap)
        elif self.threaded or not self._woken:
            self._pause()
        elif operation.awaits_message and not self.payloads_under_way():
            self.wakeups.sleep(self._long_nap)
        else:
            self.wakeups.sleep(self._pause.next())

    def _doze_paced(self, operation: Operation, nap: float) -> None:
        """Sleep before the next poll of a paced run, where time, not a sender, ends the wait."""
        hint, soonest = operation.hint, operation.soonest
        if hint is None:
            self._pause(None if soonest is None else self.pacer.wall(soonest))
        else:
            # In slices, because others may need this rank to take in their long messages.
            self._sleep(hint, nap)

    @abstractmethod
    def payloads_under_way(self) -> bool:
        """Whether MPI still sends a message of this rank, for which it may need this rank's calls."""

    def _longest_nap(self, operation: Operation) -> float:
        if not self.pacer.pace:
            return self._nap
        source = operation.source
        return self.pacer.nap(self.pacer.latency if source < 0 else self.routes[source].back)

    def _sleep(self, hint: float, nap: float) -> None:
        """Sleep until emulated time `hint` or for one slice, as others may need this rank to receive long messages."""
        deadline = self.pacer.wall(hint)
        slice_end = clocks.perf_counter() + max(1e-3, nap)
        if deadline <= slice_end:
            clocks.sleep_until(deadline, self.pacer.spin)
        else:
            clocks.sleep_until(slice_end)

    def idle(self, polled: Hashable) -> None:
        self.idling = True
        if self._crowded:
            self.wakeups.pay()
            os.sched_yield()
