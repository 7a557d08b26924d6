"""Scatter-gather with a coordinator: workers pull tasks, results come back exactly once.

                       coordinator                        A worker asks by reporting: whoever returns results
        ----run [5 6]---->  |  <---done [1 2]---          gets the next batch, so a fast worker does more. One
       w1                 book                 w2         more batch is always on its way (prefetch), so that a
        <---done [3 4]---   |  ----run [7 8]--->          worker does not idle for a round trip.

    1. Every worker gets a first batch and, with prefetch, a second.
    2. A report is booked (first result wins, a task that raised waits again, at most ``retries`` times), and
       its worker gets a new batch: small at first, then as many tasks as ``batch_s`` seconds of work, but never
       more than 1/(2 workers) of what waits (guided self-scheduling), so that all end together.
    3. A worker with nothing left to do runs a backup of a straggler's task, if asked to (``speculate``).
    4. The answer is given when all is done, or by the deadline's rule; what is still out is cancelled.

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
import itertools
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from mpi4py import MPI

from emulator import now
from emulator.errors import UsageError
from primitives.scatter_gather.checks import check_root, check_workers
from primitives.scatter_gather.deadline import Deadline
from primitives.scatter_gather.ledger import Ledger
from primitives.scatter_gather.links import DOWN, UP, Outbox, failed_ranks, open_inbox, pack
from primitives.scatter_gather.outcome import Answer, Journal, Outcome, unpack_outcomes
from primitives.scatter_gather.speculation import Speculation
from primitives.scatter_gather.worker import serve

LARGEST_BATCH = 1024
_NUMBERS = itertools.count(1)  # of requests and sessions: what belongs to an earlier one is told by its number
POLL_S = 0.02  # wall seconds between two questions to a membership hook


class Coordinator:
    """The coordinator's end; see :func:`coordinator` for the way in.

    Parameters
    ----------
    comm
        Communicator, bare or emulated; every other rank must be in :func:`serve`.
    prefetch
        Batches that a worker holds beside the one that it works on. 0 balances few long tasks better.
    batch
        Tasks in a message; None: by measured duration.
    batch_s
        Without ``batch``: seconds of work in a batch.
    membership
        Called as ``membership(comm)`` after an MPI error, and now and then while waiting; returns the ranks
        known to be dead. None: ask the MPI after an error.

    Raises
    ------
    UsageError
        There is no worker, or an option is out of range.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        *,
        prefetch: int = 1,
        batch: int | None = None,
        batch_s: float = 0.005,
        membership: Callable[[MPI.Comm], Iterable[int]] | None = None,
    ) -> None:
        _check(comm, prefetch, batch)
        self.comm = comm
        self.living = [rank for rank in range(comm.Get_size()) if rank != comm.Get_rank()]
        self._prefetch, self._batch, self._batch_s = prefetch, batch, batch_s
        self._membership, self._polled = membership, 0.0
        self._inbox, self._outbox = open_inbox(comm, MPI.ANY_SOURCE, UP), Outbox(comm, DOWN)
        self._request = next(_NUMBERS)
        self._ledger = Ledger(0, self.living)
        self._late: dict[int, set[tuple[int, int]]] = {rank: set() for rank in self.living}
        self._task_s: float | None = None

    def ask(self, tasks: Sequence[Any], **options: Any) -> Answer:
        """Have every task run and return the answer; options as in :meth:`stream`."""
        start = now(self.comm)
        for _ in self.stream(tasks, ordered=False, **options):
            pass
        ledger = self._ledger
        return Answer(len(tasks), ledger.journal, now(self.comm) - start, ledger.counts, ledger.order)

    def stream(
        self,
        tasks: Sequence[Any],
        *,
        ordered: bool = True,
        where: Sequence[Collection[int]] | None = None,
        deadline: Deadline | None = None,
        speculate: float | None = None,
        retries: int = 2,
        deaths: int = 3,
        journal: Journal | None = None,
    ) -> Iterator[Outcome]:
        """Yield each task's outcome, once, as it comes or in task order.

        Parameters
        ----------
        tasks
            Arguments of the workers' function.
        ordered
            Hold outcomes back until all before them are there (missing ones are skipped at the end).
        where
            For each task the ranks that may run it.
        deadline
            When to stop waiting; None: when every task is done.
        speculate
            A task that is out for this many median turnarounds is late, and gets a backup; None: never.
        retries, deaths
            How often a task may raise, or lose its worker, and be tried again.
        journal
            Outcomes that are there already; new ones are added to it.
        """
        ledger = Ledger(len(tasks), self.living, where=where, journal=journal, retries=retries, deaths=deaths)
        late = None if speculate is None else Speculation(len(tasks), speculate)
        todo = ledger.journal.missing(len(tasks))
        outcomes = self._run(tasks, ledger, deadline or Deadline(), late)
        return _in_order(outcomes, todo) if ordered else outcomes

    def declare_dead(self, rank: int) -> None:
        """Give up on a worker: its tasks run again elsewhere, and what it still sends is ignored."""
        if rank in self.living:
            self.living.remove(rank)
            self._inbox.forget(rank)
            self._late.pop(rank)
            self._ledger.lost(rank)
            with contextlib.suppress(MPI.Exception):  # in case that it lives: let it go home
                self._outbox.send(rank, pack(("stop", next(_NUMBERS))))

    def close(self) -> None:
        """Tell the workers to stop, and wait for each one's last message."""
        self._ledger = Ledger(0, self.living)  # a worker that leaves from here on is no loss to the last answer
        session = next(_NUMBERS)
        for rank in list(self.living):
            self._send(rank, "stop", session)
        waiting = set(self.living)
        while waiting & set(self.living):
            message = self._next(math.inf, waiting & set(self.living))
            if message is not None and message[1] == ("bye", session):
                waiting.discard(message[0])
        with contextlib.suppress(MPI.Exception):  # a message to a worker that died meanwhile
            self._outbox.drain()

    def _run(
        self, tasks: Sequence[Any], ledger: Ledger, deadline: Deadline, late: Speculation | None
    ) -> Iterator[Outcome]:
        self._ledger, self._request = ledger, next(_NUMBERS)
        start, yielded = now(self.comm), 0
        due = math.inf if deadline.seconds is None else start + deadline.seconds
        try:
            while True:
                self._fill(tasks, ledger, late)
                while yielded < len(ledger.order):
                    yielded += 1
                    yield ledger.journal[ledger.order[yielded - 1]]
                instant = now(self.comm)
                if ledger.settled or deadline.answered(instant - start, ledger.succeeded, ledger.tasks):
                    return
                if instant >= due:
                    due = math.inf  # the deadline has passed: from here on the quorum decides
                busy = [rank for rank in self.living if ledger.out[rank] or self._late[rank]]
                message = self._next(min(due, self._next_backup(ledger, late)), busy)
                if message is not None:
                    self._book(*message, ledger, late)
        finally:
            self._leave(ledger)

    def _fill(self, tasks: Sequence[Any], ledger: Ledger, late: Speculation | None) -> None:
        """Give every worker with room a batch; one each before anybody gets a second."""
        for depth in range(self._prefetch + 1):
            for rank in list(self.living):
                if rank not in self.living or self._late[rank]:
                    continue  # a send to another worker may just have shown that this one is dead
                out = len(ledger.out[rank])
                if out > depth * self._batch_size(ledger):
                    continue
                batch = ledger.take(rank, self._batch_size(ledger), now(self.comm))
                if not batch and out == 0 and late is not None:
                    batch = ledger.backup(rank, now(self.comm), late.late_after)
                if batch:
                    self._send(rank, "run", self._request, [(task, tasks[task]) for task in batch])

    def _batch_size(self, ledger: Ledger) -> int:
        if self._batch is not None:
            return self._batch
        if self._task_s is None:
            return 1
        fair = math.ceil(ledger.waiting / (2 * len(self.living)))
        return max(1, min(fair, LARGEST_BATCH, int(self._batch_s / max(self._task_s, 1e-9))))

    def _book(self, rank: int, message: tuple[Any, ...], ledger: Ledger, late: Speculation | None) -> None:
        """Enter a worker's report."""
        if rank not in self.living or message[0] != "done":
            return  # declared dead: its tasks run elsewhere
        _, request, packed, dropped = message
        outcomes = unpack_outcomes(packed)
        if request != self._request:
            self._late[rank] -= {(request, task) for task in dropped}
            self._late[rank] -= {(request, outcome.task) for outcome in outcomes}
            return
        for outcome in outcomes:
            if late is not None and outcome.task in ledger.out[rank]:
                late.observe(now(self.comm) - ledger.out[rank][outcome.task])
            if not outcome.ok:
                ledger.raised(outcome)
                continue
            for other in ledger.finished(outcome):
                self._send(other, "cancel", request, outcome.task)
        for task in dropped:
            ledger.dropped(task, rank)
        if outcomes:
            mean = sum(outcome.seconds for outcome in outcomes) / len(outcomes)
            self._task_s = mean if self._task_s is None else 0.5 * (self._task_s + mean)

    def _next_backup(self, ledger: Ledger, late: Speculation | None) -> float:
        """When an idle worker will find a task that is late."""
        if late is None or late.late_after == math.inf:
            return math.inf
        idle = [rank for rank in self.living if not ledger.out[rank] and not self._late[rank]]
        return min((ledger.next_backup(rank, late.late_after) for rank in idle), default=math.inf)

    def _leave(self, ledger: Ledger) -> None:
        """Cancel what is still out; its workers get no new task before they have reported it."""
        for rank in list(self.living):
            if ledger.out.get(rank):
                self._late[rank] |= {(self._request, task) for task in ledger.out[rank]}
                self._send(rank, "cancel", self._request, None)

    def _next(self, until: float, owing: Iterable[int]) -> tuple[int, tuple[Any, ...]] | None:
        """The next message, or None at the instant ``until``, after a death, or to let the caller look around."""
        try:
            found = self._inbox.next(until, math.inf if self._membership is None else POLL_S, owing)
        except MPI.Exception as error:
            self._bury(error)
            return None
        if self._membership is not None and time.monotonic() - self._polled >= POLL_S:
            self._polled = time.monotonic()
            self._bury(None)
        return found

    def _send(self, rank: int, *message: Any) -> None:
        try:
            self._outbox.send(rank, pack(message))
        except MPI.Exception as error:
            self._bury(error)

    def _bury(self, error: MPI.Exception | None) -> None:
        """Learn who died; an error that nobody's death explains goes on to the caller."""
        dead = [rank for rank in (self._membership or failed_ranks)(self.comm) if rank in self.living]
        for rank in dead:
            self.declare_dead(rank)
        if error is not None and not dead:
            raise error


