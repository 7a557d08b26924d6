"""The journal of each process of a job: what it observed, one JSON object per line, one file per process.

Lines go to the file in one write each, so what a process wrote before it was killed is there. All instants are
of the clock that the processes of a host share.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from faults.platform import LOCAL, Clock


class What(StrEnum):
    """The kinds of records; a comment names who writes one, and when."""

    # the launcher
    LAUNCHED, ENDED, FENCED = "launched", "ended", "fenced"  # a launch begins, has ended; a suspected rank is killed
    # every rank: its process begins, takes a place as a spawned one, leaves by itself, or gives the job up
    STARTED, JOINED, LEFT, LOST = "started", "joined", "left", "lost"
    FAULT = "fault"  # strikes this rank, or is set to by a timer
    DEPARTED = "departed"  # this rank leaves its place, as it was told to
    GROWS, ADMITS = "grows", "admits"  # the coordinator starts processes for the empty places; they are ready
    COMMIT = "commit"  # a step is done and agreed on
    # a recovery, in this order; each ends a phase (`PHASE_ENDS`)
    NOTICED, AGREED, REBUILT, RESTORED = "noticed", "agreed", "rebuilt", "restored"
    # checkpoints: where a rank goes on from; and what became of the writing of one
    RESUMED, ROLLED_BACK, LEVEL, DAMAGED = "resumed", "rolled back", "level", "damaged"
    SAVED, UNSAVED, INTERVAL = "saved", "unsaved", "interval"
    # of one pattern: a parameter server inherits a shard, a gossiping rank misses a neighbour from now on
    TOOK_OVER, MISSED = "took over", "missed"


PHASE_ENDS = {
    "detect": What.NOTICED, "agree": What.AGREED, "rebuild": What.REBUILT, "restore": What.RESTORED,
    "replay": What.COMMIT,
}  # fmt: skip
"""The phases of a recovery in their order, each with the record that ends it."""


class Journal:
    """Appends records to ``folder/<attempt>-<member>.jsonl``."""

    def __init__(self, folder: str | Path, member: int, attempt: int = 0, clock: Clock = LOCAL.clock) -> None:
        self.member, self.attempt, self._clock = member, attempt, clock
        path = Path(folder) / f"{attempt:03d}-{member:03d}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, what: What, **fields: Any) -> None:
        record = {"at": self._clock.now(), "what": what, "member": self.member, "attempt": self.attempt, **fields}
        os.write(self._file, (json.dumps(record) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)


class NoJournal:
    """A journal that keeps nothing, for programs that recover outside a drill."""

    attempt = 0

    def write(self, what: What, **fields: Any) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: there is no journal file."""


def read(folder: str | Path) -> list[dict[str, Any]]:
    """Read all records of all processes, sorted by time; `line` is the line in the writer's file."""
    records = [record for path in sorted(Path(folder).glob("*.jsonl")) for record in _lines(path)]
    return sorted(records, key=lambda record: record["at"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines()):
        try:
            yield json.loads(line) | {"line": number}
        except ValueError:
            continue  # the writer died inside its last line
