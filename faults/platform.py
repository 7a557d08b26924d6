"""The platform of a job's ranks: a clock, an executioner that kills, stops, wakes and observes them, a starter of more.

    Platform ─┬─ clock        now, sleep, give way, CPU time used
              ├─ executioner  signals at once or at an instant, state of a process
              └─ starter      new processes of the program (`faults.recover.replacements.admission`)

Every object of `faults` that needs either is given the platform of its job: the ranks' `DrillContext` and the
`StatusBoard` hold it, and hand it on. The default, `LOCAL`, is this machine: processes, signals, the kernel's clock.
Another carrier, such as a simulation whose ranks are coroutines in virtual time, brings subclasses of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Timer = ctypes.c_void_p
_CLOCK_MONOTONIC, _TIMER_ABSTIME = 1, 1
_DAEMON = os.getppid()


class Clock:
    """The monotonic clock of a host, which all of its processes share."""

    now: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds."""
    sleep: Callable[[float], None] = staticmethod(time.sleep)
    """Let that many seconds pass."""
    give_way: Callable[[], None] = staticmethod(os.sched_yield)
    """Yield the core to other processes that wait for it."""
    cpu: Callable[[], float] = staticmethod(time.thread_time)
    """Seconds of CPU time that the calling thread has used."""

    def work(self, declared_s: float) -> None:
        """Let the seconds of declared work pass, as if the rank had a core to itself."""
        if declared_s:
            self.sleep(declared_s)

    def every(self, period_s: float, act: Callable[[], None], over: threading.Event) -> None:
        """Call `act` every `period_s` seconds in a thread of the calling rank until the event `over` is set."""

        def repeat() -> None:
            while not over.wait(period_s):
                act()

        threading.Thread(target=repeat, daemon=True).start()


class _SigEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),  # 0 is SIGEV_SIGNAL
        ("padding", ctypes.c_int * 12),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Executioner:
    """Kills, stops, wakes and observes processes of this host.

    A signal at an instant is delivered by a POSIX timer of the kernel, which strikes inside any call, C code included;
    a helper thread would need the interpreter, which a rank inside MPI does not give back in time. The instant is
    absolute on CLOCK_MONOTONIC, which is `Clock.now` on Linux.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()

    def own_id(self) -> int:
        """The id of the calling process."""
        return os.getpid()

    def strike(self, number: signal.Signals, at: float = 0.0) -> Timer | None:
        """Deliver a signal to the calling process at `at` seconds of the clock, or at once if that has passed.

        Returns
        -------
        The timer, for `cancel`; None if it struck.

        Raises
        ------
        OSError
            The kernel refuses the timer.
        """
        if at <= self.clock.now():
            os.kill(os.getpid(), number)
            return None
        libc = ctypes.CDLL(None, use_errno=True)
        timer = Timer()
        event = _SigEvent(None, int(number), 0)
        whole = int(at)
        due = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(whole, max(1, int((at - whole) * 1e9))))
        failed = libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer))
        failed = failed or libc.timer_settime(timer, _TIMER_ABSTIME, ctypes.byref(due), None)
        if failed:
            code = ctypes.get_errno()
            raise OSError(code, f"no kernel timer: {os.strerror(code)}")
        return timer

    def heed(self, number: signal.Signals) -> Callable[[], bool]:
        """Record a signal that would otherwise end the calling process; the result tells whether it has come."""
        came = threading.Event()
        signal.signal(number, lambda *_: came.set())
        return came.is_set

    def cancel(self, timer: Timer | None) -> None:
        """Delete a timer of `strike`."""
        if timer is not None:
            ctypes.CDLL(None).timer_delete(timer)

    def send(self, process: int, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a process; false if there is none of that id."""
        if process <= 0:
            return False
        try:
            os.kill(process, number)
        except ProcessLookupError:
            return False
        return True

    def exists(self, process: int) -> bool:
        """Whether there is a process of that id; true of a dead one until its parent has reaped it."""
        return self.send(process, 0)

    def state(self, process: int) -> str:
        """The kernel's letter for the state of a process or thread, such as R (running) or T (stopped); "" for none."""
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def lives(self, process: int) -> bool:
        """Whether a process exists and is not dead; a stopped one lives."""
        return self.state(process) not in ("", "Z", "X")

    def runs(self, process: int, thread: int = 0) -> bool:
        """Whether a process' first thread, or the given one, runs, waits for a core, or is inside the kernel.

        The latter (state D) is disk or memory that is slow, which the process waits out; a stopped one is in state T.

        Not read from /proc/PID/task: if that is read just before the process is killed, Linux (seen: 6.18) may spin for
        seconds as mpirun reaps the process (release_task, shrink_dcache_parent), and mpirun reports nothing meanwhile.
        """
        return not {"R", "D"}.isdisjoint((self.state(process), self.state(thread) if thread else ""))

    def kill_daemon(self) -> None:
        """Kill the daemon that started the calling process, unless it has ended."""
        if os.getppid() == _DAEMON:
            os.kill(_DAEMON, signal.SIGKILL)

    def later(self, at: float, act: Callable[[], None]) -> None:
        """Call `act` at an instant, in a child process, because a rank inside a C call cannot react."""
        if os.fork():
            return
        self.clock.sleep(max(0.0, at - self.clock.now()))
        act()
        os._exit(0)


@dataclass(frozen=True)
class Platform:
    """A clock and an executioner that belong together.

    Attributes
    ----------
    survives : whether the job goes on when a rank dies; None where that depends on how mpirun was started
    world : the communicator of all processes that were started together; None: ``MPI.COMM_WORLD``
    starter : starts processes into the running job (`faults.recover.replacements.admission.Starter`); None: mpirun does
    """

    clock: Clock = field(default_factory=Clock)
    executioner: Executioner = field(default_factory=Executioner)
    survives: bool | None = None
    world: Any = None
    starter: Any = None


LOCAL = Platform()
"""This machine."""
