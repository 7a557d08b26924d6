"""The status file of each process of a job, from which success is read, because mpirun's exit status proves nothing.

    began ─► reached ─► left        its loop came to the end, and then the program did
        │        └────► undone      the program raised an error after the loop
        └─────────────► failed      it raised one in the loop, or recovery could not go on
                      quit          it ended itself in the loop, by sys.exit or MPI.Finalize
                      aborted       it called MPI's Abort: the job is to end
                      wrong         its step cannot be done by any rank: the job is to end
                      corrupt       it ended itself because its state was not that of the other ranks
                      told          it left between two steps, as it was told to
                      cut-off       it stopped on the side of a cut that has no quorum

Each process writes one of these words to its file, with its exit status where it ends itself; a killed process leaves
the last one that it wrote. How it ended is beside that, from the process' parent (`faults.launch.rank_parent`). Files
are written only under `faults.run`, which names their folder.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_RECOVERED = 3
"""Exit status of a command that found something which did not recover."""
FOLDER = "CLUSTER_EMULATOR_STATUS"
"""Environment variable that says where the files go."""
PARENT = "CLUSTER_EMULATOR_RANK_PARENT"
"""Environment variable with the words before a command that give the process a parent, for ranks that spawn others."""
BOARD = ".board"
"""The file of the status board that the launcher shows."""
MEMBERS = ".members"
"""The folder in which spawned processes claim rows of the board."""
MOST_SPAWNED = 1000
"""Rows of the board for spawned processes."""
RECOVERIES = "recoveries"
BEGAN, REACHED, LEFT, UNDONE, FAILED = "began", "reached", "left", "undone", "failed"
QUIT, ABORTED, WRONG, TOLD, CORRUPT, CUT_OFF = "quit", "aborted", "wrong", "told", "corrupt", "cut-off"
END_ALL = {ABORTED, WRONG}
"""What a rank says that wants the whole job to end."""
_ENDED_THEMSELVES = {FAILED, UNDONE, QUIT, *END_ALL}
_HOW = {
    **dict.fromkeys((FAILED, UNDONE, WRONG), "ended by an error of the program"),
    QUIT: "ended itself",
    ABORTED: "called Abort({status})",
    TOLD: "left as it was told to",
    CORRUPT: "ended itself: its state was not that of the other ranks",
    CUT_OFF: "stopped on the side of a cut without a quorum",
}
"""What a process has done that wrote this word last."""
ENDS = "ends"


@dataclass(frozen=True)
class Process:
    """The last status and the end of one process of a job.

    Attributes
    ----------
    said : the last word that it wrote; empty for none
    rank : in the world that it was started in; -1 as long as it runs
    code : its exit status, below 0 the signal that killed it; None as long as it runs
    stopped_at : since when it was stopped (s), if it was killed because that lasted too long; else 0
    at : when it ended (s)
    status : the exit status that it wanted for the job; 0 for none
    began : whether it began its loop
    """

    said: str = ""
    rank: int = -1
    code: int | None = None
    stopped_at: float = 0.0
    at: float = 0.0
    status: int = 0
    began: bool = False

    @property
    def killed(self) -> bool:
        """Whether the process was ended by a signal that it had not sent to itself."""
        return self.code is not None and self.code < 0 and self.said not in _ENDED_THEMSELVES

    @property
    def word(self) -> str:
        """The status that it wrote, or `LEFT` where it ended with status 0 after the loop, as by ``os._exit(0)``."""
        return LEFT if self.said == REACHED and self.code == 0 else self.said

    @property
    def how(self) -> str:
        """The process's name, and how it ended."""
        who = f"rank {self.rank}" if self.rank >= 0 else "a rank" if self.code is None else "a spawned process"
        if self.stopped_at:
            return f"{who} was stopped, and killed for that"
        if self.said in _HOW:
            return f"{who} {_HOW[self.said].format(status=self.status)}"
        if self.code is not None and self.code < 0:
            return f"{who} was killed by {signal.Signals(-self.code).name}"
        return f"{who} ended itself with exit status {self.code}"


def folder() -> Path | None:
    """The folder of the status files; None outside of `faults.run`."""
    return Path(os.environ[FOLDER]) if FOLDER in os.environ else None


def _file() -> Path | None:
    return None if (where := folder()) is None else where / f"{os.uname().nodename}-{os.getpid()}"


def say(word: str) -> None:
    """Write the status `word` to this process' file."""
    if file := _file():
        waiting = file.with_name(f".{file.name}")
        waiting.write_text(word)
        waiting.replace(file)  # the launcher reads it meanwhile


def conclude(well: bool) -> None:
    """Record that the loop has ended, `well` or by a failure."""
    if not well:
        fail()
        return
    say(REACHED)


@atexit.register  # before any other, so that it runs after them: the launcher does not wait long for what follows
def _leave() -> None:
    """Record that the program has reached its end."""
    if (file := _file()) and file.exists() and file.read_text() == REACHED:
        say(LEFT)


def fail(status: int = 0, word: str = FAILED) -> None:
    """Record that the program ends itself, by an uncaught exception or with that exit status."""
    if file := _file():
        before = file.read_text().split() if file.exists() else []
        after_loop = REACHED in before and word == FAILED
        say(" ".join([UNDONE if after_loop else word, str(status), *([BEGAN] if before else [])]))


def is_news(text: str) -> bool:
    """Whether no other process of the job has claimed this text: what all of them find is printed once."""
    if (where := folder()) is None:
        return True
    import hashlib  # loads OpenSSL, which takes every rank 6 ms

    try:
        os.close(os.open(where / f".{hashlib.sha256(text.encode()).hexdigest()}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


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


def processes(folder: Path) -> list[Process]:
    """The status of each process that has written one or has ended."""
    said = {path.name: path.read_text().split() for path in folder.glob("[!.]*") if path.is_file()}
    ends = {path.name: json.loads(path.read_text()) for path in (folder / ENDS).glob("[!.]*")}
    found = []
    for name in sorted(said | ends):
        word, *rest = said.get(name) or [""]
        status, began = int(rest[0]) if rest else 0, bool(word) and (len(rest) != 1)
        found.append(Process(word, status=status, began=began, **ends.get(name, {})))
    return found


def words(folder: Path) -> list[str]:
    """The last status of each process that has written one."""
    return [one.word for one in processes(folder) if one.word]


def succeeded(said: Sequence[str]) -> bool:
    """Whether a process reached the program's end and none failed after the loop."""
    return LEFT in said and REACHED not in said and UNDONE not in said


def failed(said: Sequence[str]) -> bool:
    """Whether a process ended itself, for example by an exception, which a restart would only repeat."""
    return not _ENDED_THEMSELVES.isdisjoint(said)


def one_failed() -> bool:
    """Whether a process of this job ended itself."""
    return (where := folder()) is not None and failed(words(where))
