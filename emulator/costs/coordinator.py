"""Time of a coordinator's requests, message by message: pulled tasks, quorum, backups, rounds with a limit.

A worker that is late with one request gets nothing of the next before it has reported, so the requests of a job are
followed one after another. The rules are those of `primitives.scatter_gather` and `primitives.federated`; nothing of
their code is used, so that each can be tested against the other.

Sources: Denning and Buzen, "The operational analysis of queueing network models" (1978), for tasks that are pulled;
Dean and Barroso, "The tail at scale" (2013), for quorum and backup requests; McMahan et al. (2017) for rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from emulator.costs.message_paths import Queues, Ways

KNOWN = 0.5  # share of the tasks that must be done before one is late
CANCEL = 45.0  # bytes of a message that cancels a task


class Cards:
    """Rank 0's clock, the cards and links between it and its p workers, and the reports under way."""

    def __init__(self, p: int, ways: Ways) -> None:
        self.ways, self.queues, self.clock = ways, Queues(), 0.0
        self.free = [0.0] * p
        self.reports: list[tuple[float, int, int, int, int]] = []  # when, worker, request, task, stations passed

    def tell(self, worker: int, size: float) -> float:
        """Send a message now; returns when its last byte has reached the worker."""
        way = self.ways.between(0, 1 + worker)
        start = self.queues.take(way.out, self.clock, size)
        for link in way.links:
            start = self.queues.take(link, start, size)
        return self.queues.take(way.into, start + way.alpha, size) + size * way.into.beta

    def work(self, worker: int, begin: float, seconds: float, request: int, task: int = 0) -> None:
        """Let a worker compute once it has its order (at `begin`) and is free, and report."""
        self.free[worker] = max(self.free[worker], begin) + seconds
        heappush(self.reports, (self.free[worker], worker, request, task, 0))

    def next(self, up: float, until: float) -> tuple[int, int, int] | None:
        """Take the next report (worker, request, task) that has arrived by an instant; else wait until then."""
        while self.reports and self.reports[0][0] <= until:
            time, worker, request, task, passed = heappop(self.reports)
            way = self.ways.between(1 + worker, 0)
            if passed == len(way.stations):
                self.clock = max(self.clock, time)
                return worker, request, task
            time = self.queues.take(way.stations[passed], time, up)
            if passed == len(way.links):  # it has left the last station before the receiver's card
                time += way.alpha
            elif passed == len(way.links) + 1:
                time += up * way.into.beta
            heappush(self.reports, (time, worker, request, task, passed + 1))
        self.clock = max(self.clock, until)
        return None


@dataclass(frozen=True)
class Rules:
    """Rules by which tasks are handed out and waited for.

    Attributes
    ----------
    tasks, needed : tasks of a request, and how many of their results make an answer
    down, up : bytes of a task's message, and of a report
    prefetch : tasks that a worker holds beside the one that it works on
    late : median turnarounds after which an idle worker runs a task again; None: never
    owners : for each task the workers (from 0) that may run it; None: any
    """

    tasks: int
    needed: int
    down: float
    up: float
    prefetch: int = 1
    late: float | None = None
    owners: Sequence[Sequence[int]] | None = None


def requests(draws: NDArray[np.float64], rules: Rules, ways: Ways) -> list[float]:
    """When rank 0 has the answer to each request, in seconds.

    Parameters
    ----------
    draws : ``draws[r, k, i]``: computing time of the k-th task that worker i runs of request r (k modulo their number)
    """
    cards = Cards(draws.shape[2], ways)
    owed: list[set[tuple[int, int]]] = [set() for _ in cards.free]
    ends = []
    for number, times in enumerate(draws.tolist()):
        _Request(cards, owed, rules, number, times).run()
        ends.append(cards.clock)
    return ends


