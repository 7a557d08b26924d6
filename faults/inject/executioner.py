"""What ends, stops and wakes processes: signals, at once or at an instant inside any call, C code included.

A sleeping helper thread would need the interpreter, which a rank inside MPI does not give back in time; a POSIX timer
of the kernel needs nobody. Its instant is absolute on CLOCK_MONOTONIC, the clock of `faults.clock` on Linux.
Another transport, whose ranks are not processes, puts its own functions in the place of these.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

from faults import clock

Timer = ctypes.c_void_p
_CLOCK_MONOTONIC, _TIMER_ABSTIME = 1, 1
_DAEMON = os.getppid()


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


def strike(number: signal.Signals, at: float = 0.0) -> Timer | None:
    """Have the kernel deliver a signal to this process at `at` seconds of the clock.

    An instant that has passed already strikes at once.

    Returns
    -------
    The timer, for `cancel`; None if it struck.

    Raises
    ------
    OSError
        The kernel refuses the timer.
    """
    if at <= clock.now():
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


def cancel(timer: Timer | None) -> None:
    """The timer will not strike any more."""
    if timer is not None:
        ctypes.CDLL(None).timer_delete(timer)


def send(process: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal to a process of this host; false if there is none of that id."""
    if process <= 0:
        return False
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def exists(process: int) -> bool:
    """Whether there is a process of that id, dead ones included that nobody has taken notice of."""
    return send(process, 0)


def kill_daemon() -> None:
    """Kill the daemon that started this process, unless it is gone."""
    if os.getppid() == _DAEMON:
        os.kill(_DAEMON, signal.SIGKILL)


def later(at: float, act: Callable[[], None]) -> None:
    """Do something at an instant to come, in a child process: a rank inside a call would not wake up for it."""
    if os.fork():
        return
    clock.sleep(max(0.0, at - clock.now()))
    act()
    os._exit(0)
