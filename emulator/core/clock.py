"""The logical clock of a rank, and the interface by which it is paced to another clock."""

from __future__ import annotations

import time


class Clock:
    """The logical clock of one rank, in emulated seconds.

    Between two calls of the communicator it advances by the thread's own CPU time times `slowdown`, so that a
    preempted rank loses nothing: in the emulated cluster every rank has a core. With ``measured=False`` it stands
    still.

    Attributes
    ----------
    t : the emulated time in seconds
    slowdown : emulated seconds of compute per second of this machine
    mark : CPU seconds of the calling thread up to which it has been charged
    """

    __slots__ = ("mark", "measured", "slowdown", "t")

    def __init__(self, slowdown: float = 1.0, measured: bool = True) -> None:
        self.t = 0.0
        self.slowdown = slowdown
        self.measured = measured
        self.mark = time.thread_time()

    def enter(self) -> None:
        """Begin an MPI call: charge the CPU time since the last one ended."""
        now = time.thread_time()
        if now > self.mark:
            self.t += (now - self.mark) * self.slowdown
        self.mark = now

    def leave(self) -> None:
        """End an MPI call: its CPU time is the emulator's own and is not charged."""
        self.mark = time.thread_time()

    def pause(self) -> None:
        """Charge no CPU time until the next call begins."""
        self.mark = float("inf")


class Pacer:
    """Keeps emulated time to another clock, such as the wall's; this base class paces nothing.

    Attributes
    ----------
    pace : seconds of that clock per emulated second; 0.0: not paced, and then nothing else here is called
    """

    __slots__ = ()

    pace = 0.0

    def emulated(self) -> float:
        """The emulated time that corresponds to the other clock's time now."""
        raise NotImplementedError

    def hold(self, t: float) -> None:
        """Return when the other clock has reached emulated time `t`."""
        raise NotImplementedError

    def record(self, due: float, held: bool) -> None:
        """Note that a receive due at `due` returns now; `held`: its due time was still ahead when it was found."""
        raise NotImplementedError
