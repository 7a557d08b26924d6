"""Random kills in the small programs: ``python -m tests.faults.programs.soak --kills 100 --seed 1``.

Each job runs one program under one policy with one to three kills, in the loop or before it, by timers of the kernel.
It must print the right total with exit status 0 and leave no process; a rank that was killed behind its last step may
cost rank 0's line, which the launcher then says.
"""

from __future__ import annotations

import collections
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil

from tests.faults.programs import KILLS, NET, STEPS

PROGRAMS = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "loop", "soak")
)
STEPS_IN_SOAK = 150
DEADLINE_S, SLOW_S = 120, 40
BEHIND = "error: all steps are done, but rank"
STALLED = "a repair did not move on for "
WELL = {"right", "behind", "right after a stall"}


@click.command()
@click.option("--kills", default=100)
@click.option("--seed", default=1)
@click.option("-n", "ranks", default=5)
@click.option("--minutes", default=60.0, help="No job begins after that.")
@click.option("--early", default=0.15, help="Share of kills that strike before the loop.")
@click.option("--within", default=1.0, help="Seconds in which all kills of a job strike that do so in the loop.")
@click.option("--policies", default="shrink,spare,respawn,rejoin")
def main(kills: int, seed: int, ranks: int, minutes: float, early: float, within: float, policies: str) -> None:
    """Run jobs until so many kills are planned; exit status 1 if one hung, was wrong or left a process."""
    draw, planned, tally = random.Random(seed), 0, collections.Counter[str]()
    until = time.monotonic() + 60 * minutes
    while planned < kills and time.monotonic() < until:
        job = draw.getrandbits(32)
        count = draw.choice((1, 1, 2, 3))
        planned += count
        found, seconds, text = run(random.Random(job), ranks, count, early, within, policies.split(","))
        tally[found] += 1
        if found not in WELL or seconds > SLOW_S:
            print(f"{found}, {seconds:.1f} s: {text}", flush=True)
        print(f"{planned} kills, {dict(tally)}, last {seconds:.1f} s", flush=True)
    sys.exit(0 if set(tally) <= WELL else 1)


def run(
    draw: random.Random, ranks: int, count: int, early: float, within: float, policies: list[str]
) -> tuple[str, float, str]:
    """One job: what came of it, seconds, and what it was."""
    program, policy = draw.choice(PROGRAMS), draw.choice(policies)
    emulated = {NET: "1gbe"} if policy not in ("respawn", "rejoin") and draw.random() < 0.3 else {}
    victims = draw.sample(range(ranks), count)
    began = draw.uniform(0, 1 - within)
    kills = [f"{victim}@{_instant(draw, early, began, began + within)}" for victim in victims]
    command = [
        sys.executable,
        "-m",
        "faults",
        "run",
        "-n",
        str(ranks),
        "--recovery",
        policy,
        "--deadline",
        f"{DEADLINE_S} s",
    ]
    command += ["-m", f"tests.faults.programs.{program}", policy, draw.choice("01")]
    with tempfile.TemporaryDirectory() as folder:
        marked = os.environ | {KILLS: ",".join(kills), "SOAK_FOLDER": folder, STEPS: str(STEPS_IN_SOAK)} | emulated
        began = time.monotonic()
        done = subprocess.run(command, env=marked, capture_output=True, text=True, timeout=6 * DEADLINE_S)
        seconds = time.monotonic() - began
        left = [one for one in psutil.process_iter() if _mark(one) == folder]
    what = (
        f"{' '.join(command[3:])} {marked[KILLS]} {emulated}: {done.returncode} {done.stdout!r} {done.stderr[-600:]!r}"
    )
    if left:
        return "left", seconds, f"{what} {left}"
    if "deadline" in done.stderr:
        return "hung", seconds, what
    right = f"{STEPS_IN_SOAK} steps, total {STEPS_IN_SOAK:.3f}\n"
    if done.returncode == 3 and BEHIND in done.stderr and done.stdout in ("", right):
        return "behind", seconds, what
    if done.returncode == 0 and done.stdout != right and "@loop" in marked[KILLS] and not done.stdout:
        return "silent", seconds, what
    if (done.returncode, done.stdout) != (0, right):
        return "wrong", seconds, what
    return "right after a stall" if STALLED in done.stderr else "right", seconds, what


def _instant(draw: random.Random, early: float, first: float, last: float) -> str:
    if draw.random() < early:
        return f"start+{draw.uniform(0, 2):.6f}"
    return f"loop+{draw.uniform(first, last):.6f}"


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("SOAK_FOLDER")
    except (psutil.Error, OSError):
        return None


if __name__ == "__main__":
    main()
