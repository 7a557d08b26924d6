"""What a message takes with a protocol (`emulator.network.protocol`): rendezvous and overheads, in seconds.

LogGP: Alexandrov, Ionescu, Schauser and Scheiman (SPAA 1995). A message above the eager limit asks, is answered when
its receive has matched, and only then sends its bytes: 2 alpha more, and from the receive on where that comes late.
`protocol` is an `emulator.network.protocol.Protocol`.
"""

from __future__ import annotations

from typing import Any


def message(n: int, alpha: float, beta: float, protocol: Any, posted: float = 0.0) -> float:
    """When a message of n bytes, sent at 0, is received by a receive that was posted at `posted`."""
    asked = protocol.send_overhead + protocol.send_byte * n + alpha
    busy = protocol.receive_overhead + protocol.receive_byte * n
    if protocol.rendezvous(n):
        return max(asked, posted) + 2 * alpha + n * beta + busy
    return max(asked + n * beta, posted) + busy


def sent(n: int, alpha: float, beta: float, protocol: Any, posted: float = 0.0) -> float:
    """When the send of such a message is complete, where cards serve messages whole: its last byte has left."""
    begun = protocol.send_overhead + protocol.send_byte * n
    if protocol.rendezvous(n):
        return max(begun + alpha, posted) + alpha + n * beta
    return begun + n * beta


def chain(hops: int, n: int, alpha: float, beta: float, protocol: Any) -> float:
    """When a message that each rank receives whole and hands on has passed so many hops; receives are posted at 0."""
    return hops * message(n, alpha, beta, protocol)
