"""Incast: one receiver, more and more senders at once; the queue that a parameter server will meet.

Senders 1 .. k each send n bytes to rank 0 at the same time. However fast the senders are, all bytes pass the
receiver's card one after another::

    sender 1 ----.
    sender 2 -----+==> [ receiver's card ]      T(k, n) = alpha + k n beta
       ...       /
    sender k ---'

so the bandwidth into the receiver stays what one sender gets, and each sender's share falls as 1/k. On an emulated
network the time is compared with that formula; on the bare transport alpha and beta are fitted to all measurements,
and the error says how far the machine is from one queue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from emulator import costs
from emulator.errors import UsageError
from emulator.measure.repetitions import Job, Series, Stop, measure
from emulator.measure.terms import measurement
from emulator.network import Network
from emulator.run.options import demo
from emulator.run.session import Run, sub_sizes

if TYPE_CHECKING:
    from rich.table import Table

EXACT = 1e-9  # relative error that arithmetic alone may leave
Formula = Callable[[int, int], float]


@demo("incast", needs=2, sizes="8,64K,1M", budget=20.0)
def main(run: Run) -> None:
    """Measure what one receiver takes for messages from 1, 2, 4, ... senders at once.

    mpirun -n 16 python -m demos.incast --net 10gbe
    """
    counts = [p for p in sub_sizes(run, (2, 3, 5, 9, 17, 33, 65)) if p > 1]
    if not counts:
        raise UsageError("incast needs a receiver and a sender, got --ranks 1: ask for 2 or more")
    if run.network is None and len(run.sizes) < 2:
        raise UsageError(f"alpha and beta need at least 2 sizes to be told apart, got {len(run.sizes)}: add --sizes")
    jobs = [job(run.sub(p), p, size) for size in run.sizes for p in counts]
    with run.progress(run.budget, f"measuring {len(jobs)} jobs") as bar:
        series = measure(run.control, jobs, Stop(run.budget), seed=run.seed, tick=bar.advance)
    if run.rank == 0:
        report(run, series)


def job(comm: MPI.Intracomm | None, ranks: int, size: int) -> Job:
    """Prepare one incast of `size` bytes from each rank of `comm` but 0; None on ranks that are not in it."""
    prepared = Job("incast", ranks, size, tuple(range(ranks)), comm, labels={"senders": ranks - 1})
    if comm is None:
        return prepared
    if comm.Get_rank() > 0:
        outbox = np.full(size, comm.Get_rank() % 256, dtype=np.uint8)
        prepared.once = lambda: comm.Send(outbox, dest=0)
        return prepared
    inbox = np.zeros((ranks - 1, size), dtype=np.uint8)
    expected = (np.arange(1, ranks) % 256).astype(np.uint8)[:, None]

    def receive() -> None:
        MPI.Request.Waitall([comm.Irecv(row, source=sender) for sender, row in enumerate(inbox, start=1)])

    def wrong() -> int:
        count = int((inbox != expected).sum())
        np.invert(expected, out=inbox, casting="unsafe")
        return count

    prepared.once, prepared.check = receive, wrong
    return prepared


def report(run: Run, series: list[Series]) -> None:
    """Put the measurements beside the formula, on rank 0."""
    formula = on_network(run.network) if run.network is not None else fitted(run, series)
    for one in series:
        run.measurements.append(measured(one, formula))
        run.samples += one.rows()
        if one.wrong:
            run.fail(f"{one.wrong} elements were wrong with {one.job.ranks - 1} senders of {one.job.bytes} bytes")
    for size in run.sizes:
        rows = [row for row in run.measurements if row["bytes"] == size]
        run.echo(table(rows, size), "")
    if run.network is None:
        return
    if exact(run.network) and run.options.compute == "none":
        taken = [row for row in run.measurements if row["seconds"]["median"] or row["predicted"]]
        off = max(abs(row["predicted"] / row["seconds"]["median"] - 1) for row in taken)
        run.extra["formula_error"] = off
        run.echo(f"alpha + k n beta holds to {off:.1e} (at most {EXACT:.0e}): {'PASS' if off <= EXACT else 'FAIL'}")
        if off > EXACT:
            run.fail(f"the emulated time of incast must be alpha + k n beta to {EXACT:.0e}, it is {off:.1e} off")
    else:
        run.echo("No verdict: the formula is for steady, equal paths without shared links, and --compute none.")


def measured(one: Series, formula: Formula) -> dict[str, Any]:
    """Make the record of one series for the result file; busbw is what goes into the receiver."""
    senders, size = one.job.ranks - 1, one.job.bytes
    record = measurement(one, formula(senders, size))
    into = None if record["algbw"] is None else senders * record["algbw"]
    return {**record, "senders": senders, "busbw": into}


def on_network(network: Network) -> Formula:
    """Predict from the configured paths into rank 0."""

    def formula(senders: int, size: int) -> float:
        paths = [network.between(sender, 0) for sender in range(1, senders + 1)]
        return costs.incast(size, [(path.alpha, path.beta) for path in paths])

    return formula


def exact(network: Network) -> bool:
    """Tell whether the formula is all that happens: every sender alone on its host, paths equal, steady, unshared."""
    paths = {network.between(rank, 0) for rank in range(1, network.ranks)}
    path = next(iter(paths))
    alone = len({network.host_of(rank) for rank in range(network.ranks)}) == network.ranks
    return alone and len(paths) == 1 and not path.links and path.jitter is None and path.loss is None


def fitted(run: Run, series: list[Series]) -> Formula:
    """Fit alpha and beta of one queue to all measurements: S = 1, V = number of senders."""
    from emulator.measure.fit import Point, fit

    points = [
        Point(s.job.bytes, costs.terms("incast", s.job.ranks - 1), s.seconds, ranks=s.job.ranks)
        for s in series
        if any(s.seconds)
    ]
    queue = fit(points, seed=run.seed)
    run.fits.append(queue.record("collective", "incast"))
    return lambda senders, size: queue.predict(costs.terms("incast", senders), size)


def table(rows: list[dict[str, Any]], size: int) -> Table:
    """Lay out the measurements of one size, one line for each number of senders."""
    from rich.table import Table

    from emulator.report.formats import microseconds, percent
    from emulator.units import format_rate, format_size

    laid = Table(title=f"{format_size(size)} bytes from each sender", title_justify="left", box=None, pad_edge=False)
    for heading in (
        "senders",
        "time us",
        "formula us",
        "formula off by",
        "into receiver",
        "each sender",
        "wrong",
    ):
        laid.add_column(heading, justify="right")
    for row in rows:
        took, predicted = row["seconds"]["median"], row["predicted"]
        laid.add_row(
            str(row["senders"]),
            microseconds(took),
            microseconds(predicted),
            percent(predicted / took - 1, signed=True) if took else "-",
            format_rate(row["busbw"] or 0),
            format_rate(row["algbw"] or 0),
            str(row["wrong"]),
        )
    return laid


if __name__ == "__main__":
    main()
