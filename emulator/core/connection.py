"""A connection between two ranks: a message's extra time depends on its size and on earlier messages."""

from __future__ import annotations

from emulator.core.clock import Clock
from emulator.network import Path
from emulator.network.model import Plan


class Connection:
    """Stands in a route in place of its path: gives each message's delay, and remembers its last use.

    Parameters
    ----------
    path, back : the way, and the latency of the opposite one
    clock : of the rank that uses it
    """

    def __init__(self, plan: Plan, path: Path, back: float, clock: Clock) -> None:
        self.jitter, self.loss = path.jitter, path.loss
        self._plan, self._path, self._clock = plan, path, clock
        self._round_trip = path.alpha + back
        self._window, self._used = 0.0, -1e300

    def delay(self, stream: int, sequence: int, size: int) -> float:
        """Seconds by which message number `sequence` of a stream is later than by alpha + n beta."""
        return self._path.delay(stream, sequence, size) + self.begin(self._clock.t, size)

    def begin(self, time: float, size: int) -> float:
        """Seconds that a message's size and the window at a time add; the message is sent."""
        plan, extra = self._plan, 0.0
        for segment in plan.segments:
            if size > segment.above:
                extra = segment.alpha - plan.alpha + size * max(0.0, segment.beta - self._path.beta)
        if plan.slow_start is not None and size:
            self._wake(time)
            extra += plan.slow_start.stalls(size, self._window, self._round_trip, self._path.beta)
            self.saw(time + extra, size)
        return extra

    def saw(self, time: float, size: int) -> None:
        """Note a message that the connection carries at a time, which opens its window by its bytes."""
        self._wake(time)
        self._used = max(self._used, time)
        self._window += size

    def _wake(self, time: float) -> None:
        """Restart from the initial window after a pause."""
        slow = self._plan.slow_start
        if slow is not None and time - self._used > slow.idle:
            self._window = slow.window
