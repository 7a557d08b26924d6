"""Message format: one buffer with a fixed header, then values, then keys (an order in which all are aligned).

    request   | header | values | keys (int32) |      push, pull, tick, leave, flush
    reply     | header | values |                     to a pull, a flush or a leave
    drop      | header |                              from the head of a chain down: the worker has died
    away      | header |                              the worker waits for other workers before its next request

Keys travel as a range (two numbers in the header: every key of the shard in [first, last)), as a list, or, when
this worker has sent the same list to this shard lately, as its 8-byte signature alone. Sender and receiver keep
the same lists because they see the same messages in the same order (MPI does not let messages of a pair overtake
each other), so that a signature that was sent is always known.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

PUSH, PULL, TICK, LEAVE, FLUSH, REPLY, DROP, AWAY = range(8)
RANGE, LIST, CACHED = range(3)
# Flags of a push: it closes the worker's iteration; it is a pull of the same rows as well. HALF: values are float16.
CLOSES, ASKS, HALF = 1, 2, 4

_LAYOUT = struct.Struct("<BBBxiiiqqqqq")
HEADER_BYTES = _LAYOUT.size
KEY = np.dtype(np.int32)


class Piece(NamedTuple):
    """The part of a request for one shard.

    Attributes
    ----------
    shard, rows : its number, and how many rows
    where : where these rows lie among the (distinct, sorted) rows of the request
    keys : the list as it travels; None for a range
    first, last : the range; or the list's length and signature
    """

    shard: int
    rows: int
    where: slice | NDArray[np.int64]
    keys: Array | None
    first: int
    last: int


class Header(NamedTuple):
    """The fields of a message other than keys and values.

    Attributes
    ----------
    kind, keys, flags : PUSH...; RANGE, LIST or CACHED; CLOSES, ASKS and HALF
    shard, table, worker : indices and the rank of the worker that asked; in a leave and its reply, `table` is the
        server that the worker wants to answer
    clock : the worker's; in a reply, the shard's slowest
    sequence : number of this push, tick or leave of the worker to the shard; in a pull and its reply, of the pull
    seen : in a pull, the last push that the reply must include; in a reply, the last one that is in all replicas; in a
        push that is a pull as well, the number of the pull
    first, last : the key range; or the number of keys and the signature of the list; in a reply, see the properties
        below
    """

    kind: int
    keys: int = RANGE
    flags: int = 0
    shard: int = 0
    table: int = 0
    worker: int = 0
    clock: int = 0
    sequence: int = 0
    seen: int = 0
    first: int = 0
    last: int = 0

    @property
    def not_finite(self) -> int:
        """Number of pushes with NaN or infinity; stored where a request has its first key."""
        return self.first

    @property
    def answers(self) -> int:
        """The kind of the request that a reply answers; stored where a request has its last key."""
        return self.last


def pack(header: Header, *parts: Array) -> Bytes:
    """Pack one message."""
    message = np.empty(HEADER_BYTES + sum(part.nbytes for part in parts), np.uint8)
    _LAYOUT.pack_into(message.data, 0, *header)
    at = HEADER_BYTES
    for part in parts:
        message[at : at + part.nbytes] = part.reshape(-1).view(np.uint8)
        at += part.nbytes
    return message


def pack_request(header: Header, piece: Piece | None, values: Array, known: bool = False) -> Bytes:
    """Pack a request for the keys of `piece`: its range, its list, or only the list's signature if `known`."""
    if piece is None:
        return pack(header, values)
    keys = RANGE if piece.keys is None else CACHED if known else LIST
    header = header._replace(keys=keys, first=piece.first, last=piece.last)
    return pack(header, values, piece.keys) if keys == LIST and piece.keys is not None else pack(header, values)


def unpack(message: Bytes) -> tuple[Header, Bytes]:
    """Split a message into its header and the rest."""
    return Header._make(_LAYOUT.unpack_from(message.data)), message[HEADER_BYTES:]


def signature(keys: Array) -> int:
    """64 bits that identify a list of keys."""
    return int.from_bytes(blake2b(keys.tobytes(), digest_size=8).digest(), "little", signed=True)


class KeyCache:
    """Key lists by signature, equal at both ends.

    Parameters
    ----------
    size : lists kept; the least recently used one is dropped
    """

    def __init__(self, size: int = 64) -> None:
        self.size = size
        self._lists: OrderedDict[Any, Any] = OrderedDict()

    def __contains__(self, mark: Any) -> bool:
        return mark in self._lists

    def add(self, mark: Any, keys: Any) -> bool:
        """Add a list, or use it again; returns whether it was known already."""
        known = mark in self._lists
        self._lists[mark] = self._lists.get(mark, keys)
        self._lists.move_to_end(mark)
        if len(self._lists) > self.size:
            self._lists.popitem(last=False)
        return known

    def get(self, mark: Any) -> Any:
        """Look up a list that is known to be cached here."""
        self._lists.move_to_end(mark)
        return self._lists[mark]
