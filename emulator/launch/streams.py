"""Standard output and standard error that may be closed, full, or without a reader.

A run continues when its output fails, and saves its result. A reader that closes the pipe (a ``head``, say) is no
error; output that cannot be written, as on a full disk or to a closed stream, is reported in one line with exit
status 1.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import IO, Any

from emulator.launch import job

_NO_READER = (errno.EPIPE, errno.EIO)  # a pipe's; a terminal's, such as a rank has from mpirun
_lost: list[str] = []  # why standard output cannot be written


def reopen_closed() -> None:
    """Open /dev/null for standard streams that were closed when the process started (``>&-``).

    Otherwise the next file to be opened would get their descriptor, and what is printed. Standard output is opened for
    reading, so that output is lost with an error, as on a full disk; standard error, where that would be said, is not.
    """
    for descriptor, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free descriptor, which is this one
            os.set_inheritable(descriptor, True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def discard(stream: IO[Any]) -> None:
    """Redirect to /dev/null a standard stream whose reader has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def lose(error: OSError) -> None:
    """Redirect standard output to /dev/null after this error, which `finish` reports."""
    discard(sys.stdout)
    if error.errno not in _NO_READER:
        _lost.append(error.strerror or str(error))


def write(stream: IO[str], content: bytes) -> None:
    """Write bytes to a standard stream and flush it; a stream that fails is redirected to /dev/null."""
    try:
        stream.buffer.write(content)  # type: ignore[attr-defined]
        stream.buffer.flush()  # type: ignore[attr-defined]
    except OSError as error:
        if stream is sys.stdout:
            lose(error)
        else:
            discard(stream)


def finish(status: int) -> int:
    """Flush standard output at a command's end and return its exit status: 1 if output was lost, else `status`."""
    try:
        sys.stdout.flush()
    except OSError as error:
        lose(error)
    if not _lost:
        return status
    print_error(f"cannot write standard output: {_lost[0]}; some output is lost")
    return status or 1


def print_error(message: str) -> None:
    """Print an error as one line on standard error; inside a job only rank 0 prints."""
    if job.rank() in (None, 0):
        print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
