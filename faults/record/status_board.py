"""The status board: a small file that every rank and the watchdog map, and that survives the ranks.

    row per member    beat  pid  beats_from  state  place  step  peer  wake_at  suspected  phase  phase_at
    one per event     the instant at which it fired (0: not yet)
    origin            when the job first began to work: the zero of faults by the wall clock
    refuted           suspicions of members by members that were found to be wrong

A member is a process of the job (its rank in the first world; spawned ones count on). A process that is killed leaves
its row behind, so the watchdog still knows where it was.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from faults.platform import LOCAL, Platform

ABSENT, WORKING, LEFT = 0, 1, 2
IN_STEPS, AGREES, REBUILDS = 0, 1, 2
"""Phases: does steps or restores state, as long as that takes; waits for all live members; waits for the runtime."""
NO_RANK = -1

_ROW = np.dtype(
    [
        ("beat", "f8"),  # instant of the last sign of life
        ("wake_at", "f8"),  # when a stopped member shall be woken; 0 for never
        ("suspected", "f8"),  # when other members declared it dead (SWIM); 0 for never
        ("phase_at", "f8"),  # when it began to agree or rebuild, or last moved on in that
        ("pid", "i8"),
        ("beats_from", "i8"),  # the kernel's number of the heartbeat thread; 0 for none
        ("step", "i8"),  # the step it works on
        ("state", "i4"),
        ("phase", "i4"),
        ("place", "i4"),  # its rank among those at work, NO_RANK for a spare
        ("peer", "i4"),  # the member it waits for, NO_RANK if for none
        ("attempt", "i4"),  # which launch of the job it belongs to
    ]
)


class StatusBoard:
    """The mapped board. Columns are numpy views: ``board.rows["beat"][member] = now``.

    Ranks write on it many times in a step, hence plain arrays and not `numpy.memmap`, of which every view costs ten
    times as much, and the columns `beats`, `steps` and `peers` cut out once.
    """

    def __init__(self, path: str | Path, members: int, events: int, platform: Platform = LOCAL) -> None:
        self.platform, self._now = platform, platform.clock.now
        size = members * _ROW.itemsize
        self.path = Path(path)
        whole = np.asarray(np.memmap(self.path, np.uint8, "r+"))
        self.rows = whole[:size].view(_ROW)
        self.beats, self.steps, self.peers = (self.rows[name] for name in ("beat", "step", "peer"))
        self._phases, self._phases_at = self.rows["phase"], self.rows["phase_at"]
        self.fired = whole[size : size + 8 * max(1, events)].view("f8")
        self.origin = whole[-16:-8].view("f8")
        self.refuted = whole[-8:].view("i8")

    @classmethod
    def create(cls, path: str | Path, members: int, events: int, platform: Platform = LOCAL) -> StatusBoard:
        """Create the file, filled with zeros, and map it."""
        Path(path).write_bytes(bytes(members * _ROW.itemsize + 8 * max(1, events) + 16))
        return cls(path, members, events, platform)

    @classmethod
    def open(cls, path: str | Path, platform: Platform = LOCAL) -> StatusBoard:
        """Map the file of a board without events, of as many members as it has rows."""
        return cls(path, (Path(path).stat().st_size - 24) // _ROW.itemsize, 0, platform)

    def enter(self, member: int, place: int, attempt: int) -> None:
        """Fill in the calling process' row."""
        process = self.platform.executioner.own_id()
        self.rows[member] = (self._now(), 0.0, 0.0, 0.0, process, 0, 0, WORKING, IN_STEPS, place, NO_RANK, attempt)

    def enter_heartbeat_thread(self, member: int) -> None:
        """Register the calling thread as this member's heartbeat thread."""
        self.rows["beats_from"][member] = threading.get_native_id()

    def beat(self, member: int) -> None:
        self.beats[member] = self._now()

    def enter_phase(self, member: int, phase: int) -> None:
        """Note that this member begins a phase, or progresses in it."""
        self._phases[member] = phase
        if phase != IN_STEPS:
            self._phases_at[member] = self._now()

    def furthest(self) -> int:
        """The highest step that a rank with a place has begun; -1 before the first."""
        at_work = (self.rows["state"] == WORKING) & (self.rows["place"] != NO_RANK)
        return int(np.max(self.rows["step"], where=at_work, initial=-1))

    def leave(self, member: int) -> None:
        """Mark a process as ended on purpose, so that no detector reports it."""
        self.rows["state"][member] = LEFT

    def working(self, attempt: int) -> list[int]:
        """Process ids of this launch that have started and not left, killed ones included."""
        at_work = (self.rows["state"] == WORKING) & (self.rows["attempt"] == attempt)
        return [int(pid) for pid in self.rows["pid"][at_work]]


def claim(folder: Path, first: int) -> int:
    """Claim a member number of at least `first` for a spawned process, by creating a file of that name."""
    number = first
    while True:
        try:
            os.close(os.open(folder / str(number), os.O_CREAT | os.O_EXCL))
            return number
        except FileExistsError:
            number += 1