class _Request:
    """One request: who runs which task since when, what waits, what is done."""

    def __init__(
        self, cards: Cards, owed: list[set[tuple[int, int]]], rules: Rules, number: int, times: list[list[float]]
    ) -> None:
        self.cards, self.owed, self.rules, self.number, self.times = cards, owed, rules, number, times
        self.waiting = list(range(rules.tasks - 1, -1, -1))  # the first task is the last
        self.out: list[dict[int, float]] = [{} for _ in owed]
        self.ran = [0] * len(owed)
        self.doubled: set[int] = set()
        self.done: set[int] = set()
        self.turnarounds: list[float] = []

    def run(self) -> None:
        workers, rules = range(len(self.owed)), self.rules
        for depth in range(rules.prefetch + 1):
            for worker in workers:
                self.assign_tasks(worker, depth)
        while True:
            self.back_up()
            if len(self.done) >= rules.needed:  # an idle worker has got its next task by then
                break
            report = self.cards.next(rules.up, self.wake())
            if report is None:
                continue
            worker, request, task = report
            if request == self.number:
                self.book(worker, task)
            else:
                self.owed[worker].discard((request, task))
            self.assign_tasks(worker, rules.prefetch)
        for worker in workers:
            if self.out[worker]:
                self.owed[worker] |= {(self.number, task) for task in self.out[worker]}
                self.cards.tell(worker, CANCEL)

    def assign_tasks(self, worker: int, most: int) -> None:
        """Give a worker that holds at most `most` tasks the next one that it may run."""
        if not self.waiting or self.owed[worker] or len(self.out[worker]) > most:
            return
        owners = self.rules.owners
        index = -1 if owners is None else next(
            (k for k in range(len(self.waiting) - 1, -1, -1) if worker in owners[self.waiting[k]]), None
        )  # fmt: skip
        if index is not None:
            self.start(worker, self.waiting.pop(index))

    def start(self, worker: int, task: int) -> None:
        self.out[worker][task] = self.cards.clock
        seconds = self.times[self.ran[worker] % len(self.times)][worker]
        self.ran[worker] += 1
        self.cards.work(worker, self.cards.tell(worker, self.rules.down), seconds, self.number, task)

    def book(self, worker: int, task: int) -> None:
        begun = self.out[worker].pop(task)
        if self.rules.late is not None:
            self.turnarounds = sorted([*self.turnarounds, self.cards.clock - begun])
        if task in self.done:
            return
        self.done.add(task)
        for other, mine in enumerate(self.out):
            if task in self.doubled and task in mine:
                self.cards.tell(other, CANCEL)

    def late_after(self) -> float:
        known, late = len(self.turnarounds), self.rules.late
        enough = late is not None and known and known >= KNOWN * self.rules.tasks
        return late * self.turnarounds[known // 2] if enough and late is not None else math.inf

    def candidates(self, worker: int) -> list[tuple[float, int]]:
        """Tasks (start, task) with one attempt running that an idle worker could run as well."""
        owners = self.rules.owners
        if self.out[worker] or self.owed[worker]:
            return []
        return [(start, task) for other, mine in enumerate(self.out) if other != worker for task, start in mine.items()
                if task not in self.doubled and task not in self.done
                and (owners is None or worker in owners[task])]  # fmt: skip

    def back_up(self) -> None:
        late = self.late_after()
        for worker in range(len(self.out)) if late < math.inf else ():
            tasks = [one for one in self.candidates(worker) if one[0] + late <= self.cards.clock]
            if tasks:
                task = min(tasks)[1]
                self.doubled.add(task)
                self.start(worker, task)

    def wake(self) -> float:
        """When an idle worker will find a late task."""
        late = self.late_after()
        if late == math.inf:
            return late
        starts = [start for worker in range(len(self.out)) for start, _ in self.candidates(worker)]
        return min(starts, default=math.inf) + late


def rounds(draws: NDArray[np.float64], down: float, up: float, deadline: float, ways: Ways) -> list[float]:
    """When each round of a federated server ends that waits for all p clients, but at most until a deadline."""
    cards = Cards(draws.shape[1], ways)
    ends = []
    for number, row in enumerate(draws.tolist()):
        until = cards.clock + deadline
        for client, seconds in enumerate(row):
            cards.work(client, cards.tell(client, down), seconds, number)
        missing = set(range(len(row)))
        while missing and (report := cards.next(up, until)) is not None:
            if report[1] == number:
                missing.discard(report[0])
        ends.append(cards.clock)
    return ends
