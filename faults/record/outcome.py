"""What the processes of a job say of themselves, because mpirun's exit status proves nothing.

    began ─► reached ─► left        its loop came to the end, and then the program did
        │        └────► undone      the program raised an error behind the loop
        └─────────────► failed      it raised one in the loop, or recovery could not go on

Each process has a file with one of these words. Who is killed leaves the one that it had. Outside of `faults.run`
nobody asks, and nothing is written.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = "CLUSTER_EMULATOR_VERDICTS"
"""Environment variable that says where the files go."""
RECOVERIES = "recoveries"
BEGAN, REACHED, LEFT, UNDONE, FAILED = "began", "reached", "left", "undone", "failed"


def _file() -> Path | None:
    folder = os.environ.get(FOLDER)
    return Path(folder, f"{os.uname().nodename}-{os.getpid()}") if folder is not None else None


def say(word: str) -> None:
    """Let this process' file hold `word`."""
    if file := _file():
        file.write_text(word)


def conclude(well: bool) -> None:
    """The loop has ended, well or with an error. What comes behind it must end well too."""
    say(REACHED if well else FAILED)
    if well:
        atexit.register(say, LEFT)


def fail() -> None:
    """The program ends with an error that nobody caught."""
    file = _file()
    say(UNDONE if file is not None and file.exists() and file.read_text() == REACHED else FAILED)


def tell(**record: Any) -> None:
    """Add a record of a recovery to this process' list of them."""
    if file := _file():
        folder = file.parent / RECOVERIES
        folder.mkdir(exist_ok=True)
        with (folder / file.name).open("a") as records:
            records.write(json.dumps(record) + "\n")


def told(folder: Path) -> list[dict[str, Any]]:
    """The records of all processes."""
    files = sorted((folder / RECOVERIES).glob("*"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def words(folder: Path) -> list[str]:
    """What all processes have said last."""
    return [path.read_text() for path in folder.iterdir() if path.is_file()]


def succeeded(said: Sequence[str]) -> bool:
    """Whether somebody came to the end, and nobody failed behind the loop: whoever fails in it is survived."""
    return LEFT in said and REACHED not in said and UNDONE not in said


def failed(said: Sequence[str]) -> bool:
    """Whether a process failed by itself, as it would do again."""
    return FAILED in said or UNDONE in said
