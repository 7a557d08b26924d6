"""Where results are written: the run folder with its `latest` link, and files that are replaced atomically."""

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from emulator.errors import CannotWrite, UsageError

_STAMP = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
"""Name of a run folder that was not chosen by the user, and beside which `latest` stands."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A context with a temporary path that then replaces `path` atomically: readers see the old file or the new one.

    Raises
    ------
    CannotWrite
        The file system refused it (it may be full), or `path` is no file but a device, say. The temporary file is gone,
        and what was at `path` untouched.
    """
    path = Path(path)
    if path.is_symlink() and not path.is_dir():
        path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_symlink():
        raise CannotWrite(path, "it is not a file")
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield waiting
        waiting.replace(path)
    except OSError as error:
        raise CannotWrite(path, error.strerror or str(error)) from None
    finally:
        with contextlib.suppress(OSError):
            waiting.unlink()


def run_folder(demo: str, out: str | Path | None = None) -> Path:
    """Make the folder of a run; `point_latest` makes `latest` point to it once it has a result.

    Parameters
    ----------
    demo : name of the demo
    out : the folder that the user chose. Absent: ``runs/demo/<UTC time>``, with the link ``runs/demo/latest``.

    Raises
    ------
    UsageError
        The folder cannot be made or written.
    """
    try:
        if out is not None:
            folder = Path(out)
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = _fresh(Path("runs") / demo, datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
        # A folder can exist and yet refuse files: learn that before the measurements, not after.
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        where = out if out is not None else Path("runs") / demo
        raise UsageError(
            f"cannot write the run folder {where}: {error.strerror or error}; choose another with --out DIR"
        ) from None
    return folder


def check_writable(path: str | Path | None, option: str = "--json") -> None:
    """Check, before the measurements, that the file of an option can be written; leaves no new file.

    Raises
    ------
    UsageError
        It cannot be written.
    """
    if path is None:
        return
    path = Path(path)
    if path.exists() and not path.is_file():  # a device, say, whose place the result would take
        raise UsageError(f"{option} takes the name of a file, {path} is something else: choose another")
    try:
        was_there = path.exists()
        path.open("a").close()
        if not was_there:
            path.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot write {path}: {reason}; {option} takes a file in a folder that exists and can be written"
        ) from None


def discard(folder: Path) -> None:
    """Remove the folder of a rejected run if it is empty."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _fresh(parent: Path, stamp: str) -> Path:
    """Make a new folder; if two runs begin in the same second, the later gets a number."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
    return folder


def point_latest(folder: Path) -> None:
    """Point the link `latest` beside a run folder to it, atomically, unless the user chose the folder."""
    if not _STAMP.fullmatch(folder.name):
        return
    # File systems without links, or something of the user's at that name: the run itself is not affected.
    with contextlib.suppress(CannotWrite), replacing(folder.parent / "latest") as waiting:
        waiting.symlink_to(folder.name)
