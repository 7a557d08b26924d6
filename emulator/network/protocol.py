"""The MPI library's protocol for a message: eager or rendezvous, and its overheads.

Sources: Jacobson, "Congestion avoidance and control" (SIGCOMM 1988), for slow start; RFC 6928 for the initial window of
10 segments; RFC 2861 for its return after a pause; Kurose and Ross, "Computer Networking", for the stalls as a sum; the
LogGP model of Alexandrov, Ionescu, Schauser and Scheiman (SPAA 1995) for o and O; Open MPI's documentation for
btl_tcp_eager_limit (64 KiB) and btl_sm_eager_limit (4 KiB), which count a header; UCX's rendezvous threshold depends on
the card, 8 KiB is a usual one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Protocol:
    """The protocol of messages between hosts.

    Attributes
    ----------
    eager_limit : bytes of the longest message that is sent at once; a longer one asks its receiver first, which answers
        when a receive has matched. None: all are sent at once
    send_overhead, receive_overhead : seconds for which a message keeps its sender's and its receiver's rank busy
    send_byte, receive_byte : the same for each byte of it
    """

    eager_limit: int | None = None
    send_overhead: float = 0.0
    receive_overhead: float = 0.0
    send_byte: float = 0.0
    receive_byte: float = 0.0

    def rendezvous(self, size: int) -> bool:
        """Whether a message of so many bytes waits for its receive."""
        return self.eager_limit is not None and size > self.eager_limit


@dataclass(frozen=True, slots=True)
class Segment:
    """The terms of messages above a size, in place of the link's.

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


PRESETS: dict[str, dict[str, Any]] = {
    "openmpi-tcp": {"eager_limit": (1 << 16) - 64},
    "openmpi-sm": {"eager_limit": (1 << 12) - 64},
    "infiniband": {"eager_limit": 1 << 13},
}
"""Fields by name. TCP shares cards packet by packet as well, unless the file says otherwise."""

PACKETS = ("openmpi-tcp",)
