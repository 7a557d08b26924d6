"""Run a user's own program so that it survives rank failures; the exit status says whether it finished.

mpirun's exit status proves nothing where ranks may die: it is 0 after a kill, and 0 after an error in the program that
ended every rank. So success is read from the ranks' status files (`faults.record.outcome`); without it the exit status
is above 0.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emulator.commands.program import exists
from emulator.errors import UsageError
from emulator.launch import foreground, mpirun
from emulator.units import format_time
from faults import policies
from faults.platform import LOCAL
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

    Returns
    -------
    0 if the program came to its end; else its own status, 1 if it failed without one, 3 if it did not recover, 128 + n
    if signal n ended this launcher or, by SIGINT, SIGTERM or SIGHUP, a rank.

    Raises
    ------
    UsageError
        An unknown policy, no rank, or one that needs ULFM where the MPI has none.
    """
    chosen = policies.of(policy)
    check_program(program)
    arguments = mpirun.command(ranks, program, ft=chosen.needs_ulfm)
    began = LOCAL.clock.now()
    for number in range(launches):
        launched = LOCAL.clock.now()
        with tempfile.TemporaryDirectory(prefix="status-") as folder:
            try:
                status = foreground.run_filtered(arguments, extra_env={outcome.FOLDER: folder}, deadline_s=deadline_s)
            except TimeoutError:
                print(f"error: not recovered: no end within the deadline of {deadline_s:g} s", file=sys.stderr)
                return NOT_RECOVERED
            said, told = outcome.words(Path(folder)), outcome.told(Path(folder))
        for line in recoveries(told, began, launched if number else None):
            print(line, file=sys.stderr, flush=True)
        if outcome.succeeded(said):
            return status if 0 < status < 128 and not chosen.spawns else 0
        if status in _TOLD_TO_END:
            return status
        if not said or outcome.failed(said) or not chosen.relaunches:
            return _failed(said, status)
        if number + 1 < launches:
            after = format_time(LOCAL.clock.now() - began)
            print(
                f"a rank died: launch {number + 2} of at most {launches}, {after} after the start",
                file=sys.stderr,
                flush=True,
            )
    print(f"error: not finished after {launches} launches: see why ranks die, or allow more", file=sys.stderr)
    return NOT_RECOVERED


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


def recoveries(told: Sequence[dict[str, Any]], began: float, relaunched: float | None = None) -> list[str]:
    """A line for each recovery: which ranks died when, how the job went on, and what it cost.

    Parameters
    ----------
    told
        Records of all ranks (`outcome.tell`): those of one recovery name the same dead ranks.
    began, relaunched
        When the program was started, and when its present launch was, if that is not the first.
    """
    lines: list[str] = []
    seen: dict[Any, list[dict[str, Any]]] = {}
    for record in sorted((one for one in told if "dead" in one), key=lambda one: one["at"]):
        seen.setdefault((tuple(record["dead"]), record.get("step")), []).append(record)
    for (dead, step), of in seen.items():
        who = f"rank{'s' if len(dead) > 1 else ''} {', '.join(map(str, dead))}" if dead else "a rank that waited"
        when = "" if step is None else f" in step {step}"
        line = f"{who} died{when}, {format_time(of[0]['at'] - began)} after the start: "
        if step is None:
            lines.append(f"{line}the other {of[-1]['ranks']} went on without")
            continue
        cost = format_time(max(one["seconds"] for one in of))
        lost = max(step - min(one["back_to"] for one in of), 0)
        lines.append(f"{line}{of[0]['policy']}, {of[-1]['ranks']} ranks went on after {cost}, {lost} steps done again")
    resumed = [one for one in told if "resumed" in one]
    if relaunched is not None and resumed:
        cost = format_time(max(one["at"] for one in resumed) - relaunched)
        lines.append(f"restart: went on from step {resumed[0]['resumed']} after {cost}")
    return lines


def _failed(said: Sequence[str], status: int) -> int:
    """Print why the program did not finish, if no rank has; returns the exit status."""
    if outcome.failed(said):
        return status if 0 < status < 128 else 1
    if not said and status == 0:
        why = "no rank has used faults.recovering, routing or restarting, which write status: see examples/recovery"
        print(f"error: {why}", file=sys.stderr)
    elif said:
        print("error: not recovered: every rank ended before the last step", file=sys.stderr)
    return status if 0 < status < 128 else NOT_RECOVERED
