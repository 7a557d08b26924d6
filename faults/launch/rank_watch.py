"""What the launcher of a user's program sees of its ranks while it runs, and when it ends the launch because of that.

a rank was killed before all had begun their loop      end the launch, start it again
a rank ended itself before that, with a status > 0     end the launch: the others may wait for it for ever
a rank called Abort                                    end the launch
mpirun lost its own job                                end the launch: it will spawn no process any more
all ranks have ended, mpirun has not                   end the launch
all that live have come to the program's end           end the launch: MPI_Finalize hangs now and then after a death
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from faults.launch import live, rank_parent
from faults.launch.live import RanksAtWork
from faults.platform import LOCAL
from faults.record import outcome
from faults.record.outcome import Process

_LOST_JOB = b"LAUNCHER JOB OBJECT NOT FOUND"
EARLY = "before all ranks had begun their loop"
_LOOK_S = 0.05
_GRACE_S = 2.0  # in which the others may end by themselves


def parent_command(folder: Path, limit_s: float, survives: bool) -> list[str]:
    """The words before a rank's command that give it a parent.

    Parameters
    ----------
    folder
        Of the ranks' status files.
    limit_s
        A rank that is stopped for so many seconds is killed; 0: never.
    survives
        Whether the job goes on when a rank dies, so that no end of a rank may be missed.
    """
    how = "SIGNAL" if survives else "STATUS"
    return [sys.executable, "-I", "-S", rank_parent.__file__, str(folder), f"{limit_s:g}", how]


def environment(words: Sequence[str]) -> dict[str, str]:
    """The variable that lets ranks give a parent to those that they spawn."""
    return {outcome.PARENT: shlex.join(words)}


class RankWatch:
    """Looks at the status files of one launch.

    Attributes
    ----------
    why, late
        Why the launch was ended; empty if it ended by itself. Whether that was because of its deadline.
    """

    def __init__(
        self, folder: Path, ranks: int, deadline_s: float | None = None, at_work: RanksAtWork | None = None
    ) -> None:
        self.folder, self.ranks, self.why, self.late = folder, ranks, "", False
        self._at_work, self._deadline_s = at_work, math.inf if deadline_s is None else deadline_s
        self._clock = LOCAL.clock
        self._began = self._clock.now()
        self._looked = self._since = 0.0
        self._all_began = self._lost_job = False

    def line(self, text: bytes) -> None:
        """Read a line of mpirun's standard error."""
        self._lost_job = self._lost_job or _LOST_JOB in text

    def over(self) -> bool:
        """Whether the launch is to be ended now."""
        now = self._clock.now()
        if now - self._looked < _LOOK_S:
            return False
        self._looked = now
        if now - self._began > self._deadline_s and not self.late:
            self.late, self.why = True, f"no end within the deadline of {self._deadline_s:g} s"
            if self._at_work is not None:
                live.keep(self._at_work, f"Ranks when the launch was ended: {self.why}")
        if self.late:
            return True
        urgent, others_follow = self.reason(outcome.processes(self.folder))
        if others_follow:
            self._since = self._since or now
            if now - self._since > _GRACE_S:
                urgent = others_follow
        self.why = urgent
        return bool(urgent)

    def reason(self, processes: Sequence[Process]) -> tuple[str, str]:
        """Why the launch must be ended: at once; and unless it ends by itself, as after an error of all ranks."""
        if self._lost_job:
            return "mpirun has lost track of its job, as after many spawned processes", ""
        aborted = next((one for one in processes if one.said == outcome.ABORTED and one.code is not None), None)
        if aborted:
            return aborted.how, ""
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


def lost_early(processes: Sequence[Process], ranks: int) -> Process | None:
    """The first rank to end, if it was killed before all had begun their loop: a new launch may do better."""
    if sum(one.began for one in processes) >= ranks:
        return None
    # The others may have ended since because of it: mpirun kills them, or they lose the connection to it.
    first = min((one for one in processes if one.code), key=lambda one: one.at, default=None)
    return first if first is not None and first.killed else None


def _ended_itself(process: Process) -> bool:
    return process.code is not None and not process.killed and process.code != 0
