"""Failure detectors: four of them, compared in time to detection and false alarms.

    runtime     the MPI library reports a process that died on a living host, within milliseconds; a stopped one, never
    heartbeat   no sign of life for a fixed limit
    phi         no sign of life for longer than this member's own habits make likely (phi-accrual)
    swim        the other ranks report a member that does not answer them (`faults.detect.swim`)

A heartbeat is a stamp on the status board, written by a thread of every rank: a rank that computes or waits for long
still beats, a stopped one does not. Where that thread gets neither the interpreter nor a core, the kernel's word that
the process runs counts as a beat. A suspected process is fenced, that is killed, before another takes its place: it
must not wake up and go on. The hang thus becomes a death that the runtime reports.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import numpy as np

from emulator.core import wall_clock
from emulator.errors import UsageError
from faults.detect.phi import PhiAccrual
from faults.record.status_board import WORKING, StatusBoard

SWIM = "swim"
DETECTORS = ("runtime", "heartbeat", "phi", SWIM)
BEATS_PER_LIMIT = 8
_LIMIT_S = 0.25
_FREE_RANKS_PER_CORE = 2


def limit_for(ranks: int, cores: int | None = None) -> float:
    """Seconds of silence that mean death.

    A rank that must wait for a core beats late, so the limit grows with the ranks per core, or with the machine's load
    if that is higher.
    """
    return _LIMIT_S * max(1.0, max(ranks, os.getloadavg()[0]) / (cores or wall_clock.cores()) / _FREE_RANKS_PER_CORE)


def start_heartbeat(board: StatusBoard, member: int, every_s: float) -> threading.Event:
    """Have a thread stamp the board every `every_s` seconds until the returned event is set or the process ends."""
    stop = threading.Event()

    def beat() -> None:
        board.enter_heartbeat_thread(member)
        while not stop.wait(every_s):
            board.beat(member)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    return stop


class Heartbeat:
    """Suspects every member that has not beaten for `limit_s` seconds."""

    def __init__(self, board: StatusBoard, limit_s: float) -> None:
        self.board, self.limit_s = board, limit_s

    def __call__(self, now: float) -> list[int]:
        rows = self.board.rows
        silent = (rows["state"] == WORKING) & (now - rows["beat"] > self.limit_s)
        return [int(member) for member in np.flatnonzero(silent)]


def detector(name: str, board: StatusBoard, limit_s: float) -> Callable[[float], list[int]] | None:
    """The detector of that name; None for what the runtime notices by itself.

    Raises
    ------
    UsageError
        No such detector.
    """
    if name not in DETECTORS:
        raise UsageError(f"a detector is one of {', '.join(DETECTORS)}, got {name!r}")
    if name == "heartbeat":
        return Heartbeat(board, limit_s)
    if name == SWIM:
        from faults.detect.swim import GroupSuspicions  # it imports MPI, which no other detector needs

        return GroupSuspicions(board)
    return PhiAccrual(board, limit_s) if name == "phi" else None
