"""Run a job in the foreground: forward its output without mpirun's own notices, and end it on a signal.

Ctrl-C, SIGTERM and a terminal that closes (SIGHUP) end the job with everything that it started.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Protocol

from emulator.launch import streams
from emulator.launch.job import Job, start
from emulator.launch.session_directory import NEVER_BEGAN

# What the runtime prints about its own teardown.
_TEARDOWN = re.compile(
    rb"\[[^\]]+:\d+\] (PMIX|PRTE|OPAL) ERROR: |\[warn\] Epoll |Abort is in progress|"
    rb"\d+ more process(es)? ha(s|ve) sent help message "  # several ranks have aborted
)
# Printed at a rank's exit about an agreement of the survivors that a later one has superseded; and by every rank that
# makes a window, on a machine without the network of one of the ways that Open MPI has for windows.
_HARMLESS = re.compile(
    rb"(\[[^ ]+\] )+(ftagree:agreement \(ERA\) |\S+/osc_ucx_component\.c:\d+ +Error: OSC UCX component )"
)
# Printed where the death of a rank ends a nonblocking collective, whose caller is told; an empty line follows.
_CUT_SHORT = re.compile(rb"NBC_Progress: an error \d+ was found during schedule .*\s*$")
# mpirun's own notice about how a rank ended, which the rank itself has explained.
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


class Watch(Protocol):
    """An observer of a running job that can end it."""

    def line(self, text: bytes) -> None:
        """Read a line of the job's standard error, or a part of it, because mpirun does not end its last line."""

    def over(self) -> bool:
        """Whether to end the job now; called every few milliseconds."""

    def ended(self, status: int) -> None:
        """Note mpirun's exit status, below 0 the signal that killed it."""


Write = Callable[[IO[str], bytes], None]
"""Writes to a standard stream, as `streams.write` does."""


def _forward_output(stream: IO[bytes], write: Write) -> None:
    """Copy a job's output, because mpirun would end the job if it wrote to a closed pipe itself."""
    out = sys.stdout
    while content := os.read(stream.fileno(), 1 << 16):
        write(out, content)


def _lines(stream: IO[bytes], watch: Watch | None) -> Iterator[bytes]:
    """The lines of a job's standard error; `watch` reads them as they arrive, a line in parts too."""
    rest = b""
    while content := os.read(stream.fileno(), 1 << 16):
        *whole, rest = (rest + content).split(b"\n")
        if watch is not None:
            for text in (*whole, rest):
                watch.line(text)
        for text in whole:
            yield text + b"\n"
    if rest:
        yield rest


def _forward_errors(lines: Iterable[bytes], write: Write) -> None:
    """Copy a job's standard error without mpirun's dashed notices about how a rank ended.

    What the runtime prints about its own teardown is shown only if there is nothing else.
    """
    block: list[bytes] = []
    teardown: list[bytes] = []
    silent = True
    before = b""

    def emit(lines: list[bytes]) -> None:
        nonlocal silent
        if not any(notice in line for line in lines for notice in _NOTICE):
            write(sys.stderr, b"".join(lines))
            silent = False

    for raw in lines:
        line = raw.lstrip(b"\0")  # mpirun ends its notice of an abort with a stray NUL
        if line.startswith(b"-----"):
            if block:
                emit([*block, line])
            block = [] if block else [line]
        elif block:
            block.append(line)
        elif _TEARDOWN.match(line):
            teardown.append(line)
        elif line and not (_HARMLESS.match(line) or _CUT_SHORT.match(line) or _CUT_SHORT.match(before + line)):
            emit([line])
        before = line if _CUT_SHORT.match(line) else b""
    if block:
        emit(block)
    if silent and teardown:
        emit(teardown)


_ENDS_BY_ITSELF_S = {signal.SIGINT: 3.0, signal.SIGTERM: 1.0, signal.SIGHUP: 1.0}
_SAVES_S = 3.0


