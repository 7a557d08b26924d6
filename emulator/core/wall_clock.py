"""Sleeping and polling in wall time without occupying a processor core.

On a crowded machine a process that waits must sleep, and sleep precisely: Linux lets a sleeper oversleep by 50 us
unless it asks for less, which `sharpen_sleep` does once per process.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable

perf_counter = time.perf_counter
_PR_SET_TIMERSLACK = 29
_YIELDS = 4
_FIRST_NAP_S = 10e-6
_FIRST_NAP_AT_MOST_S = 25e-6
_NAP_PER_RANK_S, _LONGEST_NAP_S = 250e-6, 10e-3  # a look costs about 20 us where ranks share a core
_sharpened = False


def sharpen_sleep() -> bool:
    """Ask the kernel to wake this thread on time (1 ns of slack instead of 50 us).

    Returns
    -------
    bool
        Whether it worked; elsewhere than on Linux sleeps stay as coarse as they are.
    """
    global _sharpened
    if not _sharpened and sys.platform == "linux":
        _sharpened = ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0) == 0
    return _sharpened


def sleep_until(deadline: float, spin: float = 0.0) -> None:
    """Sleep until `time.perf_counter()` reads `deadline` (seconds); return at once when it is past.

    The last `spin` seconds are spent spinning, for precision, where there is a core to spare for that.
    """
    left = deadline - perf_counter()
    if left > spin:
        time.sleep(left - spin)
    while spin and perf_counter() < deadline:
        pass


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def polite_nap(ranks: int) -> float:
    """The longest nap (s) between two polls of a rank, so that the polls of all ranks take few of the cores."""
    return min(max(1e-3, _NAP_PER_RANK_S * ranks / cores()), _LONGEST_NAP_S)


class Backoff:
    """Pauses between tests that grow from yielding the core to naps of at most `longest` seconds.

    ::

        pause = Backoff(200e-6)
        while not request.Test():
            pause()
    """

    __slots__ = ("longest", "nap", "turns", "yields")

    def __init__(self, longest: float, yields: int = _YIELDS) -> None:
        self.longest = longest
        self.yields = yields
        self.restart(longest)

    def restart(self, longest: float, ramp: bool = True) -> None:
        """Start again with another longest nap; without `ramp` every pause has that length."""
        self.longest = longest
        self.turns = 0 if ramp else self.yields
        self.nap = min(max(_FIRST_NAP_S, min(longest / 8, _FIRST_NAP_AT_MOST_S)), longest) if ramp else longest

    def __call__(self, deadline: float | None = None) -> None:
        """Pause once, but not beyond `deadline` (on `time.perf_counter`)."""
        self.turns += 1
        if self.turns <= self.yields:
            os.sched_yield()
            return
        nap = self.next(deadline)
        if nap > 0:
            time.sleep(nap)

    def next(self, deadline: float | None = None) -> float:
        """The next nap in seconds, which does not end after the deadline."""
        nap = self.nap
        self.nap = min(nap * 1.5, self.longest)
        return nap if deadline is None else max(0.0, min(nap, deadline - perf_counter()))


def wait_until(ready: Callable[[], bool], timeout: float | None = None, longest: float = 200e-6) -> bool:
    """Call `ready` until it is true, with naps that grow longer; for every wait on several things.

    Parameters
    ----------
    ready : a cheap test, such as ``request.Test`` or a lambda over several of them
    timeout : seconds on the wall after which to give up; None waits for ever
    longest : the longest sleep between two tests in seconds

    Returns
    -------
    bool
        True once `ready` was true, False after the timeout.
    """
    sharpen_sleep()
    deadline = None if timeout is None else perf_counter() + timeout
    pause = Backoff(longest)
    while not ready():
        if deadline is not None and perf_counter() >= deadline:
            return False
        pause(deadline)
    return True
