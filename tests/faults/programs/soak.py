"""Random kills in the small programs: ``python -m tests.faults.programs.soak --kills 100 --seed 1``.

Each job runs one program under one policy with several kills, by timers of the kernel: at random instants of random
steps, or before the loop. It must print the right total with exit status 0 and leave no process; a rank that was killed
behind its last step may cost rank 0's line, which the launcher then says.
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

_OTHERS = ("__init__", "loop", "soak", "joining", "around_the_dead")
PROGRAMS = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _OTHERS)
STEPS_IN_SOAK = 80
DEADLINE_S, SLOW_S = 600, 120
BEHIND = "error: all steps are done, but rank"
STALLED = "a repair did not move on for "
WELL = {"right", "behind", "right after a stall"}


@click.command()
@click.option("--kills", default=100)
@click.option("--seed", default=1)
@click.option("-n", "ranks", default=6)
@click.option("--most", default=5, help="Most kills of a job.")
@click.option("--minutes", default=60.0, help="No job begins after that.")
@click.option("--early", default=0.05, help="Share of kills that strike before the loop.")
@click.option("--policies", default="shrink,spare,respawn,rejoin,restart,continue")
def main(kills: int, seed: int, ranks: int, most: int, minutes: float, early: float, policies: str) -> None:
    """Run jobs until so many kills have been armed; exit status 1 if one hung, was wrong or left a process."""
    draw, armed, tally = random.Random(seed), 0, collections.Counter[str]()
    until = time.monotonic() + 60 * minutes
    while armed < kills and time.monotonic() < until:
        job = draw.getrandbits(32)
        found, seconds, text, struck = run(random.Random(job), ranks, most, early, policies.split(","))
        armed += struck
        tally[found] += 1
        if found not in WELL or seconds > SLOW_S:
            print(f"{found}, {seconds:.1f} s: {text}", flush=True)
        print(f"{armed} kills in {tally.total()} jobs, {dict(tally)}, last {seconds:.1f} s", flush=True)
    sys.exit(0 if set(tally) <= WELL else 1)


def run(draw: random.Random, ranks: int, most: int, early: float, policies: list[str]) -> tuple[str, float, str, int]:
    """One job: what came of it, seconds, what it was, and the kills that were armed."""
    program, policy = draw.choice(PROGRAMS), draw.choice(policies)
    if policy == "continue":
        program = "around_the_dead"
    emulated = {NET: "1gbe"} if policy not in ("respawn", "rejoin") and draw.random() < 0.3 else {}
    # One rank stays; a place that is filled again may lose its process again.
    refilled = policy in ("respawn", "restart")
    victims = draw.choices(range(ranks), k=most) if refilled else draw.sample(range(ranks), min(most, ranks - 1))
    kills = [f"{victim}@{_instant(draw, early)}" for victim in victims[: draw.randint(most // 2, most)]]
    with tempfile.TemporaryDirectory() as folder:
        marked = os.environ | {KILLS: ",".join(kills), "SOAK_FOLDER": folder, STEPS: str(STEPS_IN_SOAK)} | emulated
        command = [sys.executable, "-m", "faults", "run", "-n", str(ranks), "--recovery", policy]
        command += [
            "--deadline",
            f"{DEADLINE_S} s",
            "-m",
            f"tests.faults.programs.{program}",
            policy,
            draw.choice("01"),
        ]
        began = time.monotonic()
        done = subprocess.run(command, env=marked, capture_output=True, text=True, timeout=6 * DEADLINE_S)
        seconds = time.monotonic() - began
        left = [one for one in psutil.process_iter() if _mark(one) == folder]
        armed = sum(path.name.isdecimal() for path in Path(folder).iterdir())
    what = (
        f"{' '.join(command[3:])} {marked[KILLS]} {emulated}: {done.returncode} {done.stdout!r} {done.stderr[-900:]!r}"
    )
    return _judge(done, f"{left} " if left else ""), seconds, what, armed


def _judge(done: subprocess.CompletedProcess[str], left: str) -> str:
    """What came of a job."""
    right = f"{STEPS_IN_SOAK} steps, total {STEPS_IN_SOAK:.3f}\n"
    if left:
        return "left"
    if "deadline" in done.stderr:
        return "hung"
    if done.returncode == 3 and BEHIND in done.stderr and done.stdout in ("", right):
        return "behind"
    if (done.returncode, done.stdout) != (0, right):
        return "wrong"
    return "right after a stall" if STALLED in done.stderr else "right"


def _instant(draw: random.Random, early: float) -> str:
    if draw.random() < early:
        return f"start+{draw.uniform(0, 2):.6f}"
    return f"{draw.randrange(STEPS_IN_SOAK)}+{draw.choice((1e-4, 1e-3, 1e-2)) * draw.random():.6f}"


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("SOAK_FOLDER")
    except (psutil.Error, OSError):
        return None


if __name__ == "__main__":
    main()