@contextlib.contextmanager
def coordinator(
    comm: MPI.Comm, function: Callable[[Any], Any], *, root: int = 0, **options: Any
) -> Iterator[Coordinator | None]:
    """Collective: a :class:`Coordinator` on ``root``, while the other ranks run ``function`` on its tasks.

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
        _check(comm, options.get("prefetch", 1), options.get("batch"))
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
    """Collective: run ``function`` on each of the root's ``tasks``; the answer on ``root``, None elsewhere.

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


def _check(comm: MPI.Comm, prefetch: int, batch: int | None) -> None:
    """Refuse on every rank alike, so that nobody waits for a coordinator that has given up."""
    check_workers(comm)
    if prefetch < 0:
        raise UsageError(f"prefetch must be >= 0 batches, got {prefetch}: 1 hides the round trip")
    if batch is not None and batch < 1:
        raise UsageError(f"a batch must hold at least 1 task, got {batch}: leave it out to have it measured")


def _in_order(outcomes: Iterator[Outcome], todo: list[int]) -> Iterator[Outcome]:
    """Outcomes of the tasks ``todo`` in their order; what never comes is skipped at the end."""
    held: dict[int, Outcome] = {}
    due = iter(todo)
    expected = next(due, None)
    for outcome in outcomes:
        held[outcome.task] = outcome
        while expected in held:
            yield held.pop(expected)
            expected = next(due, None)
    yield from (held[task] for task in sorted(held))
