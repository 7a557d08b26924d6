"""What travels in front of every message, and what the receiver makes of it.

A message of up to `PACKED` bytes is one physical message: header and payload in one buffer. A longer one is a
header alone, and its payload follows as a second physical message straight into the receiver's buffer.
"""

from __future__ import annotations

import struct
from typing import Any

# context, tag, flags, first, service, payload bytes, token
HEADER = struct.Struct("<QiIddqq")
SIZE = HEADER.size
PACKED = 1 << 17

# Flags.
LOOPBACK, FOLLOWS, SYNC, ACK = 1, 2, 4, 8
NOT_AT_ONCE = FOLLOWS | SYNC  # there is more to do than to copy the payload

# Physical tags: headers, and where the payload of a long message with some token goes.
HEADERS_TAG = 0
_PAYLOAD_TAGS = 1 << 20


def payload_tag(token: int) -> int:
    """Give the physical tag of the payload that belongs to a header."""
    return 1 + token % _PAYLOAD_TAGS


class Arrival:
    """A message that has physically arrived, at least its header.

    Attributes
    ----------
    context, source, tag, size : the envelope; `source` is a rank of the wire, `size` is in bytes
    first : emulated time at which its first byte reaches the receiver's card
    service : seconds for which it occupies the card
    due : emulated time at which its last byte has arrived; None until the card has served it
    data : the payload, None when it `follows`
    port : the card (or loopback) that serves it
    order : physical order of arrival, which keeps a source's messages in theirs
    """

    __slots__ = (
        "context", "data", "due", "first", "flags", "order", "port", "service", "size", "source", "tag", "token",
    )  # fmt: skip

    def __init__(
        self, context: int, source: int, tag: int, flags: int, first: float, service: float, size: int, token: int,
        data: memoryview | None,
    ) -> None:  # fmt: skip
        self.context, self.source, self.tag, self.flags = context, source, tag, flags
        self.first, self.service, self.size, self.token = first, service, size, token
        self.data = data
        self.due: float | None = None
        self.port: Any = None
        self.order = 0

    def __lt__(self, other: Arrival) -> bool:
        # Equal times, which symmetric ranks often have, come in the same order in every run.
        if self.first != other.first:
            return self.first < other.first
        return (self.source, self.order) < (other.source, other.order)
