"""Starting a program that recovers, and judging it by what its ranks say of it.

mpirun's exit status proves nothing where ranks may die: it is 0 after a kill, and 0 after an error in the program that
ended every rank. So the only success is a verdict (`faults.record.outcome`), and a job without one ends with a status
above 0.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from emulator.launch import foreground, mpirun
from faults import policies
from faults.record import outcome

POLICIES = tuple(policies.POLICIES)
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
    recovery = policies.of(policy)
    arguments = mpirun.command(ranks, program, ft=recovery.needs_ulfm)
    for number in range(launches):
        with tempfile.TemporaryDirectory(prefix="verdicts-") as folder:
            try:
                status = foreground.run_filtered(arguments, extra_env={outcome.FOLDER: folder}, deadline_s=deadline_s)
            except TimeoutError:
                print(f"error: not recovered: no end within the deadline of {deadline_s:g} s", file=sys.stderr)
                return NOT_RECOVERED
            said = outcome.words(Path(folder))
        if outcome.succeeded(said):
            return status if 0 < status < 128 and not recovery.spawns else 0
        if status in _TOLD_TO_END:
            return status
        if not said or outcome.failed(said) or not recovery.relaunches:
            return _failed(said, status)
        if number + 1 < launches:
            print(f"a rank died: launch {number + 2} of at most {launches}", file=sys.stderr, flush=True)
    print(f"error: no verdict after {launches} launches: see why ranks die, or allow more", file=sys.stderr)
    return NOT_RECOVERED


def _failed(said: Sequence[str], status: int) -> int:
    """Say why there is no verdict, if nobody has said it, and with which status to end."""
    if outcome.failed(said):
        return status if 0 < status < 128 else 1
    if not said and status == 0:
        why = "no rank has used faults.recovering, routing or restarting, which leave a verdict: see examples/recovery"
        print(f"error: {why}", file=sys.stderr)
    elif said:
        print("error: not recovered: every rank ended before the last step", file=sys.stderr)
    return status if 0 < status < 128 else NOT_RECOVERED
