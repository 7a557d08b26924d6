"""Failure detectors as objects with their properties; `faults.campaigns.alarms` compares them.

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
from dataclasses import dataclass

import numpy as np

from emulator.core import wall_clock
from emulator.errors import Registry
from faults.detect.phi import PhiAccrual
from faults.record.status_board import WORKING, StatusBoard

BEATS_PER_LIMIT = 8
Watcher = Callable[[float], list[int]]
_LIMIT_S = 0.25
_FREE_RANKS_PER_CORE = 2


def limit_for(ranks: int, cores: int | None = None) -> float:
    """Seconds of silence after which a rank is declared dead.

    A rank that must wait for a core beats late, so the limit grows with the ranks per core, or with the machine's load
    if that is higher.
    """
    return _LIMIT_S * max(1.0, max(ranks, os.getloadavg()[0]) / (cores or wall_clock.cores()) / _FREE_RANKS_PER_CORE)


def start_heartbeat(board: StatusBoard, member: int, every_s: float) -> threading.Event:
    """Start a thread that stamps the board every `every_s` seconds until the returned event is set."""
    stop = threading.Event()

    def beat() -> None:
        board.enter_heartbeat_thread(member)
        while not stop.wait(every_s):
            board.beat(member)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    return stop


class Heartbeat:
    """Suspects every member without a heartbeat for `limit_s` seconds."""

    def __init__(self, board: StatusBoard, limit_s: float) -> None:
        self.board, self.limit_s = board, limit_s

    def __call__(self, now: float) -> list[int]:
        rows = self.board.rows
        silent = (rows["state"] == WORKING) & (now - rows["beat"] > self.limit_s)
        return [int(member) for member in np.flatnonzero(silent)]


def _no_watch(board: StatusBoard, limit_s: float) -> None:
    """Make no watcher: the MPI runtime reports the deaths."""


def _no_part(board: StatusBoard, member: int, members: int, attempt: int, limit_s: float) -> None:
    """Do nothing: with this detector a rank takes no part in its detection."""


def _beating(board: StatusBoard, member: int, members: int, attempt: int, limit_s: float) -> None:
    start_heartbeat(board, member, limit_s / BEATS_PER_LIMIT)


def _suspicions(board: StatusBoard, limit_s: float) -> Watcher:
    from faults.detect.swim import GroupSuspicions  # it imports MPI, which no other detector needs

    return GroupSuspicions(board)


def _swimming(board: StatusBoard, member: int, members: int, attempt: int, limit_s: float) -> None:
    from faults.detect import swim

    swim.start(board, member, members, attempt, limit_s)


@dataclass(frozen=True)
class Detector:
    """A failure detector and its properties.

    Attributes
    ----------
    watcher : makes the launcher's part from the board and the limit of silence (s): given the time, the suspected
        members
    take_part : starts a rank's part: board, member, members of the job, attempt, limit of silence (s)
    has_limit : a limit of silence means death to it, so that it notices stopped ranks
    among_ranks : the ranks detect failures among themselves and may refute a suspicion, after which all repair without
        a death. They are the processes that the job began with.
    """

    name: str
    watcher: Callable[[StatusBoard, float], Watcher | None] = _no_watch
    take_part: Callable[[StatusBoard, int, int, int, float], None] = _no_part
    has_limit: bool = True
    among_ranks: bool = False


DETECTORS = Registry(
    "a detector",
    Detector("runtime", has_limit=False),
    Detector("heartbeat", Heartbeat, _beating),
    Detector("phi", PhiAccrual, _beating),
    Detector("swim", _suspicions, _swimming, among_ranks=True),
)
of = DETECTORS.of
RUNTIME, HEARTBEAT = "runtime", "heartbeat"
"""The detectors of jobs that name none: without, and with a rank that is stopped."""
