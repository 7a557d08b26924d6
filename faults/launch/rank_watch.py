"""The launcher's watch over the ranks of a user's program: what it sees of them, and when it ends the launch.

a rank was killed before all had begun their loop      end the launch, start it again
a rank ended itself before that, with a status > 0     end the launch: the others may wait for it for ever
a rank called Abort, or no rank can do its step        end the launch
mpirun lost its own job                                end the launch: it will spawn no process any more
Open MPI ended the job for a send to a dead rank       end the launch, start it again: no error handler is asked there
all ranks have ended, mpirun has not                   end the launch
all that live have come to the program's end           end the launch: MPI_Finalize hangs now and then after a death
a repair does not move on, and no rank computes        end the launch, start it again: of two deaths close together
                                                       Open MPI's calls that build communicators hang now and then
others wait for one that stays in a step               print the line of its program that it is at, and wait on
"""

from __future__ import annotations

import math
import os
import shlex
import signal
import sys
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from emulator.core import wall_clock
from faults.launch import live, rank_parent
from faults.launch.live import RanksAtWork
from faults.platform import LOCAL
from faults.record import outcome, stack_dump
from faults.record.outcome import Process

Mark = TypeVar("Mark", bound=Hashable)
_LOST_JOB = b"LAUNCHER JOB OBJECT NOT FOUND"
_SEND_TO_THE_DEAD = b"Send error after request freed"
EARLY = "before all ranks had begun their loop"
TOLD_TO_END = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
"""Exit statuses of a program that was told to end."""
_LOOK_S = 0.05
_GRACE_S = 2.0  # in which the others may end by themselves
STALL_S = 20.0
"""Longest time in which a repair does not move on, with 8 ranks per core or less: a spawn there takes a second at most,
and a rank whose spawn hangs ends after 15 s, whereupon another one spawns."""
_STALL_LOOK_S = 0.5
_RANKS_PER_CORE = 8


def parent_command(folder: Path, limit_s: float, survives: bool) -> list[str]:
    """The start of a rank's command that runs it under a rank parent.

    Parameters
    ----------
    folder : of the ranks' status files
    limit_s : a rank that is stopped for so many seconds is killed; 0: never
    survives : whether the job goes on when a rank dies, so that no end of a rank may be missed
    """
    how = "SIGNAL" if survives else "STATUS"
    return [sys.executable, "-I", "-S", rank_parent.__file__, str(folder), f"{limit_s:g}", how]


def environment(words: Sequence[str]) -> dict[str, str]:
    """The variable by which ranks give a rank parent to processes that they spawn."""
    return {outcome.PARENT: shlex.join(words)}


