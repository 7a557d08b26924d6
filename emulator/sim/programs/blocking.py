"""Clocks and blocking calls of a program on simulated ranks.

`time.sleep` is compute, and the clocks of `time` read simulated time. What would block the process that all ranks
share, or start another, is refused: sockets, subprocesses, threads, the keyboard, waits that no other rank can end.
"""

from __future__ import annotations

import _thread
import functools
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import select as writable
from time import thread_time as time_of_thread
from typing import Any

from emulator.errors import UsageError
from emulator.sim.programs.isolation import Isolation, World, replaced

_READS = 100  # of a clock at one instant, after which the program is taken to wait for an instant
_REFUSED = {
    "socket.__new__": "socket.socket", "socket.getaddrinfo": "socket.getaddrinfo",
    "socket.gethostbyname": "socket.gethostbyname", "subprocess.Popen": "subprocess.Popen", "os.system": "os.system",
    "os.fork": "os.fork", "os.forkpty": "os.forkpty", "os.exec": "os.exec", "os.posix_spawn": "os.posix_spawn",
    "os.kill": "os.kill", "_thread.start_new_thread": "_thread.start_new_thread", "builtins.input": "input",
}  # fmt: skip
"""Python's audit events of calls that block, or reach outside of the process, and the names of the calls."""
_WAITS: list[tuple[Any, str, str]] = [
    (threading.Thread, "start", "threading.Thread.start"),  # no audit event tells of it before Python 3.12
    (_thread, "start_new_thread", "_thread.start_new_thread"),
    *((signal, name, f"signal.{name}") for name in ("pause", "sigwait", "sigwaitinfo", "sigtimedwait", "raise_signal")),
    *((signal, name, f"signal.{name}") for name in ("alarm", "setitimer")),  # of a clock that is not the ranks'
    *((os, name, f"os.{name}") for name in ("_exit", "abort")),
    *((select, name, f"select.{name}") for name in ("select", "poll", "epoll") if hasattr(select, name)),
    *((os, name, f"os.{name}") for name in ("wait", "waitpid", "wait3", "wait4")),
]
"""Where further such calls are found, and their names: of these Python has no audit event."""
_LOOK_S = 5.0  # wall seconds between two looks at whether a rank still computes; two in a row decide
_STILL_S = 2e-3  # CPU seconds, more than the looks themselves take
_active: Isolation | None = None


class NotSimulated(UsageError):
    """A call that simulated ranks cannot make, because all of them are in one process."""

    def __init__(self, call: str) -> None:
        super().__init__(f"{call} is not simulated, it would block or leave the process of all ranks: run the program "
                         "with real ranks (-n in place of --simulate)")  # fmt: skip


class _NoInput:
    """A rank's standard input."""

    def __getattr__(self, name: str) -> Any:
        raise NotSimulated(f"sys.stdin.{name}")


@contextmanager
def watched(isolation: Isolation) -> Iterator[None]:
    """Refuse blocking calls of the ranks, and make their clocks read simulated time."""
    global _active
    _audit()
    places: list[tuple[Any, str, Callable[[Any, Isolation], Any]]] = [
        *((time, name, made) for name, made in _CLOCKS.items()),
        *((place, name, _refusing(call)) for place, name, call in _WAITS),
        (threading.Condition, "wait", _on_ranks(_wait)),
    ]
    changes = [(place, name, made(getattr(place, name), isolation)) for place, name, made in places]
    _active = isolation
    try:
        with replaced([*changes, (sys, "stdin", _NoInput())]), _stuck(isolation):
            yield
    finally:
        _active = None


@contextmanager
def _stuck(isolation: Isolation) -> Iterator[None]:
    """Refuse a wait that no audit event reports (a lock, a pipe): a rank that runs uses no CPU time for a while.

    Not while the reader of what is printed lets it wait, and only where the program leaves SIGALRM alone. One look
    decides nothing: after Ctrl-Z the next one comes at once.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGALRM) != signal.SIG_DFL:
        yield
        return
    looks = deque([-1.0] * 3, maxlen=3)

    def look(_number: int, _frame: Any) -> None:
        looks.append(time_of_thread())
        still = looks[-1] - looks[0] < _STILL_S
        if still and isolation.current.comm is not None and not _printing():
            raise NotSimulated(f"a wait of {2 * _LOOK_S:g} s outside MPI (for a lock, a socket or another process)")

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _printing() -> bool:
    """Whether this process's output is full because its reader is slow; a closed output has no reader."""
    try:
        return len(writable([], [1, 2], [], 0)[1]) < 2
    except OSError:
        return False


@functools.cache
def _audit() -> None:
    """Install the hook for Python's audit events, once per process, because a hook cannot be removed."""

    def hook(event: str, arguments: Any) -> None:
        if event in _REFUSED and _active is not None and _active.current.comm is not None:
            raise NotSimulated(_REFUSED[event])

    sys.addaudithook(hook)


def _on_ranks(instead: Callable[..., Any]) -> Callable[[Any, Isolation], Any]:
    """Make the replacement of a call: on a rank, `instead` with the rank's world before the arguments."""

    def made(original: Any, isolation: Isolation) -> Any:
        @functools.wraps(original)
        def call(*arguments: Any, **named: Any) -> Any:
            world = isolation.current
            return original(*arguments, **named) if world.comm is None else instead(world, *arguments, **named)

        return call

    return made


def _refusing(name: str) -> Callable[[Any, Isolation], Any]:
    def refused(world: World, *arguments: Any, **named: Any) -> Any:
        raise NotSimulated(name)

    return _on_ranks(refused)


def _wait(world: World, condition: threading.Condition, timeout: float | None = None) -> bool:
    """Replace `Condition.wait`, on which events, queues and semaphores wait: time passes, as no other rank notifies."""
    comm: Any = world.comm
    if timeout is None:
        raise NotSimulated("threading.Condition.wait without a timeout")
    if timeout > 0:  # else no other rank runs meanwhile: this one may hold a lock that they all share
        comm.compute(timeout)
    return False


def _sleep(world: World, seconds: float) -> None:
    comm: Any = world.comm
    if not seconds >= 0:
        raise ValueError("sleep length must be non-negative")
    comm.compute(seconds)


def simulated_now(world: World) -> float:
    """A rank's simulated time in seconds; reading it again and again lets time pass."""
    comm: Any = world.comm
    now: float = comm.now()
    if now != world.read_at:
        world.read_at, world.reads = now, 0
    world.reads += 1
    if world.reads > _READS:
        comm.engine.idle("clock")
        now = comm.now()
    return now


def _clock(scale: int, since_epoch: bool) -> Callable[[Any, Isolation], Any]:
    """Make the replacement of a clock of `time`: in seconds times `scale`, an integer unless `scale` is 1."""

    def made(original: Any, isolation: Isolation) -> Any:
        begin = original() if since_epoch else 0

        def clock(world: World) -> float:
            now = simulated_now(world)
            return begin + (now if scale == 1 else round(now * scale))

        return _on_ranks(clock)(original, isolation)

    return made


_CLOCKS: dict[str, Callable[[Any, Isolation], Any]] = {
    "sleep": _on_ranks(_sleep),
    **{name: _clock(1, name == "time") for name in ("time", "perf_counter", "monotonic")},
    **{f"{name}_ns": _clock(10**9, name == "time") for name in ("time", "perf_counter", "monotonic")},
}
