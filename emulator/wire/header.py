"""The header of a physical message: envelope, emulated times, token.

A message of up to `PACKED` bytes is one physical message: header and payload in one buffer. A longer one is a
header alone, and its payload follows as a second physical message straight into the receiver's buffer.
"""

from __future__ import annotations

import struct

# context, tag, flags, first, service, payload bytes, token
HEADER = struct.Struct("<QiIddqq")
SIZE = HEADER.size
PACKED = 1 << 17

ACK = 8  # the flag of a header that is no message: a synchronous message was matched (see emulator.core.message)

# Physical tags: headers, and where the payload of a long message with some token goes.
HEADERS_TAG = 0
_PAYLOAD_TAGS = 1 << 20


def payload_tag(token: int) -> int:
    """Give the physical tag of the payload that belongs to a header."""
    return 1 + token % _PAYLOAD_TAGS
