"""Find and delete the session directories that killed or crashed mpiruns leave in the temporary directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

NEVER_BEGAN = 213
"""Exit status of an Open MPI 5 mpirun that could not start because a session directory of its process id existed."""

_PREFIX = "ompi."


def session_folder(pid: int) -> Path:
    """The session directory of an mpirun, named only by its process id.

    mpirun refuses to start if the directory exists: it takes ``pmix.<host>.tool.<pid>`` in it for a running server's
    file. Process ids are reused, by default after 32768 processes on Linux.
    """
    return Path(tempfile.gettempdir()) / f"{_PREFIX}{pid}"


def remove(pid: int) -> None:
    """Delete the session directory of an mpirun that has ended, if it left one."""
    shutil.rmtree(session_folder(pid), ignore_errors=True)


def stale() -> list[Path]:
    """Session directories of this user's mpiruns that no longer run.

    Only to be reported, not deleted: a running mpirun of another container that shares the temporary directory, but
    not the process ids, looks the same.
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
