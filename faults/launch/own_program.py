"""Run a user's own program so that it survives rank failures; the exit status says whether it finished.

mpirun's exit status proves nothing where ranks may die: it is 0 after a kill, and 0 after an error in the program that
ended every rank. So success is read from the ranks' status files (`faults.record.outcome`); without it the exit status
is above 0.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from emulator.commands.program import exists
from emulator.errors import UsageError
from emulator.launch import foreground, mpirun
from emulator.results.files import check_writable, replacing
from emulator.units import format_time
from faults import policies
from faults.platform import LOCAL
from faults.policies import Policy
from faults.record import outcome

LAUNCHES = 25
NOT_RECOVERED = 3
_TOLD_TO_END = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


def run(
    program: Sequence[str],
    ranks: int,
    policy: str = "shrink",
    launches: int = LAUNCHES,
    deadline_s: float | None = None,
    json_file: str | None = None,
) -> int:
    """Run a program of one's own that uses `recovering`, `routing` or `restarting`; its output is passed on.

    Parameters
    ----------
    program
        What Python is told to run: ``["program.py", "--rate", "0.1"]`` or ``["-m", "package.module"]``.
    ranks
        Processes to start, spares included.
    policy
        ``"restart"`` starts the job again when ranks were killed; under the others the job itself goes on.
    launches
        Most times that it is started.
    deadline_s
        Longest time for one launch, after which it is ended; absent: none, and a job that hangs is waited for.
    json_file
        Where to write the exit status, the number of launches and every recovery; absent: nowhere.

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
    check_program(program)
    check_writable(json_file)
    arguments = mpirun.command(ranks, program, ft=chosen.needs_ulfm)
    found: list[dict[str, Any]] = []
    began = LOCAL.clock.now()
    for number in range(launches):
        status = _launch(arguments, chosen, deadline_s, began, found, first=number == 0)
        if json_file is not None:
            ended = NOT_RECOVERED if status is None else status
            record = {"policy": policy, "status": ended, "launches": number + 1, "recoveries": found}
            with replacing(json_file) as waiting:
                waiting.write_text(json.dumps(record))
        if status is not None:
            return status
        if number + 1 < launches:
            after = format_time(LOCAL.clock.now() - began)
            _say(f"a rank died: launch {number + 2} of at most {launches}, {after} after the start")
    _say(f"error: not finished after {launches} launches: see why ranks die, or allow more")
    return NOT_RECOVERED


def _launch(
    arguments: Sequence[str], policy: Policy, deadline_s: float | None, began: float, found: list[Any], first: bool
) -> int | None:
    """Start the program once and add its recoveries to `found`; the status to end with, None to start it again."""
    launched = LOCAL.clock.now()
    with tempfile.TemporaryDirectory(prefix="status-") as folder:
        try:
            status = foreground.run_filtered(arguments, extra_env={outcome.FOLDER: folder}, deadline_s=deadline_s)
        except TimeoutError:
            _say(f"error: not recovered: no end within the deadline of {deadline_s:g} s")
            return NOT_RECOVERED
        said, told = outcome.words(Path(folder)), outcome.told(Path(folder))
    new = recoveries(told, began, None if first else launched)
    for facts in new:
        _say(in_words(facts))
    found += new
    if outcome.succeeded(said):
        return status if 0 < status < 128 and not policy.spawns else 0
    if status in _TOLD_TO_END:
        return status
    if not said or outcome.failed(said) or not policy.relaunches:
        return _failed(said, status)
    return None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def check_program(program: Sequence[str]) -> None:
    """Refuse a program that Python could not begin to run.

    Raises
    ------
    UsageError
        No such file or module, a folder without ``__main__.py``, or a file that cannot be read.
    """
    name = program[0] if program else ""
    if name == "-m":
        if len(program) < 2 or not exists(program[1]):
            raise UsageError(
                f"-m takes a module that can be run, got {' '.join(program[1:2]) or 'nothing'}: see PYTHONPATH"
            )
        return
    if name.startswith("-"):
        return  # one of Python's own options
    path = Path(name)
    if path.is_dir() and not (path / "__main__.py").exists():
        raise UsageError(f"a program is a Python file, {name} is a folder: name a file in it")
    if not path.exists() or not os.access(path, os.R_OK):
        what = "cannot be read" if path.exists() else "does not exist"
        raise UsageError(f"a program is a Python file, {name!r} {what}: check the path, or give -m MODULE")


def recoveries(told: Sequence[dict[str, Any]], began: float, relaunched: float | None = None) -> list[dict[str, Any]]:
    """What happened in each recovery, as in the file of ``--json``; times in seconds since the start.

    Parameters
    ----------
    told
        Records of all ranks (`outcome.tell`): those of one recovery name the same dead ranks.
    began, relaunched
        When the program was started, and when its present launch was, if that is not the first.
    """
    seen: dict[Any, list[dict[str, Any]]] = {}
    for record in sorted((one for one in told if "dead" in one), key=itemgetter("at")):
        seen.setdefault((tuple(record["dead"]), record.get("step")), []).append(record)
    found = []
    for (dead, step), of in seen.items():
        facts = {"dead": list(dead), "at": of[0]["at"] - began, "ranks": of[-1]["ranks"], "step": step}
        if step is not None:
            lost = max(step - min(one["back_to"] for one in of), 0)
            facts |= {"policy": of[0]["policy"], "seconds": max(one["seconds"] for one in of), "lost_steps": lost}
        found.append(facts)
    resumed = [one for one in told if "resumed" in one]
    if relaunched is not None and resumed:
        at = max(one["at"] for one in resumed)
        found.append({"resumed": resumed[0]["resumed"], "at": at - began, "seconds": at - relaunched})
    return found


def in_words(facts: dict[str, Any]) -> str:
    """A line about one recovery: which ranks died when, how the job went on, and what it cost."""
    if "resumed" in facts:
        return f"restart: went on from step {facts['resumed']} after {format_time(facts['seconds'])}"
    dead, step = facts["dead"], facts["step"]
    who = f"rank{'s' if len(dead) > 1 else ''} {', '.join(map(str, dead))}" if dead else "a rank that waited"
    line = f"{who} died{'' if step is None else f' in step {step}'}, {format_time(facts['at'])} after the start: "
    if step is None:
        return f"{line}the other {facts['ranks']} went on without"
    cost = format_time(facts["seconds"])
    return (
        f"{line}{facts['policy']}, {facts['ranks']} ranks went on after {cost}, {facts['lost_steps']} steps done again"
    )


def _failed(said: Sequence[str], status: int) -> int:
    """Print why the program did not finish, if no rank has; returns the exit status."""
    if outcome.failed(said):
        return status if 0 < status < 128 else 1
    if not said and status == 0:
        why = "no rank has used faults.recovering, routing or restarting, which write status: see examples/recovery"
        _say(f"error: {why}")
    elif said:
        _say("error: not recovered: every rank ended before the last step")
    return status if 0 < status < 128 else NOT_RECOVERED
