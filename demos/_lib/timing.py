"""Timing the jobs of a demo, and adding the measurements to its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emulator import carrier
from emulator.measure.repetitions import Job, Series, Stop, measure
from emulator.measure.terms import measurement
from emulator.run.session import Run

Formula = Callable[[str, int, int], float | None]
"""Seconds of a pattern on p ranks for n bytes; None where there is no formula."""


def timed(run: Run, jobs: Sequence[Job], fewest: int = 5) -> list[Series]:
    """Repeat jobs within the run's budget, with a progress bar. Collective over all ranks."""
    with run.progress(run.budget, f"timing {len(jobs)} jobs") as bar:
        return measure(run.control, jobs, Stop(run.budget, fewest=fewest), seed=run.seed, tick=bar.advance)


def keep(run: Run, series: Sequence[Series], predict: Formula) -> list[tuple[float | None, float]]:
    """Add measurements and samples to the result, on rank 0; gives predicted and measured seconds.

    A wrong result of an operation makes the run fail.
    """
    pairs = []
    for one in series:
        job = one.job
        row = measurement(one, predict(job.pattern, job.ranks, job.bytes))
        pairs.append((row["predicted"], row["seconds"]["median"]))
        run.measurements.append(row)
        run.samples += one.rows()
        if one.wrong:
            run.fail(f"{job.pattern} of {job.bytes} bytes on {job.ranks} ranks has {one.wrong} wrong elements")
    return pairs


def begin_together(run: Run) -> float:
    """Wait for all ranks, and give this one's clock at the common start. Collective over all ranks."""
    run.control.Barrier()
    carrier.of(run.comm).align()
    return run.now()
