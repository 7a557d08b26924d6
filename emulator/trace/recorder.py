"""Record a rank's events in a memory-mapped file: rows of 72 bytes, the oldest overwritten first.

    header   magic, when the recording began and ended (NaN until then), and a description in JSON
    rows     serial  kind  why  peer  tag  time  size  token  four more times

A row is written straight into the mapping, so the rows of a rank that is killed are in its file up to its death.
"""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emulator.core.instruments import Instrument, Wait
from emulator.errors import UsageError

SENT, RECEIVED, WAITED, PHASE, FAULT = 1, 2, 3, 4, 5
SENDING = 1

ROW = np.dtype(
    [
        ("serial", "u4"),  # counts the rows of the rank from 1; 0 where none has been written
        ("kind", "i2"),
        ("why", "i2"),  # of a wait; of a send SENDING if it waited from `asked` until `end`; of a phase of recovery 1
        ("peer", "i4"),  # the other rank; of a phase its step
        ("tag", "i4"),
        ("t", "f8"),  # sent: asked for; received and waited: since; phase and fault: at
        ("size", "i8"),
        ("token", "i8"),
        ("u", "f8", 4),  # sent: start, end, first, queued; received: due, first, service; waited: until
    ]
)
"""A row. Of a phase or a fault, the text stands where size, token and further times are."""
TEXT_AT = 24
HEADER = 1024
MAGIC = b"timelin1"
_BEGAN = struct.Struct("<8sdd")
_EVENT = struct.Struct("<Ihhiidqqdddd").pack_into
_WHY = struct.Struct("<h").pack_into
_WHY_AT = 6  # of a row
_LENGTH = ROW.itemsize
_NAMED = struct.Struct(f"<Ihhiid{ROW.itemsize - TEXT_AT}s").pack_into

TRACES = "trace"
"""The folder of a run's traces, one file for each rank."""
ROWS_OF_A_RANK, ROWS_OF_A_JOB, LEAST_ROWS = 20_000, 400_000, 200


def default_limit(ranks: int) -> int:
    """Default number of events kept per rank: some 30 MB for a whole job."""
    return max(LEAST_ROWS, min(ROWS_OF_A_RANK, ROWS_OF_A_JOB // ranks))


class Recorder(Instrument):
    """Records the events of one rank, as an instrument of its communicator.

    Parameters
    ----------
    path : the file; its folder exists
    rank, ranks : this rank and how many there are
    now : the clock of phases and faults, in seconds
    limit : rows that are kept, the last ones
    reached : the same clock, read without charging what the rank has computed since its last call; None: `now`
    about : what the file says of the run besides: ``clock`` ("wall", "emulated" or "simulated"), ``network``

    Raises
    ------
    UsageError
        The file cannot be made, or the disk has no room for it.
    """

    def __init__(
        self, path: Path, rank: int, ranks: int, now: Callable[[], float], limit: int,
        reached: Callable[[], float] | None = None, **about: Any,
    ) -> None:  # fmt: skip
        self._path, self._now, self.rank = path, now, rank
        self._serial, self._place, self._end = 0, HEADER, HEADER + limit * ROW.itemsize
        self._map = _mapped(path, self._end)
        text = json.dumps({"rank": rank, "ranks": ranks, "limit": limit, **about}).encode()
        self._map[_BEGAN.size : _BEGAN.size + len(text)] = text
        self._reached = reached or now
        self._began = self._reached()
        _BEGAN.pack_into(self._map, 0, MAGIC, self._began, math.nan)
        self._open = True
        self._after_sent, self._asked, self._leaving = 0, math.nan, math.nan

    def sent(
        self, source: int, destination: int, tag: int, size: int, start: float, end: float, asked: float, first: float,
        queued: float, token: int,
    ) -> None:  # fmt: skip
        if self._open:
            place = self._place
            self._serial = serial = self._serial + 1
            _EVENT(self._map, place, serial, SENT, 0, destination, tag, asked, size, token, start, end, first, queued)
            place += _LENGTH
            self._place = self._after_sent = place if place < self._end else HEADER
            self._asked, self._leaving = asked, end

    def completed(
        self, source: int, destination: int, tag: int, size: int, waited: float, due: float, first: float,
        service: float, token: int,
    ) -> None:  # fmt: skip
        if self._open:
            place = self._place
            self._serial = serial = self._serial + 1
            _EVENT(self._map, place, serial, RECEIVED, 0, source, tag, waited, size, token, due, first, service, 0.0)
            place += _LENGTH
            self._place = place if place < self._end else HEADER

    def waited(self, why: Wait, since: float, until: float, peer: int, token: int) -> None:
        if not self._open:
            return
        place = self._place
        if why is Wait.SEND and until == self._leaving and since == self._asked and place == self._after_sent:
            # A blocking send, which is the usual case, takes one row.
            _WHY(self._map, (place if place > HEADER else self._end) - _LENGTH + _WHY_AT, SENDING)
            self._leaving = math.nan
            return
        self._serial = serial = self._serial + 1
        _EVENT(self._map, place, serial, WAITED, why, peer, 0, since, 0, token, until, 0.0, 0.0, 0.0)
        place += _LENGTH
        self._place = place if place < self._end else HEADER

    def phase(self, name: str, **info: object) -> None:
        if self._open:
            step = info.get("step", -1)
            self._name(PHASE, name, step if isinstance(step, int) else -1, bool(info.get("recovery")))

    def fault(self, kind: str, **info: object) -> None:
        if self._open:
            self._name(FAULT, str(info.get("text", kind)), -1)

    def _name(self, kind: int, text: str, step: int, why: int = 0) -> None:
        place = self._place
        self._serial += 1
        _NAMED(self._map, place, self._serial, kind, why, step, 0, self._now(), text.encode())
        place += _LENGTH
        self._place = place if place < self._end else HEADER

    def close(self) -> None:
        """End the recording; the file is cut to what was written."""
        if not self._open:
            return
        self._open = False
        _BEGAN.pack_into(self._map, 0, MAGIC, self._began, self._reached())
        size = min(self._end, HEADER + self._serial * ROW.itemsize)
        self._map.flush()
        self._map.close()
        os.truncate(self._path, size)


def _mapped(path: Path, size: int) -> mmap.mmap:
    """Map a new file of `size` zero bytes with reserved blocks: a full disk is an error here, not a later signal."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.posix_fallocate(file, 0, size)
            return mmap.mmap(file, size)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM):
            path.unlink(missing_ok=True)
            raise UsageError(
                f"a trace needs room for its events, {size / 1e6:.3g} MB for each rank, and {path.parent} has none: "
                f"choose a smaller --trace-limit, or another folder with --out"
            ) from None
        raise UsageError(f"a trace is written to {path}, which failed: {error.strerror or error}") from None
