"""How a sender wakes a rank that waits for its message, so that the receiver need not poll: shared semaphores.

    a line of 64 bytes for each rank    whether it sleeps (1 byte), from byte 16 on a POSIX semaphore

A rank marks itself before its last look for messages, and sleeps; a sender that finds the mark after it has shipped a
message removes it and posts the semaphore. So no message stays unnoticed, and one to a rank that is awake costs a look
at its mark. While as many ranks are awake as there are cores, a sender posts only when it is about to sleep itself: the
receiver then finds several messages for one switch of the core, which costs more than the messages do.

What MPI moves by itself (a long payload, a message from another machine, the news of a rank's death) posts nothing, so
every sleep is bounded.
"""

from __future__ import annotations

import ctypes
import mmap
import time

LINE = 64
_SEMAPHORE_AT = 16
_MONOTONIC = 1
_NS = 1_000_000_000
_MOST_OWED = 16  # receivers that a sender lets sleep on


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Wakeups:
    """One rank's view of the marks and semaphores of all ranks of its machine.

    Parameters
    ----------
    memory, begin : shared memory of zeros, and where in it the lines are
    rank, size : this rank, and how many lines there are
    cores : while so many of the ranks are awake, waking another one can wait until this rank sleeps

    Attributes
    ----------
    marks, begin, place : the memory; where the lines are in it, and where this rank's mark is
    available : the C library has semaphores with a timeout; else sleeps are just sleeps
    """

    def __init__(self, memory: mmap.mmap, begin: int, rank: int, size: int, cores: int) -> None:
        library = ctypes.CDLL(None)
        self.available = hasattr(library, "sem_clockwait")
        self.marks, self.begin, self.place = memory, begin, begin + LINE * rank
        self._lines = slice(begin, begin + LINE * size, LINE)
        self._spare, self._owed = size - cores, list[int]()
        self._semaphores: list[ctypes.c_void_p] = []
        if not self.available:
            return
        self._wait, self._post = library.sem_clockwait, library.sem_post
        first = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + begin + _SEMAPHORE_AT
        self._semaphores = [ctypes.c_void_p(first + LINE * one) for one in range(size)]
        self._own = self._semaphores[rank]
        library.sem_init(self._own, 1, 0)
        self._until = _Timespec()
        self._pointer = ctypes.byref(self._until)

    def sleep(self, seconds: float) -> None:
        """Sleep until another rank wakes this one, at most for `seconds`."""
        self.pay()
        if not self.available:
            time.sleep(seconds)
            return
        self._until.seconds, self._until.nanoseconds = divmod(time.monotonic_ns() + int(seconds * _NS), _NS)
        self._wait(self._own, _MONOTONIC, self._pointer)

    def shipped(self, rank: int) -> None:
        """Wake a rank to which a message was sent, if it sleeps: now, or when this rank sleeps."""
        marks = self.marks
        if not marks[self.begin + LINE * rank]:
            return
        if marks[self._lines].count(1) > self._spare:
            self._wake(rank)
            return
        self._owed.append(rank)
        if len(self._owed) >= _MOST_OWED:
            self.pay()

    def pay(self) -> None:
        """Wake the ranks whose wake-up this one has postponed."""
        for rank in self._owed:
            self._wake(rank)
        self._owed.clear()

    def wake_all(self) -> None:
        """Wake every sleeping rank of the machine."""
        for rank in range(len(self._semaphores)):
            self._wake(rank)

    def _wake(self, rank: int) -> None:
        mark = self.begin + LINE * rank
        if self.marks[mark]:
            self.marks[mark] = 0
            self._post(self._semaphores[rank])
