"""What recovery costs: from SIGKILL to the next complete step, being ready for it, and a checkpoint in memory.

Recovery is measured by drills of ring training, 16 ranks with one spare where there is one to be, a kill in the middle
of the run each time. Being ready is measured within one job: blocks of steps without any recovery alternate with
blocks under it, and the median of the ratios of neighbours counts. A buddy checkpoint is set beside copies of the same
bytes by as many ranks at once. Where PyTorch is installed (here, or where TORCH_PYTHON points), `torchrun` restarts as
many workers after the same kill.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import _elastic
from bench._common import Row, figures, row, write
from emulator.measure import statistics

RANKS, VICTIM, STEP = 16, 7, 22  # between two copies of the state: some steps are done again
TARGETS_MS = {"shrink": 50.0, "spare": 100.0, "respawn": 300.0, "restart": 2000.0}
READY = ("shrink", "spare")
READY_LIMIT, BUDDY_LIMIT = 1.02, 2.0
BUDDY_RANKS, BUDDY_BYTES = 4, 64 << 20
BALLAST = 1 << 20
_BLOCK, _FEWEST_BLOCKS, _FEWEST_DRILLS, _MOST_DRILLS = 8, 12, 3, 25  # a block holds two copies of the state


def rows(budget: float) -> list[Row]:
    """All figures in about `budget` seconds: half of them for being ready, a quarter for the drills."""
    found = [row for policy in TARGETS_MS for row in _recovery(policy, budget / 4 / len(TARGETS_MS))]
    found += [row for policy in READY for row in _job(RANKS + (policy == "spare"), policy, budget / 4)]
    found += _job(BUDDY_RANKS, "buddy", budget / 8)
    return [*found, _torch(found)]


# -- recovery ------------------------------------------------------------------------------------------


def _recovery(policy: str, budget: float) -> list[Row]:
    """Drills until the time is over; the median from SIGKILL to the next complete step."""
    from faults.drill import drill
    from faults.drill.request import Request

    seconds: list[float] = []
    end = time.monotonic() + budget
    with tempfile.TemporaryDirectory() as folder:
        while len(seconds) < _FEWEST_DRILLS or (time.monotonic() < end and len(seconds) < _MOST_DRILLS):
            order = Request(
                "ring", RANKS, [f"kill {VICTIM} @ step {STEP} + 300 us"], policy, int(policy == "spare"),
                seed=len(seconds),
            )  # fmt: skip
            (evaluation,) = drill.run(order, Path(folder), steady=False).evaluations
            if not evaluation.recovered or evaluation.recovery_seconds is None:
                raise RuntimeError(f"{policy} did not recover: {evaluation.phase}: {evaluation.reason}")
            seconds.append(evaluation.recovery_seconds)
    of = statistics.summary(seconds)
    name = f"p={RANKS} kill to next step, {policy} (median of {of['n']}, p95 {of['p95'] * 1e3:.3g})"
    return [row(name, of["median"] * 1e3, "ms", most=TARGETS_MS[policy])]


# -- jobs of our own -----------------------------------------------------------------------------------


def _job(n: int, part: str, budget: float) -> list[Row]:
    """Run one part inside of a job of `n` ranks."""
    found: list[Row] = figures(n, "bench.faults", part, budget, limit_s=20 * budget + 120, ft=part in READY)
    return found


def _ready(policy: str, budget: float) -> list[Row]:
    """Steps without and with recovery, block by block, for a short gradient and a long one."""
    found = []
    for ballast, every, what, limit in (
        (0, 0, "gradient of 19 KiB", READY_LIMIT),
        (BALLAST, 0, "gradient of 1 MiB", READY_LIMIT),
        (0, 1, "gradient of 19 KiB, agreeing after every step", None),
    ):
        plain, ready = _blocks(policy, ballast, every, budget * (0.4 if limit else 0.2))
        of = statistics.summary(np.array(ready) / np.array(plain))
        ratio, (low, high) = of["median"], of["ci95"]
        base = float(np.median(plain)) * 1e3
        name = f"p={RANKS} a step, ready by {policy} / not, {what} [{low:.3f}, {high:.3f}]"
        found.append(row(name, base * ratio, "ms", base, most_ratio=limit))
    return found


def _blocks(policy: str, ballast: int, every: int, budget: float) -> tuple[list[float], list[float]]:
    """Seconds per step of each block, (not ready, ready); the two take turns in going first.

    The agreement that ends a block under recovery is the one at the end of a job, and is not counted. A spare waits
    as it does in a job during those blocks, and is out of the way during the others.
    """
    from mpi4py import MPI

    from faults.patterns.ring import RingTraining
    from faults.recover import recovering

    world = MPI.COMM_WORLD.Dup()
    spares = int(policy == "spare")
    learners = [_learner(RingTraining, ballast) for _ in range(2)]
    working = world.Get_rank() < world.Get_size() - spares
    alone = world.Split(int(working))
    times: dict[bool, list[float]] = {False: [], True: []}
    with recovering(MPI.COMM_WORLD, learners[True].state, policy=policy, spares=spares, every=every) as job:

        def step(ready: bool, number: int) -> None:
            if not ready:
                learners[False].step(alone, number)
            elif job.next(target):
                with job.attempt():
                    learners[True].step(job.comm, number)

        end = time.monotonic() + budget
        target, going = 0, True
        while going:
            target += _BLOCK
            for ready in (False, True) if len(times[True]) % 2 else (True, False):
                _meet(world, 100e-6 if working else 5e-3)
                began = time.perf_counter()
                for number in range(_BLOCK if working else 0):
                    step(ready, number)
                times[ready].append((time.perf_counter() - began) / _BLOCK)
                if ready and job.next(target):
                    raise RuntimeError("a step is left to do behind the last one")
            going = bool(world.bcast(time.monotonic() < end or len(times[True]) < _FEWEST_BLOCKS))
    return times[False][1:], times[True][1:]  # buffers are laid out in the first


def _learner(kind: Callable[..., Any], ballast: int) -> Any:
    from faults.drill.job_spec import JobSpec
    from faults.drill.training import DATA, save_digits
    from faults.patterns.catalogue import CATALOGUE

    with tempfile.TemporaryDirectory() as folder:
        save_digits(Path(folder) / DATA)
        data = np.load(Path(folder) / DATA)
    options = CATALOGUE["ring"].options | {"ballast": ballast}
    return kind(JobSpec("ring", RANKS, steps=_BLOCK, recovery="shrink", options=options), data)


def _meet(world: Any, pause_s: float) -> None:
    """A barrier in which nobody keeps a core from those that still work."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(pause_s)


