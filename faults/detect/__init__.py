"""Who is dead? Four ways to find out, and what each costs in time and false alarms.

    runtime     the MPI library says so: a process that died on a living host, within milliseconds; a process that was
                stopped, never
    heartbeat   no sign of life for a fixed limit
    phi         no sign of life for longer than this member's own habits make likely (phi-accrual)
    swim        the other ranks say so, whom it does not answer (`faults.detect.swim`)

A beat is a stamp on the board, written by a thread of every rank: a rank that computes or waits for long still beats, a
stopped one does not. Where that thread gets neither the interpreter nor a core, the kernel's word that the process runs
counts as a beat. Who is held for dead is fenced, that is killed, before anybody takes its place: it must not
wake up and go on. The hang thus becomes a death that the runtime reports.
"""

from __future__ import annotations

import os
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

    A rank that must wait for a core beats late, so the limit grows with what wants to run: the ranks, or the
    machine's load if that is higher.
    """
    return _LIMIT_S * max(1.0, max(ranks, os.getloadavg()[0]) / (cores or wall_clock.cores()) / _FREE_RANKS_PER_CORE)


class Heartbeat:
    """Suspects whoever has not beaten for `limit_s` seconds."""

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
        from faults.detect.swim import Accused  # it knows MPI's house, which no other detector needs

        return Accused(board)
    return PhiAccrual(board, limit_s) if name == "phi" else None
