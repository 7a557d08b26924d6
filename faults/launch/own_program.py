"""Run a user's own program so that it survives rank failures; the exit status says whether it finished.

mpirun's exit status proves nothing where ranks may die: it is 0 after a kill, and 0 after an error in the program that
ended every rank. So success is read from the ranks' status files (`faults.record.outcome`); without it the exit status
is above 0.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import policies
from emulator.errors import UsageError
from emulator.launch import foreground, mpirun
from emulator.policies import Policy
from emulator.results.files import check_writable, replacing
from emulator.run.user_program import exists
from emulator.units import format_time
from faults import detect
from faults.launch import live
from faults.launch.live import RanksAtWork
from faults.launch.rank_watch import EARLY, TOLD_TO_END, RankWatch, environment, lost_early, parent_command
from faults.launch.recoveries import in_words, recoveries
from faults.platform import LOCAL
from faults.record import outcome
from faults.record.outcome import NOT_RECOVERED, Process
from faults.record.status_board import StatusBoard

LAUNCHES = 25
_BEGINNINGS = 5  # launches that may lose a rank before its loop, or their mpirun
_LIMIT_S = 1.0
_SHOWN = 4
_NO_ENDS = "mpirun ended, and its ranks with it"


def run(
    program: Sequence[str],
    ranks: int,
    policy: str = "shrink",
    launches: int = LAUNCHES,
    deadline_s: float | None = None,
    json_file: str | None = None,
    limit_s: float | None = None,
    traces: Path | None = None,
    trace_limit: int | None = None,
    seen: Callable[[dict[str, Any]], object] = lambda record: None,
) -> int:
    """Run a user's program that calls `recovering`, `routing` or `restarting`; its output is forwarded.

    Parameters
    ----------
    program : what Python is told to run: ``["program.py", "--rate", "0.1"]`` or ``["-m", "package.module"]``
    ranks : processes to start, spares included
    policy : ``"restart"`` starts the job again when ranks were killed; under the others the job itself goes on
    launches : most times that it is started
    deadline_s : longest time for one launch, after which it is ended; absent: none, and a job that hangs is waited for
    json_file : where to write the exit status, the number of launches, every recovery and every rank's end; absent:
        nowhere
    limit_s : a rank that is stopped (SIGSTOP) for so many seconds is killed; 0: never; absent: 1, or more on a busy
        machine
    traces, trace_limit : run folder in which each rank records what it does when, and events of a rank that are kept;
        absent: nothing is recorded, and so many as suit the number of ranks
    seen : called after each launch with what `json_file` gets

    Returns
    -------
    0 if the program came to its end; else its own status, 1 if it failed without one, 3 if it did not recover, 128 + n
    if signal n ended this launcher or, by SIGINT, SIGTERM or SIGHUP, a rank.

    Raises
    ------
    UsageError
        An unknown policy, no rank, one that needs ULFM where the MPI has none, or a file that cannot be written.
    """
    chosen = policies.of(policy)
    check_program(program, traces is not None)
    check_writable(json_file)
    limit = max(_LIMIT_S, detect.limit_for(ranks)) if limit_s is None else limit_s
    job = _Job(mpirun.command(ranks, program, ft=chosen.needs_ulfm), ranks, len(program) + 1, chosen, deadline_s, limit)
    job.traces, job.trace_limit = traces, trace_limit
    for number in range(launches):
        status = job.launch(number)
        ended = NOT_RECOVERED if status is None else status
        record = {"policy": policy, "status": ended, "launches": number + 1}
        record |= {"recoveries": job.recoveries, "ends": job.ends}
        seen(record)
        if json_file is not None:
            with replacing(json_file) as waiting:
                waiting.write_text(json.dumps(record))
        if status is not None:
            return status
        if number + 1 < launches:
            after = format_time(LOCAL.clock.now() - job.began)
            most = min(launches, number + 2 + job.left)
            _say(f"{job.why}: launch {number + 2} of at most {most}, {after} after the start")
    _say(f"error: not finished after {launches} launches: see why ranks die, or allow more")
    return NOT_RECOVERED


@dataclass
class _Job:
    """The launches of a user's program and their outcome.

    Attributes
    ----------
    why, left : why the last launch is to be followed by another one, and by how many more for this reason
    """

    arguments: list[str]
    ranks: int
    words: int  # of the arguments, that are the program
    policy: Policy
    deadline_s: float | None
    limit_s: float
    began: float = field(default_factory=LOCAL.clock.now)
    recoveries: list[dict[str, Any]] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)
    early: int = 0
    why: str = ""
    left: int = sys.maxsize
    traces: Path | None = None
    trace_limit: int | None = None

    def launch(self, number: int) -> int | None:
        """Start the program once and return the status to end with, None to start it again."""
        launched = LOCAL.clock.now()
        with tempfile.TemporaryDirectory(prefix="status-") as folder:
            at_work = RanksAtWork(_board(Path(folder), self.ranks), self.ranks)
            watch = RankWatch(Path(folder), self.ranks, self.deadline_s, at_work)
            parent, received = parent_command(Path(folder), self.limit_s, self.policy.needs_ulfm), list[int]()
            arguments = [*self.arguments[: -self.words], *parent, *self._program(number)]
            with live.shown(at_work):
                status = foreground.run_filtered(
                    arguments,
                    extra_env={outcome.FOLDER: folder, **environment(parent)},
                    watch=watch,
                    received=received,
                    write=live.write(),
                )
            processes, told = outcome.processes(Path(folder)), outcome.told(Path(folder))
        new = recoveries(told, self.began, launched if number else None, processes)
        for facts in new:
            _say(in_words(facts))
        self.recoveries += new
        self.ends += [
            {"rank": one.rank, "launch": number + 1, "at": one.at - self.began, "how": one.how}
            for one in processes
            if one.code is not None
        ]
        if received:  # what the ranks did then says nothing
            return status
        if watch.late:
            _say(f"error: not recovered: {watch.why}")
            return NOT_RECOVERED
        return self._judge(processes, status, watch.why, watch.stalled)

    def _program(self, number: int) -> list[str]:
        """The command line of a rank: Python and the program, or the runner that also records events."""
        python, *program = self.arguments[-self.words :]
        if self.traces is None:
            return [python, *program]
        about = map(str, (self.traces.resolve(), number, self.ranks, self.trace_limit or 0))
        return [python, "-m", "faults.launch.traced_program", *about, *program]

    def _judge(self, processes: list[Process], status: int, ended_for: str, stalled: bool = False) -> int | None:
        said = [one.word for one in processes if one.word]
        own = max((one.code for one in processes if one.code and one.word in (outcome.LEFT, "")), default=0)
        if not outcome.END_ALL.isdisjoint(said):  # even if the others came to the end meanwhile
            return failed(processes, status, own)
        if outcome.succeeded(said) and not stalled:
            return max(own, 0)
        if status in TOLD_TO_END and not ended_for:
            return status
        why = self._not_by_itself(processes, ended_for, stalled)
        if why and self.early < _BEGINNINGS:
            self.early += 1
            self.why, self.left = why, _BEGINNINGS - self.early
            return None
        killed = sorted((one for one in processes if one.killed), key=lambda one: one.at)
        if not said or outcome.failed(said) or not self.policy.relaunches:
            return failed(processes, status, own, ended_for, stalled)
        self.why, self.left = ended_for or (killed[0].how if killed else _NO_ENDS), sys.maxsize
        return None

    def _not_by_itself(self, processes: list[Process], ended_for: str, stalled: bool) -> str:
        """Why the launch failed, if that is no fault of the program and no policy recovers from it; else empty."""
        if lost := lost_early(processes, self.ranks):
            return f"{lost.how} {EARLY}"
        said = {one.word for one in processes if one.began}
        if said & {outcome.LEFT, outcome.REACHED}:
            return ""
        if not stalled and (not (self.policy.spawns and said) or outcome.failed([*said])):
            return ""
        # A death at the moment of a spawn may crash Open MPI's mpirun, or ranks within MPI_Comm_shrink.
        killed = min((one for one in processes if one.killed), key=lambda one: one.at, default=None)
        return ended_for or (killed.how if killed else _NO_ENDS)


def _board(folder: Path, ranks: int) -> StatusBoard:
    """Make a status board with rows for processes that are spawned later."""
    (folder / outcome.MEMBERS).mkdir()
    return StatusBoard.create(folder / outcome.BOARD, ranks + outcome.MOST_SPAWNED, 0)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


_PYTHONS = ("--check-hash-based-pycs", "--help", "--version")


def check_program(program: Sequence[str], traced: bool = False) -> None:
    """Refuse a program that Python cannot start, or that cannot be traced.

    Raises
    ------
    UsageError
        No such file or module, a folder without ``__main__.py``, a file that cannot be read, an option that Python does
        not have, or one that it has before a program that is to be traced.
    """
    name = program[0] if program else ""
    if name == "-m":
        if len(program) < 2 or not exists(program[1]):
            raise UsageError(
                f"-m takes a module that can be run, got {' '.join(program[1:2]) or 'nothing'}: see PYTHONPATH"
            )
        return
    if name.startswith("--") and not name.startswith(_PYTHONS):
        raise UsageError(f"neither faults run nor Python has an option {name}: see python -m faults run -h")
    if name.startswith("-"):  # one of Python's own options
        if traced:
            raise UsageError(f"--trace records a Python file or -m MODULE, got Python's option {name}: leave it out")
        return
    path = Path(name)
    if path.is_dir() and not (path / "__main__.py").exists():
        raise UsageError(f"a program is a Python file, {name} is a folder: name a file in it")
    if not path.exists() or not os.access(path, os.R_OK):
        what = "cannot be read" if path.exists() else "does not exist"
        raise UsageError(f"a program is a Python file, {name!r} {what}: check the path, or give -m MODULE")


def failed(processes: Sequence[Process], status: int, own: int, ended_for: str = "", stalled: bool = False) -> int:
    """Print why the program did not finish, unless a rank has printed it, and return the exit status.

    Parameters
    ----------
    status, own : exit status of mpirun, and the program's own
    ended_for, stalled : why the launch was ended, and whether because of a repair that did not move on
    """
    said = [one.word for one in processes if one.word]
    wanted = max((one.status for one in processes), default=0) or max(own, 0)
    after_loop = [one for one in processes if one.word == outcome.REACHED]
    if after_loop and outcome.END_ALL.isdisjoint(said) and not stalled:
        ended = f"{said.count(outcome.LEFT)} of {len(said)} processes came to the end of the program"
        how = _list(after_loop, ended_for)
        _say(f"error: all steps are done, but {how} after the loop; a result may be missing: {ended}")
    elif ended_for:
        _say(f"error: not recovered: {ended_for}")
    elif said and not outcome.failed(said):
        _say(f"error: not recovered: every rank ended before the last step: {_list(processes)}")
    elif not said and status == 0 and not own:
        why = "no rank has used faults.recovering, routing or restarting, which write status: see examples/recovery"
        _say(f"error: {why}")
    elif not said and not own:
        _say(f"error: not recovered: no rank had begun its loop: {_list(processes)} (status {status})")
    if outcome.failed(said):
        return wanted or 1
    return wanted or (status if 0 < status < 128 else NOT_RECOVERED)


def _list(processes: Sequence[Process], ended_for: str = "") -> str:
    """Describe how some processes ended; if none has, why the launch ended."""
    shown = [one.how for one in processes if one.code is not None]
    if not shown:
        return ended_for or _NO_ENDS
    return "; ".join(shown[:_SHOWN]) + (f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