def _buddy(budget: float) -> list[Row]:
    """A save of 64 MiB on every rank beside one copy of 64 MiB on every rank."""
    from mpi4py import MPI

    from faults.checkpoint.buddy import Buddy

    world = MPI.COMM_WORLD
    state = {"state": np.full(BUDDY_BYTES // 8, float(world.Get_rank()))}
    other = np.zeros_like(state["state"])
    buddy = Buddy(world, state)
    calls: list[Callable[[], object]] = [
        lambda: np.copyto(other, state["state"]),
        lambda: buddy.save(len(times[1]), state),
    ]
    times: list[list[float]] = [[] for _ in calls]
    end = time.monotonic() + budget
    going = True
    while going:
        for which, call in enumerate(calls):
            world.Barrier()
            began = time.perf_counter()
            call()
            world.Barrier()
            times[which].append(time.perf_counter() - began)
        going = bool(world.bcast(time.monotonic() < end or len(times[0]) < 5))
    copy, save = (float(np.median(one[2:])) * 1e3 for one in times)
    name = f"p={BUDDY_RANKS} buddy checkpoint of 64 MiB per rank / a copy"
    return [row(name, save, "ms", copy, most_ratio=BUDDY_LIMIT)]


# -- torchrun ------------------------------------------------------------------------------------------


def _torch(found: list[Row]) -> Row:
    """Our restart beside torchrun's, or a row that says why there is none."""
    name = f"p={RANKS} kill to next step, restart / torchrun's elastic restart"
    ours = next(row["ours"] for row in found if ", restart" in row["name"])
    interpreter = _elastic.python()
    if interpreter is None:
        return row(f"{name}: PyTorch is not installed", ours, "ms")
    with tempfile.TemporaryDirectory() as folder:
        return row(name, ours, "ms", _elastic.restart(interpreter, RANKS, VICTIM, STEP, Path(folder)) * 1e3)


def measure(part: str, budget: str) -> list[Row]:
    """One part, as the ranks of a job measure it."""
    return _buddy(float(budget)) if part == "buddy" else _ready(part, float(budget))


if __name__ == "__main__":
    write(measure)
