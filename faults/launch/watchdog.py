"""The launcher's watchdog: it wakes stopped ranks, kills suspected ones, finds hangs, and ends the job.

A job ends in one of four ways: mpirun returns by itself, nothing moved for `stall_s` seconds (then every process
writes its stack to a file and is killed), the deadline passed, or a rank died where the first death is to end all.
"""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emulator.launch.job import Job
from faults.detect import Watcher
from faults.drill import job_spec
from faults.launch import live
from faults.launch.live import RanksAtWork
from faults.record.status_board import LEFT, NO_RANK, WORKING, StatusBoard

TICK_S = 0.004
_LOOK_S = 0.1  # between looks at whether anything moves: the watchdog shares the cores with those it watches
_STUCK_MPIRUN_S = 3.0
_ANSWER_S = 2.0
_LOOKS = 3
"""Looks in a row at which a suspect must neither run nor have beaten. One is not enough on a busy machine: a heartbeat
thread may beat between the detector's look and that at its state, and after a pause of the whole machine the watchdog
may run before the kernel has woken the threads whose sleep is over."""
_MPIRUN_END_S = 5.0
A_RANK_DIED, BY_ITSELF, MPIRUN_STUCK = "a rank died", "by itself", "mpirun stayed behind"


@dataclass
class Ending:
    """How a launch ended: mpirun's status (which proves nothing), when, why, and which suspected ranks were killed."""

    status: int | None
    at: float
    why: str = BY_ITSELF
    fenced: dict[int, float] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    leftovers: int = 0
    launcher: Job | None = None
    _mpirun_end: threading.Thread | None = None

    def release(self) -> None:
        """Let a thread wait for mpirun, whose ranks are all dead: it takes 0.25 s to end."""
        assert self.launcher is not None
        self._mpirun_end = threading.Thread(target=_await_mpirun, args=(self.launcher,), daemon=True)
        self._mpirun_end.start()

    def join(self) -> None:
        """Wait until mpirun has ended, and count the processes that remain."""
        if self._mpirun_end is not None:
            self._mpirun_end.join()
        if self.launcher is not None:
            self.status, self.leftovers = self.launcher.poll(), len(self.launcher.leftovers())


def _await_mpirun(running: Job) -> None:
    running.wait(_MPIRUN_END_S)
    running.stop(grace=1.0)


