"""Signals from kernel timers: a process dies (or stops) at an instant inside any call, C code included.

A sleeping helper thread would need the interpreter, which a rank inside MPI does not give back in time; a POSIX
timer needs nobody. The instant is absolute on CLOCK_MONOTONIC, the clock of `time.perf_counter` on Linux.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time

_CLOCK_MONOTONIC, _TIMER_ABSTIME = 1, 1


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


def strike(signal_number: signal.Signals, at: float) -> ctypes.c_void_p | None:
    """Have the kernel deliver a signal to this process at `at` seconds of `time.monotonic`.

    An instant that has passed already strikes at once.

    Returns
    -------
    The timer, for `cancel`; None if it struck.

    Raises
    ------
    OSError
        The kernel refuses the timer.
    """
    if at <= time.monotonic():
        os.kill(os.getpid(), signal_number)
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    timer = ctypes.c_void_p()
    event = _SigEvent(None, int(signal_number), 0)
    whole = int(at)
    due = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(whole, max(1, int((at - whole) * 1e9))))
    failed = libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer))
    failed = failed or libc.timer_settime(timer, _TIMER_ABSTIME, ctypes.byref(due), None)
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, f"no kernel timer: {os.strerror(code)}")
    return timer


def cancel(timer: ctypes.c_void_p | None) -> None:
    """The timer will not strike any more."""
    if timer is not None:
        ctypes.CDLL(None).timer_delete(timer)
