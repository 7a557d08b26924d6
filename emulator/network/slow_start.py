"""What makes a message slower than alpha + n beta by its size alone, or by what its connection has carried before.

Sources: Jacobson, "Congestion avoidance and control" (SIGCOMM 1988), for slow start; RFC 6928 for the initial window of
10 segments; RFC 2861 for its return after a pause; Kurose and Ross, "Computer Networking", for the stalls as a sum.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """The terms of messages above a size.

    Attributes
    ----------
    above : bytes; messages that are longer have these terms
    alpha, beta : seconds, and seconds per byte
    """

    above: int
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True)
class SlowStart:
    """A window of bytes that doubles with each round trip.

    Attributes
    ----------
    window : bytes that are sent before the first acknowledgement
    idle : seconds without a message after which the window is that one again
    """

    window: int = 14_480
    idle: float = 1.0

    def stalls(self, size: float, window: float, round_trip: float, beta: float) -> float:
        """Seconds for which a message of `size` bytes waits for acknowledgements, sent with some window (bytes)."""
        waited = 0.0
        while size > window and window * beta < round_trip:
            waited += round_trip - window * beta
            size, window = size - window, 2 * window
        return waited
