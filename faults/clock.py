"""The clock that detectors, agreements, recovery and injection go by; another carrier of messages brings its own."""

from __future__ import annotations

import os
import time


class Clock:
    """The monotonic clock of a host, which all of its processes share, and real sleep."""

    def now(self) -> float:
        """Seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        time.sleep(seconds)

    def give_way(self) -> None:
        """Let other processes have the core, if they wait for it."""
        os.sched_yield()


WALL = Clock()
