"""Read the recorded events of all ranks as one `Trace` on one clock, over the time that all ranks have kept."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emulator.core.instruments import Wait
from emulator.errors import UsageError
from emulator.trace.recorder import FAULT, HEADER, MAGIC, PHASE, RECEIVED, ROW, SENDING, SENT, TEXT_AT, TRACES, WAITED

_TIMES = struct.Struct("<8sdd")


class Phase(NamedTuple):
    """A phase of an algorithm (its `step`; -1: none), or of a recovery, from `begin` to `end` in seconds."""

    begin: float
    end: float
    name: str
    step: int
    recovery: bool


@dataclass
class RankTrace:
    """The recorded events of one process.

    Attributes
    ----------
    rank, attempt : its rank (or number in a drill), and the launch of the job that it belonged to
    rows : `recorder.ROW`, in the order in which they happened
    began, ended : seconds at which its recording began and ended; `killed` tells that it did not end by itself
    dropped : events that were not kept
    """

    rank: int
    rows: np.ndarray
    began: float
    ended: float
    attempt: int = 0
    killed: bool = False
    dropped: int = 0

    def named(self, kind: int) -> list[tuple[float, str, int]]:
        """List phases or faults: time, text, and a phase's step (-1: none)."""
        rows = self.rows[self.rows["kind"] == kind]
        texts = rows.view(np.uint8).reshape(len(rows), ROW.itemsize)[:, TEXT_AT:] if len(rows) else ()
        return [
            (float(row["t"]), bytes(text).rstrip(b"\0").decode(errors="replace"), int(row["peer"]))
            for row, text in zip(rows, texts, strict=True)
        ]

    def phases(self) -> list[Phase]:
        """List the phases; each lasts until the next one."""
        named = self.named(PHASE)
        ends = [at for at, _, _ in named[1:]] + [self.ended]
        recovers = self.rows["why"][self.rows["kind"] == PHASE].astype(bool).tolist()
        return [
            Phase(at, max(at, end), name, step, of_recovery)
            for (at, name, step), end, of_recovery in zip(named, ends, recovers, strict=False)
        ]


@dataclass
class Trace:
    """The events of all ranks of a job.

    Attributes
    ----------
    clock : ``"wall"``, ``"emulated"`` or ``"simulated"``
    since, until : seconds between which events of all ranks are known
    ranks : in the order of their ranks
    """

    clock: str
    ranks: list[RankTrace]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        return sum(one.dropped for one in self.ranks)

    @property
    def events(self) -> int:
        return sum(len(one.rows) for one in self.ranks)

    @cached_property
    def since(self) -> float:
        """The beginning; if ranks have dropped events, the latest of their first kept events."""
        kept = [float(one.rows["t"][0]) for one in self.ranks if one.dropped and len(one.rows)]
        return max(kept) if kept else min((one.began for one in self.ranks), default=0.0)

    @cached_property
    def until(self) -> float:
        return max((one.ended for one in self.ranks), default=0.0)

    @property
    def seconds(self) -> float:
        return max(0.0, self.until - self.since)

    @cached_property
    def _senders(self) -> dict[tuple[int, int, int], tuple[int, int]]:
        found: dict[tuple[int, int, int], tuple[int, int]] = {}
        for place, one in enumerate(self.ranks):
            indices = np.flatnonzero(one.rows["kind"] == SENT)
            for index, token in zip(indices.tolist(), one.rows["token"][indices].tolist(), strict=True):
                found[one.attempt, one.rank, token] = place, index
        return found

    def sender(self, receiver: RankTrace, row: np.void) -> tuple[int, int] | None:
        """Where a row's message was sent: index in `ranks` and row there; None if it was not kept."""
        return self._senders.get((receiver.attempt, int(row["peer"]), int(row["token"])))


def load(folder: str | Path) -> Trace:
    """Read the traces of a run.

    Parameters
    ----------
    folder : a run folder, or the folder ``trace`` in it

    Raises
    ------
    UsageError
        There is none, or a file is no trace.
    """
    folder = Path(folder)
    files = sorted((folder / TRACES).glob("*.bin")) or sorted(folder.glob("*.bin"))
    if not files:
        raise UsageError(f"there is no trace in {folder}: run it again with --trace, or name another run folder")
    read = [_read(file) for file in files]
    return trace([one for one, _ in read], read[0][1])


def trace(ranks: Iterable[RankTrace], about: Mapping[str, Any]) -> Trace:
    """Put the events of all ranks on one clock.

    One of the wall begins at zero; one of emulated time goes on where the launch before has ended.
    """
    ranks = sorted(ranks, key=lambda one: (one.rank, one.attempt))
    clock = str(about.get("clock", "wall"))
    made = Trace(clock, ranks, dict(about))
    if clock == "wall" and ranks:
        _shift(ranks, -min(one.began for one in ranks))
    elif ranks:
        for attempt in sorted({one.attempt for one in ranks})[1:]:
            before = max(one.ended for one in ranks if one.attempt < attempt)
            _shift([one for one in ranks if one.attempt == attempt], before)
    return made


def _shift(ranks: Iterable[RankTrace], by: float) -> None:
    for one in ranks:
        one.began, one.ended = one.began + by, one.ended + by
        rows = one.rows
        rows["t"] += by
        for kind, times in ((SENT, [0, 1, 2]), (RECEIVED, [0, 1]), (WAITED, [0])):
            chosen = rows["kind"] == kind
            for column in times:
                rows["u"][chosen, column] += by


def _read(path: Path) -> tuple[RankTrace, dict[str, Any]]:
    data = path.read_bytes()
    try:
        magic, began, ended = _TIMES.unpack_from(data, 0)
        about = json.loads(data[_TIMES.size : HEADER].rstrip(b"\0"))
        limit, attempt = int(about["limit"]), int(path.name.partition("-")[0])
    except (struct.error, ValueError, KeyError):
        magic = b""
    if magic != MAGIC:
        raise UsageError(f"{path} is no trace of this version: run it again with --trace")
    kept = data[HEADER : HEADER + limit * ROW.itemsize]
    rows = np.frombuffer(kept, ROW, count=len(kept) // ROW.itemsize).copy()  # of a file that was cut off, whole rows
    rows = rows[(rows["serial"] > 0) & (rows["kind"] >= SENT) & (rows["kind"] <= FAULT)]
    rows = rows[np.argsort(rows["serial"], kind="stable")]
    dropped = int(rows["serial"][-1]) - len(rows) if len(rows) else 0
    rows = _with_waits(rows)
    killed = math.isnan(ended)
    if killed:
        ended = _last_time(rows, began)
    found = RankTrace(int(about["rank"]), rows, began, ended, attempt, killed, dropped)
    return found, about


def _with_waits(rows: np.ndarray) -> np.ndarray:
    """Give blocking sends their wait as a row, which a recorder leaves out."""
    places = np.flatnonzero((rows["kind"] == SENT) & (rows["why"] == SENDING))
    if not len(places):
        return rows
    waits = rows[places].copy()
    waits["kind"], waits["why"], waits["u"][:, 0] = WAITED, Wait.SEND, rows["u"][places, 1]
    rows["why"][places] = 0
    return np.insert(rows, places + 1, waits)


def _last_time(rows: np.ndarray, began: float) -> float:
    """The last instant in the rows of a rank."""
    if not len(rows):
        return began
    done = np.where(np.isin(rows["kind"], (RECEIVED, WAITED)), rows["u"][:, 0], rows["t"])
    return float(np.max(done, initial=began))
