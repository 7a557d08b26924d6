"""Time the jobs of a demo, and add the measurements to its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from emulator import carrier
from emulator.errors import UsageError
from emulator.measure import statistics
from emulator.measure.repetitions import Job, Series, Stop, measure
from emulator.measure.series import BYTE_S, CHECKED_RANKS, MESSAGE_S, first_ranks
from emulator.run.demo_run import Run
from emulator.units import format_size
from primitives.collectives.all_reduce import prepare
from primitives.collectives.operations import Operation
from primitives.collectives.persistent import PersistentCollective

T = TypeVar("T")
Formula = Callable[[str, int, int], float | None]
"""Seconds of a pattern on p ranks for n bytes; None where there is no formula."""

_OVERRUN_S = 3.0  # beyond a budget that needs no warning: a large job may be under way at its end


def phantoms(algorithm: str, size: int, dtype: np.dtype[Any], comm: Any) -> PersistentCollective:
    """A rank's all-reduce of `size` bytes of phantoms, whose schedule a simulation replays."""
    from emulator import sim

    given, taken = (sim.phantom(size // dtype.itemsize, dtype) for _ in range(2))
    return prepare(comm, given, taken, op=Operation("ignored", sim.ignore), algorithm=algorithm)


def check_sizes(run: Run, dtype: DTypeLike, buffers: int, most_ranks: int | None = None) -> None:
    """Refuse --sizes that are no whole numbers of elements, or do not fit into memory; collective over all ranks.

    Parameters
    ----------
    buffers : of the largest size that a rank needs
    most_ranks : how many ranks need buffers at the most; absent: all
    """
    item = np.dtype(dtype)
    for size in run.sizes:
        if size % item.itemsize:
            raise UsageError(f"sizes are whole numbers of {item.name} ({item.itemsize} bytes), got {size}")
    check_room(run, buffers, most_ranks)


def too_few_sizes(sizes: Sequence[int]) -> UsageError:
    """The error of a demo that fits alpha and beta to one size, or to none above 0."""
    return UsageError(f"alpha and beta need at least 2 sizes above 0 to be told apart, got {len(sizes)}: add --sizes")


def check_room(run: Run, buffers: int, most_ranks: int | None = None) -> None:
    """Refuse --sizes of which so many buffers in each rank do not fit into memory; collective over all ranks.

    More simulated ranks than `CHECKED_RANKS` leave out those sizes and keep the others.
    """
    run.sizes = run.on_root(lambda: _with_room(run, buffers, min(run.size, most_ranks or run.size)))


def _with_room(run: Run, buffers: int, ranks: int) -> list[int]:
    import psutil

    ranks = -(-ranks // len(run.result["environment"]["hosts"]))
    room = psutil.virtual_memory().available
    fitting = [size for size in run.sizes if buffers * size * ranks <= room]
    if len(fitting) == len(run.sizes):
        return fitting
    if not fitting or run.clock != "simulated" or run.size <= CHECKED_RANKS:
        raise UsageError(
            f"{ranks} ranks need {buffers} buffers each of the largest size, {buffers * max(run.sizes) * ranks >> 20} "
            f"MiB in all, and {room >> 20} MiB are free: choose smaller --sizes or fewer ranks"
        )
    dropped = ", ".join(format_size(size) for size in run.sizes if size not in fitting)
    run.warn(f"left out: {dropped} bytes: {ranks} ranks need {buffers} buffers of each and {room >> 20} MiB are free")
    return fitting


def answering(
    comm: Any, name: str, p: int, size: int, operation: Callable[[], Any], wrong: Callable[[Any], int]
) -> Job:
    """A job on the first p ranks whose `operation` returns an answer, of which `wrong` counts the wrong elements."""
    job = Job(name, p, size, first_ranks(p), comm)
    if comm is not None:
        answer: list[Any] = [None]

        def once() -> None:
            answer[0] = operation()

        job.once, job.check = once, lambda: wrong(answer[0])
    return job


def averaging(comm: Any, name: str, p: int, size: int, average: Callable[[Any], Any], expected: ArrayLike) -> Job:
    """A job in which every rank averages a vector of its rank number; `expected` is each rank's answer."""
    rank = 0 if comm is None else comm.Get_rank()
    right = np.broadcast_to(expected, p)[rank]
    return answering(comm, name, p, size, lambda: average(_vector(rank, size)),
                     lambda mean: int((np.abs(mean - right) > 1e-9).sum()))  # fmt: skip


@cache
def _vector(rank: int, size: int) -> np.ndarray:
    """A vector of `size` bytes of a rank's number, read only, made by the first rank that averages it."""
    return np.full(size // 8, float(rank))


def timed(run: Run, jobs: Sequence[Job], fewest: int = 5) -> list[Series]:
    """Repeat jobs within the run's budget, with a progress bar and a warning if that was too short; collective."""
    began = perf_counter()
    which = f"launch {run.launch.number} of {run.launch.of}: " if run.launch.of > 1 else ""
    with run.progress(run.budget, f"{which}timing {len(jobs)} jobs, s") as bar:
        stop = Stop(run.budget, fewest=fewest)
        found = measure(run.control, jobs, stop, seed=run.seed, tick=bar.advance, under_way=run.under_way)
    if found and len(found) < len(jobs):
        run.warn(_left_out(jobs, found, run.options.budget))
    elif perf_counter() - began > run.budget + _OVERRUN_S:
        run.warn(
            f"the {len(jobs)} jobs did not fit into --budget {run.options.budget:g}: each of them runs at least "
            f"{'once' if run.clock == 'simulated' else 'twice'}; choose fewer --sizes or --ranks for a shorter run"
        )
    return found


def _left_out(jobs: Sequence[Job], found: Sequence[Series], budget: float) -> str:
    """A warning with the jobs that a simulation has left out."""
    done = {id(one.job) for one in found}
    left = Counter((job.pattern, job.ranks) for job in jobs if id(job) not in done)
    told = ", ".join(f"{pattern} on {ranks} ranks ({count} sizes)" for (pattern, ranks), count in left.items())
    return f"left out, since every rank must run and --budget {budget:g} is too short for it: {told}"


def affordable(jobs: Iterable[tuple[T, float]], seconds: float) -> list[T]:
    """The jobs, taken in order where they fit, whose estimated wall seconds add up to at most `seconds`."""
    kept = []
    for job, each in jobs:
        if each <= seconds:
            kept.append(job)
            seconds -= each
    return kept


def live_s(run: Run, messages: int, size: int = 0) -> float:
    """Estimated wall seconds of that many messages of `size` bytes between live simulated ranks.

    0 for MPI's ranks and for up to `CHECKED_RANKS` simulated ones, which run whatever the budget.
    """
    return messages * (MESSAGE_S + size * BYTE_S) if run.clock == "simulated" and run.size > CHECKED_RANKS else 0.0


def keep_samples(run: Run, series: Iterable[Series]) -> None:
    """Add the samples to the result, on rank 0; a wrong result of an operation makes the run fail."""
    for one in series:
        job = one.job
        run.samples += one.rows()
        if one.wrong:
            run.fail(f"{job.pattern} of {job.bytes} bytes on {job.ranks} ranks has {one.wrong} wrong elements")


def keep(run: Run, series: Sequence[Series], predict: Formula) -> list[tuple[float | None, float]]:
    """Add measurements and samples to the result, on rank 0; gives predicted and measured seconds."""
    from emulator.measure.terms import measurement  # with the fits, for rank 0 alone: 10 ms

    keep_samples(run, series)
    rows = [measurement(one, predict(one.job.pattern, one.job.ranks, one.job.bytes)) for one in series]
    run.measurements += rows
    return [(row["predicted"], row["seconds"]["median"]) for row in rows]


def measured(pattern: str, ranks: int, size: int, seconds: ArrayLike, **more: Any) -> dict[str, Any]:
    """A measurement for the result file, of times that are not those of a job; `more` replaces fields."""
    unknown = dict.fromkeys(("algbw", "busbw", "predicted", "native"))
    row = {"pattern": pattern, "ranks": ranks, "bytes": size, "seconds": statistics.summary(seconds), "wrong": 0}
    return row | unknown | more


def keep_checks(run: Run, checks: Iterable[Mapping[str, Any]]) -> None:
    """Fail the run for every configured value that was not recovered."""
    for check in checks:
        if not check["passed"]:
            run.fail("{what}: {term} is {recovered:.6g} {unit}, configured {configured:.6g}".format(**check))


def warn_unstable(run: Run) -> None:
    """Warn, on rank 0, of what may make the timings unstable."""
    from emulator.report.stability import unstable  # 16 ranks would import at the same time what only one needs

    run.warnings += unstable({**run.result, "measurements": run.measurements})


def begin_together(run: Run) -> float:
    """Wait for all ranks; returns this rank's clock at the common start. Collective over all ranks."""
    run.control.Barrier()
    carrier.of(run.comm).align()
    return run.now()


def declared(run: Run, seconds: float) -> float:
    """Seconds of compute to declare: 0 where compute time is measured or is wall time."""
    return seconds if run.network is not None and run.options.compute == "none" else 0.0
