"""The Python stack of a rank, which it writes to a file when the launcher sends it a signal.

`faulthandler` writes it from within the signal's handler, so that a rank that waits inside MPI or computes in C answers
as well.
"""

from __future__ import annotations

import faulthandler
import linecache
import re
import signal
from pathlib import Path
from typing import BinaryIO

from faults.platform import LOCAL

_OURS = tuple(str(Path(__file__).parents[2] / name) + "/" for name in ("faults", "emulator", "primitives"))
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)
_open: dict[int, BinaryIO] = {}  # as long as the process lives: the handler writes to the file's number


def _number() -> int:
    """Number of the signal: a real-time one that programs hardly use; 0 where there are none, as on macOS."""
    first = getattr(signal, "SIGRTMIN", 0)
    return int(first) + 7 if first else 0


def _file(folder: Path, member: int) -> Path:
    return folder / f".stack-{member}"


def listen(folder: Path, member: int) -> None:
    """Make this process, which is that member of the job, write its stack at the signal."""
    if _number() and member not in _open:
        _open[member] = _file(folder, member).open("wb", buffering=0)
        faulthandler.register(_number(), _open[member], all_threads=False)


def ask(folder: Path, member: int, process: int) -> None:
    """Ask a listening process for its stack."""
    if _file(folder, member).exists():
        LOCAL.executioner.send(process, _number())


def line_of(folder: Path, member: int) -> str:
    """The innermost line of the program itself in a process' stack: ``program.py:9: win.Fence()``.

    Empty where it did not answer.
    """
    try:
        text = _file(folder, member).read_text()
    except OSError:
        return ""
    for name, number in _FRAME.findall(text.rpartition("most recent call first")[2]):
        if not name.startswith(_OURS) and "site-packages" not in name and "<" not in name:
            return f"{Path(name).name}:{number}: {linecache.getline(name, int(number)).strip()}"
    return ""
