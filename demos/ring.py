"""Measure what a message and a ring all-reduce cost here, and how many nodes are worth having.

Sub-communicators of 2, 4, 8, ... ranks are measured in the same run, beside the native MPI_Allreduce in interleaved
repetitions. One repetition's time is that of the whole operation, from the first rank's start to the last one's end.
With --net the same table is in emulated seconds, and the configured alpha and beta stand beside the recovered ones.
"""

from functools import cache, partial
from typing import Any

import click
import numpy as np
from click.core import ParameterSource
from mpi4py import MPI

from demos._lib.timing import check_sizes, keep_checks, keep_samples, phantoms, timed, too_few_sizes, warn_unstable
from emulator.errors import UsageError
from emulator.measure import microbenchmarks, repetitions
from emulator.measure.series import CHECKED_RANKS, first_ranks
from emulator.results import environment
from emulator.run import launches
from emulator.run.demo_run import Run
from emulator.run.options import TIME, demo
from primitives.collectives.all_reduce import ALGORITHMS, all_reduce
from primitives.collectives.tuning import automatic

ITEM = np.dtype(np.float32)
_PATIENCE_S = 240.0
"""The budget of --every-rank without --budget: who asks for every rank waits for them."""


@demo("ring", needs=2, sizes="8:8M", budget=40, launches=True, simulated_only=("every_rank",))
@click.option("--algorithm", type=click.Choice([*ALGORITHMS, "auto", "all"]), default="ring", show_default=True,
              help="auto: the one that all_reduce chooses; all: each of them, side by side.")  # fmt: skip
@click.option(
    "--every-rank",
    is_flag=True,
    help="With --simulate: simulate every rank instead of replaying a schedule of six (--budget 240 if not given).",
)
@click.option("--t-comp", type=TIME, default="100 ms", show_default=True, help="Compute time of a step on one node.")
def main(run: Run, algorithm: str, every_rank: bool, t_comp: float, alone: bool) -> None:
    """Measure what a message and an all-reduce cost here, and say how many nodes are worth having.

    python -m demos.ring -n 16
    """
    patterns = list(ALGORITHMS) if algorithm == "all" else [algorithm]
    ranks = _ranks(run)
    check_sizes(run, ITEM, buffers=4, most_ranks=CHECKED_RANKS if _exact(run) else None)
    run.on_root(lambda: _check(run, t_comp))
    if every_rank and click.get_current_context().get_parameter_source("budget") is ParameterSource.DEFAULT:
        run.budget = _PATIENCE_S
    hosts = run.control.gather(MPI.Get_processor_name())
    run.show()
    series = timed(run, _jobs(run, patterns, ranks, every_rank), 10 if run.network is None else 6)
    if run.rank == 0:
        launches.join(run, series, alone)
        _conclude(run, series, patterns, hosts or [], t_comp)
        warn_unstable(run)


def _conclude(run: Run, series: list[repetitions.Series], patterns: list[str], hosts: list[str], t_comp: float) -> None:
    """Convert the measurements to the result: medians, fits, predictions, and the number of nodes to request."""
    from emulator.measure.closed_loop import closed_loop, configured_terms
    from emulator.measure.terms import fit_run, uncrowded

    crowding = environment.crowding(hosts) if run.network is None else uncrowded
    found = fit_run(series, patterns, ITEM.itemsize, crowding, run.seed)
    keep_samples(run, series)
    checks: list[dict[str, Any]] = []
    unchecked: list[str] = []
    if run.network is not None:
        ranks = sorted({one.job.ranks for one in series if one.job.pattern in patterns})
        checks, unchecked = closed_loop(found, run.network, ranks, run.options.compute)
    keep_checks(run, checks)
    content = found.content(series, t_comp, configured_terms(run.network))
    run.measurements, run.fits, run.held_out = (content.pop(name) for name in ("measurements", "fits", "held_out"))
    run.extra = {**content, "checks": checks, "unchecked": unchecked}


def _ranks(run: Run) -> list[int]:
    ranks = run.sub_sizes()
    if ranks[0] < 2:
        raise UsageError(f"an all-reduce needs at least 2 ranks, got --ranks {ranks[0]}: leave it out")
    return ranks


