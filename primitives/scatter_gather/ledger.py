"""The coordinator's ledger: which tasks wait, which rank runs which, which are done. No messages here.

    waiting --take--> out on a worker --finished--> done (the first result only)
       ^                   |  |   `---backup---> out on two workers
       |                   |  `--raised, retries left / worker lost--.
       `-------------------'<-----------------------------------------'
                           `--raised, no retries left--> done (failed)

Every attempt ends in exactly one of finished, raised, dropped or lost, so a task that is not done is always
either waiting, or out, or impossible (no living worker may run it): no task is lost. The journal refuses second
results: no task is counted twice.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from emulator.errors import UsageError
from primitives.scatter_gather.attempt import check_retries
from primitives.scatter_gather.outcome import Counts, Journal, Row

Single = tuple[float, int, int]
"""A task that one rank runs: when it was given, the task, and the rank."""


class Ledger:
    """State of one request of tasks 0..tasks-1 among the living ranks `workers`; options as in `Coordinator.stream`."""

    def __init__(
        self,
        tasks: int,
        workers: Iterable[int],
        *,
        where: Sequence[Collection[int]] | None = None,
        journal: Journal | None = None,
        retries: int = 2,
        deaths: int = 3,
    ) -> None:
        check_retries(retries)
        if where is not None and len(where) != tasks:
            raise UsageError(f"where needs one entry for each of the {tasks} tasks, got {len(where)}")
        self.tasks = tasks
        self.journal = Journal() if journal is None else journal
        self.counts = Counts()
        self.order: list[int] = []
        self.waiting = 0
        self.impossible: set[int] = set()
        self.out: dict[int, dict[int, float]] = {rank: {} for rank in workers}  # rank -> task -> start
        self._owners = None if where is None else [tuple(sorted(set(ranks))) for ranks in where]
        self._queues: dict[tuple[int, ...] | None, deque[int]] = {}  # of the tasks that these ranks may run; None: all
        self._served: dict[int, list[deque[int]]] = {}  # rank -> queues that name it
        self._doubled: dict[int, list[int]] = {}  # task with a backup -> ranks that run it
        self._retries, self._deaths = retries, deaths
        self._raised: dict[int, int] = {}
        self._killed: dict[int, int] = {}
        self._failed = sum(row[2] is not None for row in self.journal.rows())
        todo = self.journal.missing(tasks)
        self._done = tasks - len(todo)
        if self._owners is None and self.out:
            self._queues[None], self.waiting = deque(todo), len(todo)
            return
        for task in todo:
            self._wait(task)

    @property
    def succeeded(self) -> int:
        """Tasks whose function returned."""
        return self._done - self._failed

    @property
    def settled(self) -> bool:
        """Whether no task can make further progress."""
        return self._done + len(self.impossible) == self.tasks

    def take(self, rank: int, count: int, now: float) -> list[int]:
        """Take up to ``count`` waiting tasks for ``rank`` from the longest queue that it may serve."""
        if not self.waiting or count < 1:
            return []
        shared = () if self._owners is not None else self._queues.values()
        queue = max((*shared, *self._served.get(rank, ())), key=len, default=None)
        if not queue:
            return []
        batch = [queue.popleft() for _ in range(min(count, len(queue)))]
        self.waiting -= len(batch)
        self.out[rank].update(dict.fromkeys(batch, now))
        self._count(batch)
        return batch

    def overdue(self, now: float, older_than: float) -> list[Single]:
        """Tasks with a single attempt that has run for longer than ``older_than`` seconds, oldest first."""
        return [] if older_than == math.inf else [one for one in self._singles() if one[0] + older_than <= now]

    def backup(self, rank: int, now: float, overdue: Iterable[Single]) -> list[int]:
        """Start a second attempt on ``rank`` of the first of these tasks that it may run."""
        for start, task, holder in overdue:
            still = self.out.get(holder, {}).get(task) == start and self._single(task)
            if still and holder != rank and self._may(task, rank):
                self.out[rank][task] = now
                self._doubled[task] = [holder, rank]
                self._count([task])
                self.counts.backups += 1
                return [task]
        return []

    def next_backup(self, idle: Collection[int], older_than: float) -> float:
        """When :meth:`backup` will next have a task for one of ``idle`` (infinite: not before a change)."""
        for start, task, holder in self._singles() if idle else ():
            ranks = idle if self._owners is None else self._owners[task]
            if any(rank in idle and rank != holder for rank in ranks):
                return start + older_than
        return math.inf

    def finished(self, rank: int, rows: Sequence[Row]) -> list[tuple[int, int]]:
        """Record a worker's results; returns the (rank, task) of attempts to cancel now."""
        mine, cancelled = self.out.get(rank, {}), []
        for row in rows:
            if row[0] in self._doubled:
                cancelled += [(other, row[0]) for other in self._end(row[0], rank)]
            else:
                mine.pop(row[0], None)
        self.counts.duplicates += len(rows) - self._record(rows)
        return cancelled

    def raised(self, row: Row) -> None:
        """Record an exception: the task waits again if no other attempt runs and retries are left."""
        task, rank = row[0], row[3]
        if task not in self.out.get(rank, ()):
            return  # reported twice
        others = self._end(task, rank)
        self._raised[task] = self._raised.get(task, 0) + 1
        if task in self.journal or others:
            return
        if self._raised[task] > self._retries:
            self._failed += self._record([row])
        else:
            self.counts.retries += 1
            self._wait(task)

    def dropped(self, task: int, rank: int) -> None:
        """Record an attempt that its worker has cancelled as told."""
        if task not in self.out.get(rank, ()):
            return  # reported twice
        others = self._end(task, rank)
        self.counts.dropped += 1
        if task not in self.journal and not others:
            self._wait(task)

    def lost(self, rank: int) -> None:
        """Record a worker's death: its tasks wait again for the remaining workers."""
        tasks = list(self.out[rank])
        for task in tasks:
            others = self._end(task, rank)
            if task in self.journal or others:
                continue
            self._killed[task] = self._killed.get(task, 0) + 1
            if self._killed[task] > self._deaths:
                text = f"{self._killed[task]} workers died while they held this task, rank {rank} last"
                self._failed += self._record([(task, None, text, rank, 0, 0.0)])
            else:
                self.counts.reexecuted += 1
                self._wait(task)
        del self.out[rank]
        self.counts.dead.append(rank)
        for owners, queue in self._queues.items():
            if not self._possible(owners):
                self.impossible.update(queue)
                self.waiting -= len(queue)
                queue.clear()

    def _wait(self, task: int) -> None:
        owners = None if self._owners is None else self._owners[task]
        if not self._possible(owners):
            self.impossible.add(task)
            return
        if owners not in self._queues:
            queue = self._queues[owners] = deque()
            for rank in owners or ():
                self._served.setdefault(rank, []).append(queue)
        self._queues[owners].append(task)
        self.waiting += 1

    def _count(self, batch: list[int]) -> None:
        self.counts.sent += len(batch)
        self.counts.messages += 1

    def _end(self, task: int, rank: int) -> list[int]:
        """Remove an attempt; returns the ranks that still run the task."""
        self.out.get(rank, {}).pop(task, None)
        others = [other for other in self._doubled.pop(task, ()) if other != rank]
        if len(others) > 1:
            self._doubled[task] = others
        return others

    def _record(self, rows: Sequence[Row]) -> int:
        """Record outcomes, the first of each task; returns how many were recorded."""
        if self._raised or self._killed:
            rows = [self._with_attempts(row) for row in rows]
        kept = self.journal.record_all(rows)
        self._done += len(kept)
        self.order += kept
        return len(kept)

    def _with_attempts(self, row: Row) -> Row:
        task, value, error, rank, _, seconds = row
        attempts = self._raised.get(task, 0) + self._killed.get(task, 0) + (error is None)
        return task, value, error, rank, attempts, seconds

    def _singles(self) -> list[Single]:
        """Tasks with a single attempt in progress, oldest first."""
        return sorted(
            (start, task, holder)
            for holder, tasks in self.out.items() for task, start in tasks.items() if self._single(task)
        )  # fmt: skip

    def _single(self, task: int) -> bool:
        return task not in self._doubled and task not in self.journal

    def _may(self, task: int, rank: int) -> bool:
        return self._owners is None or rank in self._owners[task]

    def _possible(self, owners: tuple[int, ...] | None) -> bool:
        """Whether a living rank may run a task of these owners."""
        return bool(self.out) if owners is None else any(rank in self.out for rank in owners)