class Watch:
    """Reads the status board of a running job every few milliseconds.

    Parameters
    ----------
    folder : the job's folder; stacks go there
    suspects : given the time, the members that a detector suspects: they are fenced (killed), so that no other takes
        the place of a process that may wake up again
    stall_s, deadline_s : longest time without a sign of progress, from the first step on, and for the whole launch: how
        long ranks take to start, to import and to make their data depends on what else the machine does
    all_for_one : number of ranks of which the first death ends all, at once: mpirun itself takes a quarter of a second
        for that
    world : processes that mpirun starts; absent: all members of the board
    """

    def __init__(
        self,
        folder: Path,
        board: StatusBoard,
        stall_s: float,
        deadline_s: float,
        suspects: Watcher | None = None,
        all_for_one: int = 0,
        world: int | None = None,
    ) -> None:
        self.folder, self.board, self.stall_s, self.deadline_s = folder, board, stall_s, deadline_s
        self._clock, self._executioner = board.platform.clock, board.platform.executioner
        self.suspects, self.all_for_one = suspects, all_for_one
        self.ranks = RanksAtWork(board, len(board.rows) if world is None else world)
        self._fenced: dict[int, float] = {}
        self._silent: dict[int, int] = {}
        self._last_move, self._looked, self._seen, self._at_start = 0.0, 0.0, b"", b""
        self._all_gone: float | None = None

    def until_end(self, running: Job) -> Ending:
        """Wait for the job's end, or end it; afterwards none of its processes is left."""
        began = self._last_move = self._clock.now()
        self._fenced, self._seen, self._all_gone, self._looked = {}, b"", None, 0.0
        self._at_start = self.board.rows["step"].tobytes()
        why = BY_ITSELF
        waits: list[str] = []
        try:
            while running.poll() is None:
                now = self._clock.now()
                self._wake(now)
                self._fence(now)
                if self._one_is_gone():
                    return self._end_all(running, now)
                if why := self._complaint(now, began):
                    if why != MPIRUN_STUCK:
                        live.keep(self.ranks, f"Ranks when the job was ended: {why}")
                        waits = self._who_waits()
                    break
                self._clock.sleep(TICK_S)
            else:
                why = BY_ITSELF
            ended = self._clock.now()
        except BaseException:
            running.stop(grace=1.0)
            raise
        self._kill_working()
        running.stop(grace=1.0)
        return Ending(running.poll(), ended, why, self._fenced, waits, launcher=running)

    # -- the first death ends all
    def _one_is_gone(self) -> bool:
        """Whether a rank is dead in a job that ends with its first death; all ranks must have started before."""
        if not self.all_for_one or (self.board.rows["state"][: self.all_for_one] == 0).any():
            return False
        return any(not self._executioner.exists(pid) for _, pid in self._working())

    def _end_all(self, running: Job, noticed: float) -> Ending:
        """Kill every rank and wait until all are dead; mpirun then ends by itself."""
        ending = Ending(None, noticed, A_RANK_DIED, self._fenced, launcher=running)
        pids = [pid for _, pid in self._working()]
        for pid in pids:
            self._executioner.send(pid, signal.SIGKILL)
        deadline = noticed + _ANSWER_S
        while any(self._executioner.lives(pid) for pid in pids) and self._clock.now() < deadline:
            self._clock.sleep(TICK_S / 4)
        ending.release()
        return ending

    def _complaint(self, now: float, began: float) -> str:
        """Why the job must be ended now; empty if it need not be."""
        if now - self._looked < _LOOK_S:
            return ""
        self._looked = now
        if now - began > self.deadline_s:
            return f"the deadline of {self.deadline_s:g} s passed"
        steps = self.board.rows["step"].tobytes()
        progress = steps + self.board.rows["state"].tobytes() + self._journal_size()
        if progress != self._seen or steps == self._at_start:
            self._seen, self._last_move = progress, now
        if now - self._last_move > self.stall_s:
            return f"nothing moved for {self.stall_s:g} s"
        if self._all_have_ended():
            self._all_gone = self._all_gone or now
            if now - self._all_gone > _STUCK_MPIRUN_S:
                return MPIRUN_STUCK
        else:
            self._all_gone = None
        return ""

    def _journal_size(self) -> bytes:
        return b"%d" % sum(path.stat().st_size for path in (self.folder / job_spec.JOURNAL).iterdir())

    def _working(self) -> list[tuple[int, int]]:
        """Members and process ids of the ranks that have started and not left."""
        rows = self.board.rows
        return [(int(m), int(rows["pid"][m])) for m in np.flatnonzero(rows["state"] == WORKING)]

    def _all_have_ended(self) -> bool:
        came = bool((self.board.rows["state"] != 0).any())
        return came and not any(self._executioner.lives(pid) for _, pid in self._working())

    # -- waking and fencing
    def _wake(self, now: float) -> None:
        due = self.board.rows["wake_at"]
        if not due.any():  # at nearly every tick
            return
        for member in np.flatnonzero((due > 0) & (due <= now)):
            due[member] = 0.0
            self._executioner.send(int(self.board.rows["pid"][member]), signal.SIGCONT)

    def _fence(self, now: float) -> None:
        if self.suspects is None:
            return
        rows = self.board.rows
        beats = np.array(rows["beat"])
        silent: dict[int, int] = {}  # looks so far at each suspect
        for member in self.suspects(now):
            pid = int(rows["pid"][member])
            if member in self._fenced or rows["state"][member] == LEFT or not self._executioner.lives(pid):
                continue
            if self._executioner.runs(pid, int(rows["beats_from"][member])):
                # Its heartbeat thread waits for the interpreter, or for a core: a rank that computes is not dead.
                self.board.beat(member)
            elif rows["beat"][member] == beats[member]:  # else it has beaten since the detector looked
                silent[member] = self._silent.get(member, 0) + 1
                if silent[member] >= _LOOKS:
                    self._fenced[member] = now
                    self._executioner.send(pid, signal.SIGKILL)
        self._silent = silent

    def _kill_working(self) -> None:
        """Kill the ranks of an ended job, stopped ones last: their death would let the others recover and commit."""
        working = [pid for _, pid in self._working()]
        for pid in sorted(working, key=lambda pid: self._executioner.state(pid) == "T"):  # the others first
            self._executioner.send(pid, signal.SIGKILL)

    # -- hangs
    def _who_waits(self) -> list[str]:
        """A line for each living member: its step, whom it waits for, and where; full stacks go to the folder."""
        working = [(member, pid) for member, pid in self._working() if self._executioner.lives(pid)]
        for _, pid in working:
            self._executioner.send(pid, signal.SIGUSR1)
        # The handlers write on their own, on a busy machine when they get to it; a stopped process never answers.
        deadline = self._clock.now() + _ANSWER_S
        while self._clock.now() < deadline and not all(self._stack(member) for member, _ in working):
            self._clock.sleep(0.02)
        return [self._line(member, pid) for member, pid in working]

    def _line(self, member: int, pid: int) -> str:
        row = self.board.rows[member]
        peer = "no one rank" if row["peer"] == NO_RANK else f"rank {row['peer']}"
        letter = self._executioner.state(pid)
        state = " (stopped)" if letter == "T" else f" (state {letter or 'gone'})" if letter not in "RS" else ""
        return f"rank {member}{state} at step {row['step']} waits for {peer}: {self._where(member)}"

    def _stack(self, member: int) -> list[str]:
        """The frames of a member's stack dump, innermost first; empty until it is written."""
        try:
            lines = (self.folder / job_spec.STACKS / f"{member:03d}.txt").read_text().splitlines()
        except OSError:
            return []
        return [line.strip() for line in lines if line.strip().startswith("File") and "threading.py" not in line]

    def _where(self, member: int) -> str:
        return " < ".join(_short(frame) for frame in self._stack(member)[:3]) or "no stack"


def _short(frame: str) -> str:
    """Shorten ``File "/a/b.py", line 3 in f`` to ``b.py:3 f``."""
    path, _, rest = frame.removeprefix('File "').partition('", line ')
    number, _, name = rest.partition(" in ")
    return f"{Path(path).name}:{number} {name}"
