"""Packet loss, charged as the time that a reliable transport needs to repair it.

MPI never loses a message, so a lost packet costs time: the sender waits for its retransmission timeout (rto),
sends again, and if that is lost too waits `backoff` times longer. Packets that are lost in a row are repaired by
the same timeout; separate losses in one message add up. For long messages this is TCP without fast retransmit: an
upper bound on a good path, and close to Mathis' 1.2 MSS / (RTT sqrt(rate)) on a long one.

Losses come in bursts: with probability `correlation` a packet is lost if and only if the one before it was; otherwise
its loss is drawn anew. That is Gilbert's two-state chain with loss rate `rate` and lag-one correlation `correlation`.
The first packet of a message depends in the same way on that of the message before it on the same stream.

Sources: Gilbert, "Capacity of a burst-noise channel" (1960); RFC 6298 for timeout and backoff; Linux's TCP_RTO_MIN
(200 ms) and TCP_RTO_MAX (120 s).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emulator.network.draws import key as message_key
from emulator.network.draws import uniform

_LONGEST_TIMEOUT_S = 120.0
_MOST_TRIES = 15  # Linux gives a connection up after that many (tcp_retries2)
_FATE, _KEPT = 2, 3  # positions under a message's key; jitter has 0 and 1
_FOREVER = 1e18  # packets: more than any message has
_PACKETS = 4  # the first position for the packets after the first


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of packets of `mtu` bytes and its repair.

    Attributes
    ----------
    rate : share of packets lost, in [0, 1)
    correlation : probability that a packet is lost if and only if its predecessor was, in [0, 1)
    rto : first retransmission timeout in seconds
    backoff : each further timeout of the same packet is this many times longer, >= 1
    mtu : bytes of a message that one packet carries
    """

    rate: float
    correlation: float = 0.0
    rto: float = 0.2
    backoff: float = 2.0
    mtu: int = 1460

    def delay(self, stream: int, sequence: int, size: int) -> float:
        """Seconds that repairs add to message number `sequence`, of `size` bytes, on a stream."""
        if self.rate == 0:
            return 0.0
        packets = max(1, -(-size // self.mtu))
        lost = self.first_packet_lost(stream, sequence)
        if packets == 1 and not lost:
            return 0.0
        key = message_key(stream, sequence)
        done = 0.0
        position = _PACKETS
        total = 0.0
        # Alternate between runs of delivered and of lost packets: a handful of draws instead of one per packet.
        while True:
            if lost:
                seconds, position = self._repair(key, position)
                total += seconds
            leave = (1 - self.correlation) * (1 - self.rate if lost else self.rate)
            done += _run_length(uniform(key, position), leave)
            position += 1
            if done >= packets:
                return total
            lost = not lost

    def first_packet_lost(self, stream: int, sequence: int) -> bool:
        """Whether a message's first packet is lost: as the latest packet before it whose loss was drawn anew."""
        key = message_key(stream, sequence)
        while sequence > 0 and self.correlation and uniform(key, _KEPT) < self.correlation:
            sequence -= 1
            key = message_key(stream, sequence)
        return uniform(key, _FATE) < self.rate

    def _repair(self, key: int, position: int) -> tuple[float, int]:
        """Sum of the timeouts until a retransmission arrives, and the next unused position."""
        timeout = self.rto
        total = 0.0
        for _ in range(_MOST_TRIES):
            total += timeout
            arrived = uniform(key, position) >= self.rate
            position += 1
            if arrived:
                break
            timeout = max(self.rto, min(timeout * self.backoff, _LONGEST_TIMEOUT_S))
        return total, position


def _run_length(draw: float, leave: float) -> float:
    """Turn a uniform draw into the length (>= 1) of a run that ends after each packet with probability `leave`."""
    if leave >= 1:
        return 1
    if leave <= 0:  # a loss rate that is next to nothing
        return _FOREVER
    return 1 + math.floor(min(math.log(1 - draw) / math.log1p(-leave), _FOREVER))
