"""Standard output and standard error that may be closed, full, or without a reader.

A run goes on whatever happens to its output, and saves its result. A reader that leaves (a ``head``, say) is no error;
output that cannot be written, as on a full disk, is one line and exit status 1.
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
    """Give a process that was started with closed standard streams (``>&-``) streams that lead nowhere.

    The next file to be opened would take their place, and get what is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def discard(stream: IO[Any]) -> None:
    """Send to nowhere what is still written to a standard stream that nobody reads any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def lose(error: OSError) -> None:
    """Go on without standard output, which failed with this error; `finish` says so."""
    discard(sys.stdout)
    if error.errno not in _NO_READER:
        _lost.append(error.strerror or str(error))


def write(stream: IO[str], content: bytes) -> None:
    """Write bytes to a standard stream and flush it; one that cannot be written is given up."""
    try:
        stream.buffer.write(content)  # type: ignore[attr-defined]
        stream.buffer.flush()  # type: ignore[attr-defined]
    except OSError as error:
        if stream is sys.stdout:
            lose(error)
        else:
            discard(stream)


def finish(status: int) -> int:
    """Write out standard output at a command's end and return its exit status: 1 if output was lost, else `status`."""
    try:
        sys.stdout.flush()
    except OSError as error:
        lose(error)
    if not _lost:
        return status
    complain(f"cannot write standard output: {_lost[0]}; what was to be printed is lost")
    return status or 1


def complain(message: str) -> None:
    """Print one line on standard error, from rank 0 only when every rank has the same to say."""
    if job.rank() in (None, 0):
        print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
