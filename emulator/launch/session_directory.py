"""What an mpirun that was killed or crashed leaves on the disk, and why it must not stay there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

NEVER_BEGAN = 213
"""Exit status of an Open MPI 5 mpirun whose listener could not start: a dead namesake's folder was in its way."""

_PREFIX = "ompi."


def session_folder(pid: int) -> Path:
    """Where mpirun keeps its files, named by its process id alone.

    It refuses to start where another of the same id has left its own (``pmix.<host>.tool.<pid>`` in it is taken for a
    living server's), and ids come round: every 32768 processes, where Linux' usual limit stands.
    """
    return Path(tempfile.gettempdir()) / f"{_PREFIX}{pid}"


def remove(pid: int) -> None:
    """Remove what a dead mpirun of ours left; nothing if it ended in order."""
    shutil.rmtree(session_folder(pid), ignore_errors=True)


def stale() -> list[Path]:
    """Folders of this user's mpiruns that are no more.

    Only to be shown: one of another container, which shares the folder but not the process ids, would look the same.
    """
    import psutil

    mine = os.getuid()
    return [
        folder
        for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))
        if (number := folder.name.removeprefix(_PREFIX)).isdigit()
        and folder.stat().st_uid == mine
        and not psutil.pid_exists(int(number))
    ]