class Ended(SystemExit):
    """A signal has ended this process: it cleans up and exits with status 128 + `signal`, as in a shell."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(128 + number)


@contextlib.contextmanager
def _handled(handler: Callable[[int, object], None], *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals by `handler`, except SIGTERM and SIGHUP if the parent ignores them (as nohup does)."""
    taken = [n for n in numbers if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, so that a launcher ends its job before it exits.

    Raises
    ------
    Ended
        The process received one of them.
    """

    def end(number: int, frame: object) -> None:
        for one in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)  # the clean-up must not be cut off by another one
        raise Ended(number)

    with _handled(end, signal.SIGTERM, signal.SIGHUP):
        yield


def run_filtered(
    arguments: Sequence[str],
    attempts: int = 3,
    extra_env: Mapping[str, str] | None = None,
    *,
    rank_0_first: bool = False,
    watch: Watch | None = None,
    received: list[int] | None = None,
    write: Write = streams.write,
) -> int:
    """Run a job in the foreground and return its exit status, 128 + signal if one ended it; no process remains.

    With `rank_0_first` rank 0 saves what was measured when a signal ends the job, and gets the signal before mpirun,
    which would give it a quarter of a second: too short on a busy machine.

    A `watch` is asked meanwhile whether to end the job. A signal that ended it is added to `received`. What the job
    prints goes through `write`.

    A launch that never began (see `session_directory`) is repeated: the leftover that stopped it is gone by then.
    """
    # A terminal goes to mpirun as it is, so that rank 0 can ask for its width.
    output = None if write is streams.write and sys.stdout.isatty() else subprocess.PIPE
    for attempt in range(attempts):
        with (
            start(arguments, extra_env=extra_env, stdout=output, stderr=subprocess.PIPE) as job,
            _interruptible(job, rank_0_first) as signals,
            _forwarded(job.process, watch, write),
        ):
            status = job.wait(None, None if watch is None else partial(_look, watch, job))
            if signals:
                job.wait_gone(_SAVES_S)
                job.stop()
        if watch is not None and status is not None:
            watch.ended(status)
        if signals:
            if received is not None:
                received.append(signals[0])
            how = "interrupted" if signals[0] == signal.SIGINT else f"ended by {signals[0].name}"
            kept = "what had been measured, if anything, is in the run folder" if rank_0_first else "the job was ended"
            print(f"{how}: {kept}", file=sys.stderr, flush=True)
            return 128 + signals[0]
        if status != NEVER_BEGAN or attempt == attempts - 1:
            break
    assert status is not None
    return 128 - status if status < 0 else status


def _look(watch: Watch, job: Job) -> None:
    if watch.over():
        job.stop(grace=1.0)


@contextlib.contextmanager
def _forwarded(process: subprocess.Popen[bytes], watch: Watch | None, write: Write) -> Iterator[None]:
    """Copy what a process prints into pipes, as it is printed, to the end."""
    pipes = (
        (process.stdout, partial(_forward_output, write=write)),
        (process.stderr, lambda pipe: _forward_errors(_lines(pipe, watch), write)),
    )
    copies = [threading.Thread(target=_drain, args=pair, daemon=True) for pair in pipes if pair[0] is not None]
    for thread in copies:
        thread.start()
    yield
    for thread in copies:
        thread.join(1.0)  # something that outlived the job may hold a pipe open


def _drain(pipe: IO[bytes], copy: Callable[[IO[bytes]], None]) -> None:
    """Copy a pipe to its end, and close it."""
    with pipe:
        copy(pipe)


@contextlib.contextmanager
def _interruptible(job: Job, rank_0_first: bool) -> Iterator[list[signal.Signals]]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the job instead of this process; yields the list that gets the first one.

    A terminal sends Ctrl-C to mpirun as well; rank 0 gets time to save its result. If mpirun still runs after that,
    the signal reached this process alone, and the job is stopped.
    """
    came: list[signal.Signals] = []
    timers: list[threading.Timer] = []

    def begin_to_end(number: int, frame: object) -> None:
        if not came:
            came.append(signal.Signals(number))
            patience = _ENDS_BY_ITSELF_S[came[0]]
            if rank_0_first:
                timers.append(threading.Timer(0.0, job.send_signal, (signal.SIGTERM, 0)))
                patience = max(patience, _SAVES_S)
            timers.append(threading.Timer(patience, job.stop))
            for timer in timers:
                timer.start()

    try:
        with _handled(begin_to_end, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            yield came
    finally:
        for timer in timers:
            timer.cancel()