class RankWatch:
    """Watches the status files of one launch.

    Attributes
    ----------
    why, late : why the launch ended; empty if it did by itself. Whether that was because of its deadline.
    stalled : whether that was because of a repair that did not move on, or of Open MPI itself
    """

    def __init__(
        self, folder: Path, ranks: int, deadline_s: float | None = None, at_work: RanksAtWork | None = None
    ) -> None:
        self.folder, self.ranks, self.why, self.late, self.stalled = folder, ranks, "", False, False
        self._at_work, self._deadline_s = at_work, math.inf if deadline_s is None else deadline_s
        self._clock = LOCAL.clock
        self._began = self._clock.now()
        self._looked = self._since = self._compared = 0.0
        self._still: dict[Hashable, float] = {}  # seconds for which a mark has been the same
        self._away: dict[tuple[int, int], float] = {}  # seconds for which others have waited for a rank in that step
        self._told: dict[int, bool] = {}  # of ranks that were asked where they are, whether that was printed
        self._all_began = self._lost_job = False

    def line(self, text: bytes) -> None:
        """Read a line of mpirun's standard error for known errors."""
        self._lost_job = self._lost_job or _LOST_JOB in text
        if _SEND_TO_THE_DEAD in text and not self.stalled:
            self.stalled = True
            self.why = "Open MPI ended the job because a message that had been sent did not reach a dead rank"

    def over(self) -> bool:
        """Whether the launch must be ended now."""
        now = self._clock.now()
        if now - self._looked < _LOOK_S:
            return False
        self._looked = now
        if now - self._began > self._deadline_s and not self.late:
            self.late = True
            self._end(f"no end within the deadline of {self._deadline_s:g} s")
        elif self._repair_stands_still(now):
            self.stalled = True
            self._end(f"a repair did not move on for {self._stall_s():.0f} s")
        if self.late or self.stalled:
            return True
        urgent, others_follow = self.reason(outcome.processes(self.folder))
        if others_follow:
            self._since = self._since or now
            if now - self._since > _GRACE_S:
                urgent = others_follow
        self.why = urgent
        return bool(urgent)

    def ended(self, status: int) -> None:
        """Note that mpirun was killed, which also kills its ranks and their parents, so that no end is recorded.

        By the signals that tell a program to end it was not killed, but told so.
        """
        if status < 0 and 128 - status not in TOLD_TO_END and not self.why:
            self.why = f"mpirun was killed by {signal.Signals(-status).name}, and its ranks with it"

    def _end(self, why: str) -> None:
        self.why = why
        if self._at_work is not None:
            live.keep(self._at_work, f"Ranks when the launch was ended: {why}")

    def _stall_s(self) -> float:
        """Seconds without progress after which a repair counts as hung."""
        return STALL_S * max(1.0, max(self.ranks, os.getloadavg()[0]) / wall_clock.cores() / _RANKS_PER_CORE)

    def _repair_stands_still(self, now: float) -> bool:
        """Whether a repair makes no progress for long, and no rank computes.

        A long pause between two looks does not count: the launcher was stopped then, with its job perhaps (Ctrl-Z).
        """
        passed = min(now - self._compared, 2 * _STALL_LOOK_S)
        if self._at_work is None or self.stalled or passed < _STALL_LOOK_S:
            return False
        self._compared = now
        self._still = _longer(self._still, passed, self._at_work.waiting())
        self._away = _longer(self._away, passed, self._at_work.awaited().items())
        self._name_the_awaited(self._at_work)
        return max(self._still.values(), default=0.0) > self._stall_s()

    def _name_the_awaited(self, at_work: RanksAtWork) -> None:
        """Print once for each rank where it is when others have waited for it for so long; it answers until the next
        look."""
        for (member, step), seconds in self._away.items():
            told = self._told.get(member)
            if seconds < self._stall_s() or told:
                continue
            self._told[member] = told is not None
            if told is None:
                stack_dump.ask(self.folder, member, int(at_work.board.rows["pid"][member]))
                continue
            where = stack_dump.line_of(self.folder, member)
            print(
                f"a rank has died, and others wait for rank {member}, in step {step} for over {self._stall_s():.0f} s"
                f"{' at ' + where if where else ''}: it computes, or waits outside of job.comm, which no repair ends",
                file=sys.stderr,
                flush=True,
            )

    def reason(self, processes: Sequence[Process]) -> tuple[str, str]:
        """Why the launch must be ended: at once; and after a grace period unless it ends by itself."""
        if self._lost_job:
            return "mpirun has lost track of its job, as after many spawned processes", ""
        ender = next((one for one in processes if one.said in outcome.END_ALL), None)  # it waits for its end
        if ender:
            return ender.how, ""
        self._all_began = self._all_began or sum(one.began for one in processes) >= self.ranks
        if not self._all_began and (lost := lost_early(processes, self.ranks)):
            return f"{lost.how} {EARLY}", ""
        ended = [one for one in processes if one.code is not None]
        itself = next((one for one in ended if _ended_itself(one)), None)
        if itself and not self._all_began:
            return "", f"{itself.how} {EARLY}"
        if len(ended) >= max(self.ranks, len(processes)):
            return "", "mpirun did not end with its ranks"
        if self._all_began and all(one.said == outcome.LEFT for one in processes if one.code is None):
            return "", "ranks did not end with their program"
        return "", ""


def _longer(before: dict[Mark, float], passed: float, marks: Iterable[Mark]) -> dict[Mark, float]:
    """Add `passed` seconds to each mark that is still there, and begin new marks at 0."""
    return {mark: before.get(mark, -passed) + passed for mark in marks}


def lost_early(processes: Sequence[Process], ranks: int) -> Process | None:
    """The first rank to end, if it was killed before all had begun their loop; a new launch may succeed."""
    if sum(one.began for one in processes) >= ranks:
        return None
    # The others may have ended since because of it: mpirun kills them, or they lose the connection to it.
    first = min((one for one in processes if one.code), key=lambda one: one.at, default=None)
    return first if first is not None and first.killed else None


def _ended_itself(process: Process) -> bool:
    return process.code is not None and not process.killed and process.code != 0
