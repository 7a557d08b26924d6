"""Time of scatter and gather of n bytes at the root, directly and down a tree, beside the closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from demos._lib.rough import say_how_far
from demos.incast import exact
from emulator import costs
from emulator.errors import UsageError
from emulator.measure.repetitions import Job, Series, Stop, measure
from emulator.run.session import Run, sub_sizes
from emulator.units import format_size, format_time
from primitives.scatter_gather import gather_blocks, scatter_blocks

WITHIN = 0.10  # of each other: measured and predicted time on an emulated network
PREDICTED: dict[str, Callable[..., float]] = {
    "scatter linear": costs.linear_blocks,
    "scatter tree": costs.tree_scatter_blocks,
    "gather linear": costs.linear_blocks,
    "gather tree": costs.tree_gather_blocks,
}


def show(run: Run) -> None:
    """Measure, predict, print."""
    counts = [p for p in sub_sizes(run, (4, 8, 16)) if p > 1]
    if not counts:
        raise UsageError("scatter-gather is between 2 ranks or more, got --ranks 1: leave it out")
    jobs = [_job(run.sub(p), name, p, size) for p in counts for size in run.sizes for name in PREDICTED]
    with run.progress(run.budget, f"timing {len(jobs)} scatters and gathers") as bar:
        series = measure(run.control, jobs, Stop(run.budget, fewest=5), seed=run.seed, tick=bar.advance)
    if run.rank == 0:
        _report(run, series)


def _job(comm: MPI.Intracomm | None, name: str, p: int, size: int) -> Job:
    job = Job(name, p, size, tuple(range(p)), comm)
    if comm is None:
        return job
    kind, shape = name.split()
    rank = comm.Get_rank()
    blocks = [bytes([each % 256]) * _block(size, p) for each in range(p)]
    seen: dict[str, Any] = {}

    def once() -> None:
        if kind == "scatter":
            seen["is"] = scatter_blocks(comm, blocks if rank == 0 else None, shape=shape)
        else:
            seen["is"] = gather_blocks(comm, blocks[rank], shape=shape)

    expected = blocks[rank] if kind == "scatter" else blocks if rank == 0 else None
    job.once, job.check = once, lambda: int(seen["is"] != expected)
    return job


def _block(size: int, p: int) -> int:
    return -(-size // p)


def _formula(run: Run, series: list[Series]) -> tuple[Callable[[str, int, int], float | None], str]:
    """Predictions from the configured network, or with alpha and beta fitted to these very times."""
    if run.network is not None:
        path = run.network.between(0, 1)
        card = {"scatter linear": {"egress": egress(run)}}

        def configured(name: str, p: int, size: int) -> float:
            return PREDICTED[name]([_block(size, p)] * p, path.alpha, path.beta, **card.get(name, {}))

        return configured, "configured alpha and beta"
    if len({one.job.bytes for one in series}) < 2:
        return lambda name, p, size: None, "no formula: fitting alpha and beta takes two --sizes"
    from emulator.measure.fit import Point, fit

    def terms(name: str, p: int) -> costs.Terms:
        kind, shape = name.split()
        return costs.terms(f"{'linear' if shape == 'linear' else 'binomial'}_{kind}", p)

    # The forms differ in how their transfers overlap, which no model with one alpha tells: each has its own.
    lines = {}
    for shape in ("linear", "tree"):
        mine = [one for one in series if one.job.pattern.endswith(shape)]
        points = [Point(s.job.bytes, terms(s.job.pattern, s.job.ranks), s.seconds, ranks=s.job.ranks) for s in mine]
        lines[shape] = fit(points, seed=run.seed)
        run.fits.append(lines[shape].record("collective", f"scatter and gather, {shape}"))
    return (
        lambda name, p, size: lines[name.split()[1]].predict(terms(name, p), size),
        "alpha and beta fitted to these very times, for each form",
    )


def egress(run: Run) -> float:
    """Seconds per byte at which the card of rank 0's host sends, on the configured network."""
    assert run.network is not None
    return float(run.network.hosts[run.network.host_of(0)].nic.egress_beta)


def _report(run: Run, series: list[Series]) -> None:
    predict, origin = _formula(run, series)
    run.echo(f"[bold]Scatter and gather[/] of n bytes at the root ({origin})")
    table = grid("", "ranks", "bytes", "time", "formula", "off by", "wrong")
    pairs = []
    for one in series:
        name, p, size, seconds = one.job.pattern, one.job.ranks, one.job.bytes, one.summary()
        predicted = predict(name, p, size)
        pairs.append((predicted, seconds["median"]))
        told = ("-", "-")
        if predicted is not None:
            told = (format_time(predicted), f"{predicted / seconds['median'] - 1:+.1%}")
        table.add_row(name, str(p), format_size(size), format_time(seconds["median"]), *told, str(one.wrong))
        run.measurements.append({
            "pattern": name, "ranks": p, "bytes": size, "seconds": seconds, "algbw": size / seconds["median"],
            "busbw": size * (p - 1) / p / seconds["median"], "predicted": predicted, "native": None, "wrong": one.wrong,
        })  # fmt: skip
        run.samples += one.rows()
        if one.wrong:
            run.fail(f"{name}: wrong blocks on {p} ranks, {size} bytes")
    run.echo(table)
    verdict(run, pairs, "scatters and gathers")


def verdict(run: Run, pairs: Sequence[tuple[float | None, float]], what: str) -> None:
    """On an idle emulated network measured and predicted must agree; elsewhere it is said how far they are apart."""
    say_how_far(run, pairs, what)
    if run.network is None or run.options.compute != "none" or not exact(run.network.sized(run.size)):
        return
    off = [abs(predicted / measured - 1) for predicted, measured in pairs if predicted is not None]
    worst = max(off, default=0.0)
    run.echo(f"{what}: formula and measurement at most {worst:.1%} apart, limit {WITHIN:.0%}")
    if worst > WITHIN:
        run.fail(f"{what}: the closed form is off by {worst:.1%}, the limit is {WITHIN:.0%}")


def grid(*columns: str) -> Any:
    """A plain table; its first column is text."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table
