"""The coordinator of dynamic scatter-gather: hands out tasks and collects their results.

The pattern, its costs and its limits are described in ``dynamic.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from mpi4py import MPI

from emulator import carrier, now
from emulator.errors import UsageError
from primitives.inbox import Inbox, Outbox
from primitives.scatter_gather.ledger import Ledger
from primitives.scatter_gather.messages import DOWN, UP, failed_ranks, pack, unpack, wrap
from primitives.scatter_gather.outcome import Answer, Journal, Outcome, unpack_outcomes
from primitives.scatter_gather.stragglers import Deadline, Speculation

LARGEST_BATCH = 1024
ASK_S = 0.02  # seconds between two calls of a membership hook


class Job(NamedTuple):
    """A request to a coordinator: its tasks, their ledger, and the rules that end it."""

    tasks: Sequence[Any]
    ledger: Ledger
    deadline: Deadline
    late: Speculation | None


class Coordinator:
    """The coordinator's end of dynamic scatter-gather; :func:`coordinator` makes one.

    Parameters
    ----------
    comm : communicator, bare or emulated; every other rank must be in :func:`serve`
    prefetch : batches that a worker holds beside the one that it works on. 0 balances few long tasks better
    batch : tasks in a message; None: by measured duration
    batch_s : without ``batch``: seconds of work in a batch
    membership : called as ``membership(comm)`` after an MPI error, and now and then while waiting; returns the ranks
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
        check_options(comm, prefetch, batch)
        self.comm = comm
        self._phase = carrier.of(comm).phase
        self.living = [rank for rank in range(comm.Get_size()) if rank != comm.Get_rank()]
        self._prefetch, self._batch, self._batch_s = prefetch, batch, batch_s
        self._membership, self._asked = membership, -math.inf
        self._inbox, self._outbox = Inbox(comm, UP), Outbox(comm, DOWN)
        # Of requests and sessions: messages of an earlier one are recognised by it.
        self._numbers = carrier.of(comm).state.setdefault(Coordinator, itertools.count(1))
        self._request = next(self._numbers)
        self._ledger = Ledger(0, self.living)
        self._late: dict[int, set[tuple[int, int]]] = {rank: set() for rank in self.living}  # of each that lives
        self._task_s: float | None = None

    def ask(self, tasks: Sequence[Any], **options: Any) -> Answer:
        """Run every task and return the answer; options as in :meth:`stream`."""
        start = now(self.comm)
        job = self._begin(tasks, **options)
        for _ in self._run(job):
            pass
        return Answer(len(tasks), job.ledger.journal, now(self.comm) - start, job.ledger.counts, job.ledger.order)

    def stream(self, tasks: Sequence[Any], *, ordered: bool = True, **options: Any) -> Iterator[Outcome]:
        """Yield each task's outcome once, as it arrives or in task order.

        Parameters
        ----------
        tasks : arguments of the workers' function
        ordered : hold outcomes back until all before them are there (missing ones are skipped at the end)
        where : Sequence[Collection[int]], optional
            For each task the ranks that may run it.
        deadline : Deadline, optional
            When to stop waiting; None: when every task is done.
        speculate : float, optional
            A task that is out for this many median turnarounds is late, and gets a backup; None: never.
        retries, deaths : int, optional
            How often a task may raise (2), or lose its worker (3), and be tried again.
        journal : Journal, optional
            Outcomes that are there already; new ones are added to it.
        """
        job = self._begin(tasks, **options)
        todo = job.ledger.journal.missing(len(tasks))
        done = (task for tasks in self._run(job) for task in tasks)
        return map(job.ledger.journal.__getitem__, _in_order(done, todo) if ordered else done)

    def declare_dead(self, rank: int) -> None:
        """Treat a worker as dead: its tasks run again elsewhere, and its later messages are ignored."""
        if rank in self.living:
            self.living.remove(rank)
            self._inbox.forget(rank)
            self._outbox.forget(rank)
            self._late.pop(rank)
            self._ledger.lost(rank)
            with contextlib.suppress(MPI.Exception):  # in case that it lives
                self._outbox.send(rank, pack(("stop", next(self._numbers))))

    def close(self) -> None:
        """Tell the workers to stop, and wait for each one's last message."""
        self._ledger = Ledger(0, self.living)  # a worker that leaves from here on is no loss to the last answer
        session = next(self._numbers)
        for rank in list(self.living):
            self._send(rank, "stop", session)
        waiting = set(self.living)
        while waiting & set(self.living):
            message = self._next(math.inf, waiting & set(self.living))
            if message is not None and message[1] == ("bye", session):
                waiting.discard(message[0])
        with contextlib.suppress(MPI.Exception):  # a message to a worker that died meanwhile
            self._outbox.drain()

    def _begin(
        self,
        tasks: Sequence[Any],
        *,
        where: Sequence[Collection[int]] | None = None,
        deadline: Deadline | None = None,
        speculate: float | None = None,
        retries: int = 2,
        deaths: int = 3,
        journal: Journal | None = None,
    ) -> Job:
        ledger = Ledger(len(tasks), self.living, where=where, journal=journal, retries=retries, deaths=deaths)
        late = None if speculate is None else Speculation(len(tasks), speculate)
        return Job(tasks, ledger, deadline or Deadline(), late)

    def _run(self, job: Job) -> Iterator[list[int]]:
        """Run the tasks; yields those that have their first outcome now."""
        ledger, deadline = job.ledger, job.deadline
        self._phase("scatter")
        self._ledger, self._request = ledger, next(self._numbers)
        start, yielded = now(self.comm), 0
        due = wake = math.inf if deadline.seconds is None else start + deadline.seconds
        try:
            while True:
                self._fill(job)
                if yielded < len(ledger.order):
                    yield ledger.order[yielded:]
                    yielded = len(ledger.order)
                passed = now(self.comm) >= due  # judged by the instant itself: (start + d) - start may be less than d
                elapsed = deadline.seconds if passed and deadline.seconds is not None else now(self.comm) - start
                if ledger.settled or deadline.answered(elapsed, ledger.succeeded, ledger.tasks):
                    return
                if passed:
                    wake = math.inf  # from here on the quorum decides
                message = self._next(min(wake, self._next_backup(job)), self._busy)
                if message is not None:
                    self._book(*message, job)
        finally:
            self._leave(ledger)

    def _fill(self, job: Job) -> None:
        """Send every worker with room a batch; all get one before any gets a second."""
        ledger = job.ledger
        overdue = [] if job.late is None else ledger.overdue(now(self.comm), job.late.late_after)
        if not ledger.waiting and not overdue:
            return
        size = self._batch_size(ledger)
        for depth in range(self._prefetch + 1):
            for rank in list(self.living):
                held = ledger.out.get(rank)
                if held is None or self._late[rank]:
                    continue  # a send to another worker may have shown that this one is dead
                out = len(held)
                if out > depth * size:
                    continue
                batch = ledger.take(rank, size, now(self.comm))
                if not batch and out == 0 and overdue:
                    batch = ledger.backup(rank, now(self.comm), overdue)
                if batch:
                    arguments = wrap([job.tasks[task] for task in batch])
                    self._send(rank, "run", self._request, batch, arguments)
                    size = self._batch_size(ledger)

    def _batch_size(self, ledger: Ledger) -> int:
        if self._batch is not None:
            return self._batch
        if self._task_s is None:
            return 1
        fair = math.ceil(ledger.waiting / (2 * len(self.living)))
        return max(1, min(fair, LARGEST_BATCH, int(self._batch_s / max(self._task_s, 1e-9))))

    def _book(self, rank: int, message: tuple[Any, ...], job: Job) -> None:
        """Record a worker's report."""
        ledger, late = job.ledger, job.late
        if rank not in self._late or message[0] != "done":
            return  # declared dead: its tasks run elsewhere
        self._phase("gather")
        _, request, packed, dropped = message
        rows = unpack_outcomes(packed)
        if request != self._request:
            self._late[rank].difference_update((request, task) for task in [*dropped, *(row[0] for row in rows)])
            return
        if late is not None:
            mine, instant = ledger.out[rank], now(self.comm)
            late.observe([instant - mine[row[0]] for row in rows if row[0] in mine])
        raised = [row for row in rows if row[2] is not None]
        good = [row for row in rows if row[2] is None] if raised else rows
        for other, task in ledger.finished(rank, good):
            self._send(other, "cancel", request, task)
        for row in raised:
            ledger.raised(row)
        for task in dropped:
            ledger.dropped(task, rank)
        if rows:
            mean = sum(map(itemgetter(5), rows)) / len(rows)
            self._task_s = mean if self._task_s is None else 0.5 * (self._task_s + mean)

    def _next_backup(self, job: Job) -> float:
        """When an idle worker will find a late task."""
        ledger, late = job.ledger, job.late
        if late is None or late.late_after == math.inf:
            return math.inf
        idle = {rank for rank in self.living if not ledger.out[rank] and not self._late[rank]}
        return ledger.next_backup(idle, late.late_after)

    def _leave(self, ledger: Ledger) -> None:
        """Cancel the attempts in progress; their workers get no new task before they have reported."""
        for rank in list(self.living):
            if ledger.out.get(rank):
                self._late[rank] |= {(self._request, task) for task in ledger.out[rank]}
                self._send(rank, "cancel", self._request, None)

    @property
    def _busy(self) -> Iterable[int]:
        """Workers that will report, for an inbox that waits for each of them; any other inbox ignores the value."""
        if not self._inbox.ordered:
            return self.living
        return [rank for rank in self.living if self._ledger.out[rank] or self._late[rank]]

    def _next(self, until: float, owing: Iterable[int]) -> tuple[int, tuple[Any, ...]] | None:
        """The next message; None at the instant ``until``, after a death, or every `ASK_S` with a membership hook."""
        try:
            mail = self._inbox.next(until, math.inf if self._membership is None else ASK_S, owing)
        except MPI.Exception as error:
            self._remove_dead(error)
            return None
        if self._membership is not None and (mail is None or now(self.comm) - self._asked >= ASK_S):
            self._asked = now(self.comm)
            self._remove_dead(None)
        return unpack(mail)

    def _send(self, rank: int, *message: Any) -> None:
        if rank not in self._late:  # it was found dead together with another one
            return
        try:
            self._outbox.send(rank, pack(message))
        except MPI.Exception as error:
            self._remove_dead(error)

    def _remove_dead(self, error: MPI.Exception | None) -> None:
        """Remove the ranks that died; re-raise an error that no death explains."""
        dead = [rank for rank in (self._membership or failed_ranks)(self.comm) if rank in self.living]
        for rank in dead:
            self.declare_dead(rank)
        if error is not None and not dead:
            raise error


def check_options(comm: MPI.Comm, prefetch: int, batch: int | None) -> None:
    """Refuse bad options on every rank alike, so that no rank waits for a coordinator that has raised."""
    if comm.Get_size() < 2:
        raise UsageError("scatter-gather needs a coordinator and at least 1 worker, got 1 rank: start at least 2")
    if prefetch < 0:
        raise UsageError(f"prefetch must be >= 0 batches, got {prefetch}: 1 hides the round trip")
    if batch is not None and batch < 1:
        raise UsageError(f"a batch must hold at least 1 task, got {batch}: leave it out to have it measured")


def _in_order(done: Iterator[int], todo: list[int]) -> Iterator[int]:
    """Yield the tasks ``todo`` in order as they complete; missing ones are skipped at the end."""
    held: set[int] = set()
    due = iter(todo)
    expected = next(due, None)
    for task in done:
        held.add(task)
        while expected in held:
            held.discard(expected)
            yield expected
            expected = next(due, None)
    yield from sorted(held)
