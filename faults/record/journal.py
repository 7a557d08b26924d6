"""What each process saw, in the order in which it saw it: one JSON object per line, one file per process.

Lines go to the file in one write each, so what a process wrote before it was killed is there. All instants are
`time.monotonic` of one host.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Appends to ``folder/<attempt>-<member>.jsonl``."""

    def __init__(self, folder: str | Path, member: int, attempt: int = 0) -> None:
        self.member, self.attempt = member, attempt
        path = Path(folder) / f"{attempt:03d}-{member:03d}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, what: str, **fields: Any) -> None:
        record = {"at": time.monotonic(), "what": what, "member": self.member, "attempt": self.attempt, **fields}
        os.write(self._file, (json.dumps(record) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)


class NoJournal:
    """A journal that keeps nothing, for programs that want recovery and no drill."""

    attempt = 0

    def write(self, what: str, **fields: Any) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing is open."""


def read(folder: str | Path) -> list[dict[str, Any]]:
    """Everything that everybody wrote, by time; `line` says where it stands in the writer's file."""
    records = [record for path in sorted(Path(folder).glob("*.jsonl")) for record in _lines(path)]
    return sorted(records, key=lambda record: record["at"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines()):
        try:
            yield json.loads(line) | {"line": number}
        except ValueError:
            continue  # the writer died inside its last line
