"""How a rank waits for a message or a send: it polls and sleeps, never beyond the emulated time of completion."""

from __future__ import annotations

import os
from collections.abc import Hashable

from emulator.comm.send_receive import ReceiveRequest, SendRequest
from emulator.core import wall_clock as clocks
from emulator.core.engine import Engine
from emulator.core.operations import Operation
from emulator.wire.pacing import Pacer
from emulator.wire.wait_board import NO_TAG, NOTED_S


class Waiting(Engine):
    """The waiting of the engine between real processes."""

    pacer: Pacer
    _pause: clocks.Backoff
    _nap: float
    _crowded: bool

    def wait(self, operation: Operation) -> None:
        if operation.poll():
            return
        nap, board = self._longest_nap(operation), self.board
        self._pause.restart(nap, ramp=not self.pacer.pace)
        since = 0.0 if board is None else clocks.perf_counter()
        try:
            while True:
                self.progress()
                if operation.poll():
                    return
                self.doze(operation, nap)
                if since and board is not None and clocks.perf_counter() - since > NOTED_S:
                    peer = operation.destination if isinstance(operation, SendRequest) else operation.source
                    tag = operation.tag if isinstance(operation, ReceiveRequest) else NO_TAG
                    board.waits(since, peer, tag)
                    since = 0.0
        finally:
            if board is not None and not since:
                board.goes_on()

    def doze(self, operation: Operation, nap: float) -> None:
        """Sleep before the next poll; other threads of this rank may make calls meanwhile."""
        hint = operation.hint
        if not self.pacer.pace:
            self._pause()
        elif hint is None:
            soonest = operation.soonest
            self._pause(None if soonest is None else self.pacer.wall(soonest))
        else:
            # In slices, because others may need this rank to take in their long messages.
            self._sleep(hint, nap)

    def _longest_nap(self, operation: Operation) -> float:
        if not self.pacer.pace:
            return self._nap
        source = operation.source
        return self.pacer.nap(self.pacer.latency if source < 0 else self.routes[source].back)

    def _sleep(self, hint: float, nap: float) -> None:
        """Sleep until emulated time `hint`, in slices: others may need this rank to take in their long messages."""
        deadline = self.pacer.wall(hint)
        slice_end = clocks.perf_counter() + max(1e-3, nap)
        if deadline <= slice_end:
            clocks.sleep_until(deadline, self.pacer.spin)
        else:
            clocks.sleep_until(slice_end)

    def idle(self, polled: Hashable) -> None:
        self.idling = True
        if self._crowded:
            os.sched_yield()