def _check(run: Run, t_comp: float) -> None:
    """Refuse, before measuring, what could not be fitted or interpreted."""
    if t_comp <= 0:
        raise UsageError(f"the compute time of a step must be > 0 s, got --t-comp {t_comp:g}: write e.g. '100 ms'")
    if len(sizes := [size for size in run.sizes if size]) < 2:
        raise too_few_sizes(sizes)


def _jobs(run: Run, patterns: list[str], ranks: list[int], every_rank: bool) -> list[repetitions.Job]:
    """Make the jobs: messages between ranks 0 and 1, reductions on rank 0, and every all-reduce with the native one."""
    one_way = run.network is not None
    sizes = sorted({0, *run.sizes}) if one_way else microbenchmarks.link_sizes(run.sizes, run.seed)
    jobs = microbenchmarks.messages(run.sub(2), (0, 1), sizes, one_way=one_way)
    if run.network is None or run.options.compute == "measured":
        jobs += microbenchmarks.reductions(run.sub(1), 0, [n for n in run.sizes if n])
    for p in ranks:
        comm = run.sub(p)
        names = (*patterns,) if run.network is not None else (*patterns, "native")
        if comm is None:
            jobs += _jobs_of_others(names, p, (*run.sizes,))
            continue
        buffers = _Buffers(comm, 0 if _exact(run) else max(run.sizes))
        for n in run.sizes:
            for pattern in names:
                job = repetitions.Job(pattern, p, n, first_ranks(p), every_rank=every_rank)
                if pattern == "auto":
                    job.labels["algorithm"] = automatic(comm, n)
                if run.clock == "simulated":
                    job.schedule = partial(phantoms, job.labels.get("algorithm", pattern), n, ITEM)
                buffers.fill_in(job, phantom=_exact(run) and p > CHECKED_RANKS)
                jobs.append(job)
    return jobs


@cache
def _jobs_of_others(names: tuple[str, ...], p: int, sizes: tuple[int, ...]) -> list[repetitions.Job]:
    """The jobs on p ranks for a rank that is not among them; simulated ranks share them."""
    return [repetitions.Job(name, p, n, first_ranks(p)) for n in sizes for name in names]


def _exact(run: Run) -> bool:
    """Whether a simulation declares compute, so that arrays may be made in a timed operation, or none on many ranks."""
    return run.clock == "simulated" and run.options.compute == "none"


class _Buffers:
    """Input, output and expected sum of one communicator, shared by all of its jobs.

    Parameters
    ----------
    size : bytes of the largest job; longer ones make longer buffers when they run
    """

    def __init__(self, comm: MPI.Intracomm, size: int) -> None:
        self.comm = comm
        self.send = self.received = self.expected = np.zeros(0, ITEM)
        if size:
            self._lengthen(size // ITEM.itemsize)

    def _lengthen(self, count: int) -> None:
        p, rank = self.comm.Get_size(), self.comm.Get_rank()
        # Small whole numbers: every order of summing them gives the same float32, so one wrong element shows.
        self.send = ((np.arange(count) + rank) % 17).astype(ITEM)
        self.received = np.zeros_like(self.send)
        shifts = np.bincount(np.arange(p) % 17, minlength=17)
        sums = np.array([sum(shifts[s] * ((i + s) % 17) for s in range(17)) for i in range(17)], dtype=ITEM)
        self.expected = np.resize(sums, count)

    def fill_in(self, job: repetitions.Job, phantom: bool) -> None:
        """Give a job its operation and its check; one on phantoms has nothing to check."""
        comm, count, pattern = self.comm, job.bytes // ITEM.itemsize, job.pattern
        job.comm = comm
        if phantom:
            job.once = partial(_once, job.schedule, comm)
            return

        def native() -> None:
            comm.Allreduce(self.send[:count], self.received[:count])

        def ours() -> None:
            if count > len(self.send):
                self._lengthen(count)
            all_reduce(comm, self.send[:count], self.received[:count], algorithm=pattern)

        def wrong() -> int:
            received = self.received[:count]
            found = int((received != self.expected[:count]).sum())
            received[:] = -1
            return found

        job.once, job.check = native if pattern == "native" else ours, wrong


def _once(make: Any, comm: MPI.Intracomm) -> None:
    """Make a collective, run it, and free it."""
    collective = make(comm)
    collective.run()
    collective.free()


if __name__ == "__main__":
    main()
