"""The cost of recovery: from SIGKILL to the next complete step, a join, readiness, checksums, a checkpoint in memory.

Recovery is measured by drills of ring training, 16 ranks with one spare where there is one to be, a kill in the middle
of the run each time; a join likewise, by the policy that goes on while the new process starts. Being ready is measured
within one job: blocks of steps without any recovery alternate with blocks under it, and the median of the ratios of
neighbours counts. A buddy checkpoint is set beside copies of the same bytes by as many ranks at once. Where PyTorch is
installed (here, or where TORCH_PYTHON points), `torchrun` restarts as many workers after the same kill.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench import _elastic
from bench._common import Row, figures, row, write
from emulator.measure import statistics

RANKS, VICTIM, STEP = 16, 7, 22  # between two copies of the state: some steps are done again
TARGETS_MS = {"shrink": 50.0, "spare": 100.0, "respawn": 300.0, "restart": 2000.0}
JOIN_STEPS, STOPPED_MS = 250, 300.0  # steps enough for a process to start meanwhile
READY = ("shrink", "spare")
READY_LIMIT, BUDDY_LIMIT = 1.02, 2.0
BUDDY_RANKS, BUDDY_BYTES = 4, 64 << 20
BALLAST = 1 << 20
_BLOCK, _FEWEST_BLOCKS, _FEWEST_DRILLS, _MOST_DRILLS = 8, 12, 3, 25  # a block holds two copies of the state


def rows(budget: float) -> Iterator[Row]:
    """All figures in about `budget` seconds, more where these are not enough for the fewest drills."""
    share = budget / 4 / (len(TARGETS_MS) + 1)
    for policy, target in TARGETS_MS.items():
        yield (last := _recovery(policy, target, share))
    yield from _join(share)
    for policy in READY:
        yield from _job(RANKS + (policy == "spare"), policy, budget / 4)
    yield from _job(BUDDY_RANKS, "buddy", budget / 8)
    yield _torch(last)


# -- recovery ------------------------------------------------------------------------------------------


def _recovery(policy: str, target_ms: float, budget: float) -> Row:
    """Measure from SIGKILL to the next complete step."""
    seconds = [one.recovery_seconds for one in _drills(policy, budget)]
    return _in_ms(f"kill to next step, {policy}", seconds, target_ms)


def _join(budget: float) -> Iterator[Row]:
    """Measure from the start of a new process to the first step with it, and how long the others do no step."""
    joins = [join for one in _drills("rejoin", budget, steps=JOIN_STEPS) for join in one.joins]
    yield _in_ms("start of a process that joins to the first step with it", [join.seconds for join in joins])
    yield _in_ms("the other ranks stop for it", [join.stopped_s for join in joins], STOPPED_MS)


def _in_ms(what: str, seconds: list[float], target_ms: float | None = None) -> Row:
    of = statistics.summary(seconds)
    name = f"p={RANKS} {what} (median of {of['n']}, p95 {of['p95'] * 1e3:.3g})"
    return row(name, of["median"] * 1e3, "ms", most=target_ms)


def _drills(policy: str, budget: float, **order: Any) -> list[Any]:
    """The evaluations of drills until the time is up."""
    from faults.drill import drill
    from faults.drill.request import Request

    found: list[Any] = []
    end = time.monotonic() + budget
    line = f"kill {VICTIM} @ step {STEP} + 300 us"
    with tempfile.TemporaryDirectory() as folder:
        while len(found) < _FEWEST_DRILLS or (time.monotonic() < end and len(found) < _MOST_DRILLS):
            request = Request("ring", RANKS, [line], policy, int(policy == "spare"), seed=len(found), **order)
            (evaluation,) = drill.run(request, Path(folder), steady=False).evaluations
            if not evaluation.recovered or evaluation.recovery_seconds is None:
                raise RuntimeError(f"{policy} did not recover: {evaluation.phase}: {evaluation.reason}")
            found.append(evaluation)
    return found


# -- jobs of our own -----------------------------------------------------------------------------------


def _job(n: int, part: str, budget: float) -> list[Row]:
    """Run one part inside of a job of `n` ranks."""
    found: list[Row] = figures(n, "bench.faults", part, budget, limit_s=20 * budget + 120, ft=part in READY)
    return found


def _ready(policy: str, budget: float) -> list[Row]:
    """Measure steps without and with recovery, block by block, for a short and a long gradient; and with checksums."""
    found = []
    variants = [
        (0, 0, False, "gradient of 19 KiB", READY_LIMIT),
        (BALLAST, 0, False, "gradient of 1 MiB", READY_LIMIT),
        (0, 1, False, "gradient of 19 KiB, agreeing after every step", None),
    ]
    if policy == READY[0]:
        variants += [
            (0, 0, True, "gradient of 19 KiB, with checksums", None),
            (BALLAST, 0, True, "gradient of 1 MiB, with checksums", None),
        ]
    for ballast, every, checksum, what, limit in variants:
        plain, ready = _blocks(policy, ballast, every, checksum, budget * (0.35 if limit else 0.1))
        of = statistics.summary(np.array(ready) / np.array(plain))
        ratio, (low, high) = of["median"], of["ci95"]
        base = float(np.median(plain)) * 1e3
        name = f"p={RANKS} a step, ready by {policy} / not, {what} [{low:.3f}, {high:.3f}]"
        found.append(row(name, base * ratio, "ms", base, most_ratio=limit))
    return found


def _blocks(policy: str, ballast: int, every: int, checksum: bool, budget: float) -> tuple[list[float], list[float]]:
    """Seconds per step of each block, (not ready, ready); the two take turns in going first.

    The agreement that ends a block under recovery is the one at the end of a job, and is not counted. A spare waits
    as it does in a job during those blocks, and is out of the way during the others.
    """
    from mpi4py import MPI

    from faults.patterns.ring import RingTraining
    from faults.recover import recovering
    from faults.recover.survivors.revoked_comms import JOB

    world = MPI.COMM_WORLD.Dup()
    world.Set_name(JOB)  # or its collectives were refused in the loop: here the spare takes part in them
    spares = int(policy == "spare")
    learners = [_learner(RingTraining, ballast) for _ in range(2)]
    working = world.Get_rank() < world.Get_size() - spares
    alone = world.Split(int(working))
    times: dict[bool, list[float]] = {False: [], True: []}
    with recovering(
        MPI.COMM_WORLD, learners[True].state, policy=policy, spares=spares, every=every, checksum=checksum
    ) as job:

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
                    raise RuntimeError("a step is left to do after the last one")
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
    """Synchronise at a barrier in which no rank takes a core from those that still work."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(pause_s)


def _buddy(budget: float) -> list[Row]:
    """Measure a save of 64 MiB on every rank and a copy of 64 MiB on every rank."""
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


def _torch(restart: Row) -> Row:
    """Compare our restart with torchrun's, or give a row that says why it cannot be compared."""
    name, ours = f"p={RANKS} kill to next step, restart / torchrun's elastic restart", restart["ours"]
    interpreter = _elastic.python()
    if interpreter is None:
        return row(f"{name}: PyTorch is not installed", ours, "ms")
    with tempfile.TemporaryDirectory() as folder:
        return row(name, ours, "ms", _elastic.restart(interpreter, RANKS, VICTIM, STEP, Path(folder)) * 1e3)


def measure(part: str, budget: str) -> list[Row]:
    """Measure one part, as the ranks of a job."""
    return _buddy(float(budget)) if part == "buddy" else _ready(part, float(budget))


if __name__ == "__main__":
    write(measure)
