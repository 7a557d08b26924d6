"""A message as its receiver knows it, and the wildcards of a receive."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.core.cards import Port

ANY_SOURCE = ANY_TAG = -1
"""Not MPI's constants, whose values differ between MPI libraries; `emulator.comm` translates."""

# Flags: between two ranks of one host; the payload follows separately; the sender waits for the match.
LOOPBACK, FOLLOWS, SYNC = 1, 2, 4
NOT_AT_ONCE = FOLLOWS | SYNC  # there is more to do than to copy the payload


class Arrival:
    """A message of which at least the envelope has physically arrived.

    Attributes
    ----------
    context, source, tag, size : the envelope; `source` is a rank of the engine, `size` is in bytes
    first : emulated time at which its first byte reaches the receiver's card
    service : seconds for which it occupies the card
    due : emulated time at which its last byte has arrived; None until the card has served it
    token : number by which its sender knows it
    data : the payload, None when it `follows`
    port : the card (or loopback) that serves it
    order : physical order of arrival, which keeps a source's messages in theirs
    unexpected, early : it waits for a receive that it matches; it came before its emulated time
    """

    __slots__ = (
        "context", "data", "due", "early", "first", "flags", "order", "port", "service", "size", "source", "tag",
        "token", "unexpected",
    )  # fmt: skip

    port: Port
    order: int

    def __init__(
        self, context: int, source: int, tag: int, flags: int, first: float, service: float, size: int, token: int,
        data: memoryview | None,
    ) -> None:  # fmt: skip
        self.context, self.source, self.tag, self.flags = context, source, tag, flags
        self.first, self.service, self.size, self.token = first, service, size, token
        self.data = data
        self.due: float | None = None
        self.unexpected = self.early = False
