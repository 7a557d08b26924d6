"""Scatter-gather with a coordinator: workers pull tasks, results come back exactly once.

                       coordinator                        A worker that reports results gets the next batch,
        ----run [5 6]---->  |  <---done [1 2]---          so a fast worker does more. One more batch is always
       w1                ledger                w2         on its way (prefetch), so that a worker does not
        <---done [3 4]---   |  ----run [7 8]--->          idle for a round trip.

    1. Every worker gets a first batch and, with prefetch, a second.
    2. A report is booked (first result wins, a task that raised waits again, at most ``retries`` times), and
       its worker gets a new batch: small at first, then as many tasks as ``batch_s`` seconds of work, but never
       more than 1/(2 workers) of what waits (guided self-scheduling), so that all end together.
    3. A worker with nothing left to do runs a backup of a straggler's task, if asked to (``speculate``).
    4. The answer is given when all tasks are done, or by the deadline's rule; running tasks are cancelled.

Bytes: each task's argument once down, each result once up, all through the coordinator: about 60 bytes of
frame for a message and 15 for a task. Time for N tasks of c seconds, s bytes down and r up, in batches of b on
w workers: ``emulator.costs.dynamic_tasks``. Limits: the coordinator's NIC and its bookkeeping, some microseconds a
task; it keeps every result in memory.

A dead worker (``MPI.Exception`` where the MPI reports deaths, or :meth:`Coordinator.declare_dead` by any
detector) loses nothing: its tasks run again elsewhere. The coordinator's own state is the tasks and the
:class:`~primitives.scatter_gather.outcome.Journal`: a successor that has both goes on from there.

Sources: C. Polychronopoulos, D. Kuck, "Guided Self-Scheduling" (IEEE Trans. Computers, 1987); J. Dean,
S. Ghemawat, "MapReduce" (OSDI 2004).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mpi4py import MPI

from primitives.scatter_gather.coordinator import Coordinator, check_options
from primitives.scatter_gather.messages import check_root
from primitives.scatter_gather.outcome import Answer
from primitives.scatter_gather.worker import serve


@contextlib.contextmanager
def coordinator(
    comm: MPI.Comm, function: Callable[[Any], Any], *, root: int = 0, **options: Any
) -> Iterator[Coordinator | None]:
    """Start a :class:`Coordinator` on ``root`` while the other ranks run ``function`` on its tasks; collective.

    The other ranks serve until the block on ``root`` ends, and then get None.

    Examples
    --------
    >>> with coordinator(comm, len) as pool:                         # doctest: +SKIP
    ...     if pool is not None:
    ...         print(pool.ask(["a", "bc"]).values())
    [1, 2]
    """
    check_root(comm, root)
    if comm.Get_rank() != root:
        check_options(comm, options.get("prefetch", 1), options.get("batch"))
        serve(comm, function, root)
        yield None
        return
    pool = Coordinator(comm, **options)
    try:
        yield pool
    finally:
        pool.close()


def map_tasks(
    comm: MPI.Comm, function: Callable[[Any], Any], tasks: Sequence[Any] = (), *, root: int = 0, **options: Any
) -> Answer | None:
    """Run ``function`` on each of the root's ``tasks``; the answer on ``root``, None elsewhere; collective.

    ``prefetch``, ``batch``, ``batch_s`` and ``membership`` go to :class:`Coordinator`, the other options to
    :meth:`Coordinator.stream`.

    Examples
    --------
    >>> answer = map_tasks(comm, len, ["a", "bc"])                   # doctest: +SKIP
    >>> answer.values()                                              # doctest: +SKIP
    [1, 2]
    """
    own = {name: options.pop(name) for name in ("prefetch", "batch", "batch_s", "membership") if name in options}
    with coordinator(comm, function, root=root, **own) as pool:
        return None if pool is None else pool.ask(tasks, **options)
