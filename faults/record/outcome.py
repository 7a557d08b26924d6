"""The status file of each process of a job: success is read from these, because mpirun's exit status proves nothing.

    began ─► reached ─► left        its loop came to the end, and then the program did
        │        └────► undone      the program raised an error behind the loop
        └─────────────► failed      it raised one in the loop, or recovery could not go on

Each process writes one of these words to its file; a killed process leaves the last one that it wrote. Files are
written only under `faults.run`, which names their folder.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = "CLUSTER_EMULATOR_STATUS"
"""Environment variable that says where the files go."""
RECOVERIES = "recoveries"
BEGAN, REACHED, LEFT, UNDONE, FAILED = "began", "reached", "left", "undone", "failed"


def _file() -> Path | None:
    folder = os.environ.get(FOLDER)
    return Path(folder, f"{os.uname().nodename}-{os.getpid()}") if folder is not None else None


def say(word: str) -> None:
    """Write `word` to this process' status file."""
    if file := _file():
        file.write_text(word)


def conclude(well: bool) -> None:
    """Record that the loop ended, and have the end of the program recorded as well."""
    say(REACHED if well else FAILED)
    if well:
        atexit.register(say, LEFT)


def fail() -> None:
    """Record that the program ends with an uncaught exception."""
    file = _file()
    say(UNDONE if file is not None and file.exists() and file.read_text() == REACHED else FAILED)


def tell(**record: Any) -> None:
    """Append a record to this process' list of recoveries."""
    if file := _file():
        folder = file.parent / RECOVERIES
        folder.mkdir(exist_ok=True)
        with (folder / file.name).open("a") as records:
            records.write(json.dumps(record) + "\n")


def told(folder: Path) -> list[dict[str, Any]]:
    """The recovery records of all processes."""
    files = sorted((folder / RECOVERIES).glob("*"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def words(folder: Path) -> list[str]:
    """The content of each process' status file."""
    return [path.read_text() for path in folder.iterdir() if path.is_file()]


def succeeded(said: Sequence[str]) -> bool:
    """Whether a process reached the end of the program and none failed after the loop."""
    return LEFT in said and REACHED not in said and UNDONE not in said


def failed(said: Sequence[str]) -> bool:
    """Whether a process ended with an exception of its own, which a restart would only repeat."""
    return FAILED in said or UNDONE in said
