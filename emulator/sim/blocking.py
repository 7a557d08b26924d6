"""Clocks and blocking calls of a program on simulated ranks.

`time.sleep` is compute, and the clocks of `time` read simulated time. What would block the process that all ranks
share, or start another, is refused: sockets, subprocesses, threads, the keyboard.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from emulator.errors import UsageError
from emulator.sim.isolation import Isolation, World

_READS = 100  # of a clock at one instant, after which the program is taken to wait for an instant
_REFUSED = {
    "socket.__new__": "socket.socket", "socket.getaddrinfo": "socket.getaddrinfo",
    "socket.gethostbyname": "socket.gethostbyname", "subprocess.Popen": "subprocess.Popen", "os.system": "os.system",
    "os.fork": "os.fork", "os.forkpty": "os.forkpty", "os.exec": "os.exec", "os.posix_spawn": "os.posix_spawn",
    "os.kill": "os.kill", "_thread.start_new_thread": "_thread.start_new_thread", "builtins.input": "input",
}  # fmt: skip
"""Python's audit events of calls that block, or reach outside of the process, and the names of the calls."""
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
    """Refuse blocking calls of the ranks, and let their clocks read simulated time."""
    global _active
    _audit()
    before, stdin = {name: getattr(time, name) for name in _CLOCKS}, sys.stdin
    start = threading.Thread.start  # no audit event tells of it before Python 3.12
    _active, sys.stdin = isolation, _NoInput()
    for name, made in _CLOCKS.items():
        setattr(time, name, made(before[name], isolation))
    threading.Thread.start = _no_thread(start, isolation)  # type: ignore[method-assign]
    try:
        yield
    finally:
        _active, sys.stdin = None, stdin
        threading.Thread.start = start  # type: ignore[method-assign]
        for name, original in before.items():
            setattr(time, name, original)


@functools.cache
def _audit() -> None:
    """Begin to look at Python's audit events; once per process, as a hook stays for ever."""

    def hook(event: str, arguments: Any) -> None:
        if event in _REFUSED and _active is not None and _active.current.comm is not None:
            raise NotSimulated(_REFUSED[event])

    sys.addaudithook(hook)


def _no_thread(start: Any, isolation: Isolation) -> Any:
    """Make the start of a thread that a rank is refused."""

    def refused(self: threading.Thread) -> None:
        if isolation.current.comm is not None:
            raise NotSimulated("threading.Thread.start")
        start(self)

    return refused


def simulated_now(world: World) -> float:
    """Give a rank's simulated time in seconds; time passes for a program that reads it again and again."""
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
    """Make what replaces a clock of `time`: in seconds times `scale`, an integer if that is not 1."""

    def made(original: Any, isolation: Isolation) -> Any:
        begin = original() if since_epoch else 0

        @functools.wraps(original)
        def clock() -> float:
            if isolation.current.comm is None:
                return float(original()) if scale == 1 else original()
            now = simulated_now(isolation.current)
            return begin + (now if scale == 1 else round(now * scale))

        return clock

    return made


def _sleep(original: Any, isolation: Isolation) -> Any:
    @functools.wraps(original)
    def sleep(seconds: float) -> None:
        comm = isolation.current.comm
        if comm is None:
            original(seconds)
        elif not seconds >= 0:
            raise ValueError("sleep length must be non-negative")
        else:
            comm.compute(seconds)

    return sleep


_CLOCKS: dict[str, Callable[[Any, Isolation], Any]] = {
    "sleep": _sleep,
    **{name: _clock(1, name == "time") for name in ("time", "perf_counter", "monotonic")},
    **{f"{name}_ns": _clock(10**9, name == "time") for name in ("time", "perf_counter", "monotonic")},
}
