"""A connection between two ranks: a message's extra time depends on its size and on earlier messages."""

from __future__ import annotations

from emulator.core.clock import Clock
from emulator.network import Path
from emulator.network.model import NetworkSpec


class Connection:
    """Stands in a route in place of its path: gives each message's delay, and remembers its last use.

    Parameters
    ----------
    path, back : the way, and the latency of the opposite one
    clock : of the rank that uses it
    """

    def __init__(self, spec: NetworkSpec, path: Path, back: float, clock: Clock) -> None:
        self.jitter, self.loss = path.jitter, path.loss
        self._spec, self._path, self._clock = spec, path, clock
        self._round_trip = path.alpha + back
        self._window, self._used = 0.0, -1e300

    def delay(self, stream: int, sequence: int, size: int) -> float:
        """Seconds by which message number `sequence` of a stream is later than by alpha + n beta."""
        return self._path.delay(stream, sequence, size) + self.begin(self._clock.t, size)

    def begin(self, time: float, size: int) -> float:
        """Seconds that a message's size and the window at a time add; the message is sent."""
        spec, extra = self._spec, 0.0
        for segment in spec.segments:
            if size > segment.above:
                extra = segment.alpha - spec.alpha + size * max(0.0, segment.beta - self._path.beta)
        if spec.slow_start is not None and size:
            self._wake(time)
            extra += spec.slow_start.stalls(size, self._window, self._round_trip, self._path.beta)
            self.saw(time + extra, size)
        return extra

    def saw(self, time: float, size: int) -> None:
        """Note a message that the connection carries at a time, which opens its window by its bytes."""
        self._wake(time)
        self._used = max(self._used, time)
        self._window += size

    def _wake(self, time: float) -> None:
        """Restart from the initial window after a pause."""
        slow = self._spec.slow_start
        if slow is not None and time - self._used > slow.idle:
            self._window = slow.window
