"""A job in the foreground: its output as it comes, its errors without mpirun's own notices, and Ctrl-C."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO

from emulator.launch import Job, start

_LISTENER_FAILED = 213
_RUNTIME = re.compile(rb"\[[^\]]+:\d+\] (PMIX|PRTE|OPAL) ERROR: |\[warn\] Epoll |Abort is in progress")


def _is_notice(line: bytes) -> bool:
    """Whether a line is of mpirun's own notice about how a rank ended, which the rank itself has explained."""
    return any(word in line for word in _NOTICE)


_NOTICE = (
    b"detected that one or more processes exited with non-zero status",
    b"thus causing the job to be terminated",
    b"Primary job  terminated normally, but 1 process returned",
    b"a non-zero exit code. Per user-direction",
    b"Process name: [",
    b"Exit code:",
    b"MPI_ABORT was invoked",
    b"prterun has exited due to process rank",
    b"mpirun has exited due to process rank",
)


def _forward_errors(stream: IO[bytes]) -> None:
    """Copy a job's standard error without mpirun's dashed notices about how a rank ended.

    What the runtime mutters about its own teardown is shown only if nobody else had anything to say.
    """
    out = sys.stderr.buffer
    block: list[bytes] = []
    muttered: list[bytes] = []
    silent = True

    def emit(lines: list[bytes]) -> None:
        nonlocal silent
        if not any(map(_is_notice, lines)):
            out.write(b"".join(lines))
            out.flush()
            silent = False

    for raw in stream:
        line = raw.lstrip(b"\0")  # mpirun ends its notice of an abort with a stray NUL
        if line.startswith(b"-----"):
            if block:
                emit([*block, line])
            block = [] if block else [line]
        elif block:
            block.append(line)
        elif _RUNTIME.match(line):
            muttered.append(line)
        elif line:
            emit([line])
    if block:
        emit(block)
    if silent and muttered:
        emit(muttered)


_ENDS_BY_ITSELF = 3.0  # seconds


def run_filtered(arguments: Sequence[str], attempts: int = 3) -> int:
    """Run a job in the foreground and return its exit status, 130 after Ctrl-C; nothing outlives it.

    About 3 launches in 1000 of Open MPI 5 fail at once because its own listener thread does (status 213):
    those are tried again.
    """
    for attempt in range(attempts):
        with start(arguments, stderr=subprocess.PIPE) as job, _interruptible(job) as interrupted:
            assert job.process.stderr is not None
            forward = threading.Thread(target=_forward_errors, args=(job.process.stderr,), daemon=True)
            forward.start()
            status = job.wait()
            if interrupted.is_set():
                job.outlive(_ENDS_BY_ITSELF)
                job.stop()
                forward.join(1.0)
                print("interrupted: what had been measured, if anything, is in the run folder", file=sys.stderr)
                return 130
            forward.join(1.0)
        if status != _LISTENER_FAILED or attempt == attempts - 1:
            break
    assert status is not None
    return 128 - status if status < 0 else status


@contextlib.contextmanager
def _interruptible(job: Job) -> Iterator[threading.Event]:
    """Let Ctrl-C end the job instead of this process.

    A terminal's Ctrl-C reaches mpirun too, and what rank 0 then saves must not be cut off. If mpirun goes on all the
    same, the signal was for this process alone, and it is passed on.
    """
    interrupted = threading.Event()
    ending = threading.Timer(_ENDS_BY_ITSELF, job.stop)

    def begin_to_end(number: int, frame: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            ending.start()

    before = signal.signal(signal.SIGINT, begin_to_end)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
        ending.cancel()
