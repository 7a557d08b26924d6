"""Incast: one receiver and a growing number of senders at once, as at the port of a parameter server.

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

import numpy as np
from mpi4py import MPI

from demos._lib.formulas import formula, judge
from demos._lib.timing import Formula, check_room, keep, timed, too_few_sizes
from emulator import costs
from emulator.errors import UsageError
from emulator.measure.repetitions import Job, Series
from emulator.measure.series import first_ranks
from emulator.network import Network
from emulator.run.demo_run import Run
from emulator.run.options import demo

EXACT = 1e-9  # relative error that arithmetic alone may leave


@demo("incast", needs=2, sizes="8,64K,1M", budget=20.0)
def main(run: Run) -> None:
    """Measure what one receiver takes for messages from 1, 2, 4, ... senders at once.

    mpirun -n 16 python -m demos.incast --net 10gbe
    """
    counts = [p for p in run.sub_sizes((2, 3, 5, 9, 17, 33, 65)) if p > 1]
    if not counts:
        raise UsageError("incast needs a receiver and a sender, got --ranks 1: ask for 2 or more")
    if run.network is None and len(run.sizes) < 2:
        raise too_few_sizes(run.sizes)
    check_room(run, buffers=3)
    jobs = [job(run.sub(p), p, size) for size in run.sizes for p in counts]
    series = timed(run, jobs, fewest=10)
    if run.rank == 0:
        conclude(run, series)


def job(comm: MPI.Intracomm | None, ranks: int, size: int) -> Job:
    """Prepare an incast of `size` bytes from each rank of `comm` but 0; `comm` is None on ranks that are not in it."""
    prepared = Job("incast", ranks, size, first_ranks(ranks), comm, labels={"senders": ranks - 1})
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


def conclude(run: Run, series: list[Series]) -> None:
    """Compare the measurements with the formula on rank 0; busbw is the rate into the receiver."""
    configured = on_network(run.network) if run.network is not None else lambda *_: None
    # Fitted are the terms of one queue: S = 1, V = number of senders.
    found = formula(run, series, configured, lambda _, ranks: costs.terms("incast", ranks - 1), "incast")
    pairs = keep(run, series, found)
    for row in run.measurements:
        row["busbw"] = None if row["algbw"] is None else row["senders"] * row["algbw"]
    judge(run, "alpha + k n beta", pairs, EXACT, into=0)


def on_network(network: Network) -> Formula:
    """Predict from the configured paths into rank 0."""

    def formula(pattern: str, ranks: int, size: int) -> float:
        paths = [network.between(sender, 0) for sender in range(1, ranks)]
        return costs.incast(size, [(path.alpha, path.beta) for path in paths])

    return formula


if __name__ == "__main__":
    main()
