"""Work stealing: every rank begins with a block of tasks; a rank without tasks takes half of another's.

        rank 0 [######----]   <--- "any work?" ---   rank 2 [          ]
                              ---- half ------->            [##        ]

    1. Every rank works on its own tasks from the front, and reports results to the root every `REPORT_EVERY_S`.
    2. A rank that has run out (the thief) asks the others (its victims) in random order, one at a time. A victim with
       two or more tasks gives the back half; another one refuses, and keeps the thief's rank.
    3. A thief that all others have refused waits. A victim that gets tasks later passes half of them on to the thieves
       that it has refused (lifelines), so that a thief asks each rank once.
    4. The root counts results; when all are there, it sends a stop to every rank, and every rank sends a bye to all.

Only results pass through the root, so its port carries half of what it does in the dynamic form, and no rank waits
for it between tasks. The balance is as good, for at most p-1 questions each time a rank runs out. A question is
answered between two tasks (and at the yields of a generator task): during a long plain task the thief waits.

Every rank must know all tasks and their arguments (``tasks[i]`` for i in the block), as when each rank reads its own
part of a corpus: messages carry the numbers of tasks. When a rank dies (``MPI.Exception``) the root puts every task
without a result back into its own queue; some may run twice, the first result counts. The emulated time of a run
depends on the order in which ranks ask, and is meaningful with pacing only.

Sources: R. Blumofe, C. Leiserson, "Scheduling Multithreaded Computations by Work Stealing" (JACM 46(5), 1999);
V. Saraswat et al., "Lifeline-based Global Load Balancing" (PPoPP 2011).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from emulator import now
from primitives.blocks import split
from primitives.inbox import Inbox, Outbox
from primitives.scatter_gather.attempt import attempt, check_retries
from primitives.scatter_gather.messages import check_root, failed_ranks, pack, unpack
from primitives.scatter_gather.outcome import Answer, Counts, Journal, Outcome, pack_outcomes, unpack_outcomes

TAG = 7121
REPORT_EVERY_S = 0.005


class Thief:
    """The state of one rank in a work-stealing run; see :func:`steal_tasks`."""

    def __init__(
        self, comm: MPI.Comm, function: Callable[[Any], Any], tasks: Sequence[Any], root: int, retries: int, seed: int
    ) -> None:
        self._comm, self._function, self._tasks = comm, function, tasks
        self._root, self._retries = root, retries
        self._rank = comm.Get_rank()
        self._inbox, self._outbox = Inbox(comm, TAG, ordered=False), Outbox(comm, TAG)
        self._queue = deque(split(range(len(tasks)), comm.Get_size())[self._rank])
        self._living = set(range(comm.Get_size())) - {self._rank}
        self._gone: set[int] = set()  # ranks that have sent their bye
        self._random = random.Random(f"{seed}/{self._rank}")
        self._unasked: list[int] | None = None  # victims to ask; None: it has had tasks since it last asked
        self._asked: int | None = None  # the victim that owes an answer
        self._refused: list[int] = []  # thieves that were refused here
        self._busy = False
        self._over = False
        self._results: list[Outcome] = []
        self._reported = now(comm)
        self._answers: dict[str, Callable[..., None]] = {
            "ask": self._on_ask, "no": self._on_no, "give": self._on_give, "done": self._on_done,
            "stop": self._on_stop, "bye": self._on_bye,
        }  # fmt: skip
        self.journal, self.counts = Journal(), Counts(sent=len(tasks))

    def run(self) -> None:
        """Work, give and steal until the root has every result; all messages are then received."""
        while not self._over:
            self._guarded(self._step)
        for rank in list(self._living):
            if rank in self._living:  # it was not found dead together with another one
                self._guarded(lambda rank=rank: self._send(rank, "bye"))  # type: ignore[misc]
        while self._living - self._gone:
            self._guarded(lambda: self._listen(wait=True))
        self._guarded(self._outbox.drain)

    def _step(self) -> None:
        """Run one task, or request tasks and wait for a message."""
        self._listen(wait=False)
        if self._over:
            return
        if self._queue:
            self._work(self._queue.popleft())
            return
        self._report()
        if self._rank == self._root and len(self.journal) == len(self._tasks):
            for rank in self._living:
                self._send(rank, "stop")
            self._over = True
        else:
            self._ask()
            self._listen(wait=True)

    def _listen(self, wait: bool) -> None:
        """Receive the messages that have arrived; with ``wait``, at least one."""
        mail = self._inbox.next() if wait else self._inbox.poll()
        while (message := unpack(mail)) is not None:
            source, (kind, *body) = message
            self._answers[kind](source, *body)
            mail = self._inbox.poll()

    def _ask(self) -> None:
        """Ask the next victim, if no answer is outstanding and a victim is left."""
        if self._asked is not None:
            return
        if self._unasked is None:
            self._unasked = self._random.sample(sorted(self._living), len(self._living))
        if self._unasked:
            self._asked = self._unasked.pop()
            self._send(self._asked, "ask")

    def _on_ask(self, thief: int) -> None:
        if not self._over and not self._give(thief):  # after the end ranks send byes only
            self._refused.append(thief)
            self._send(thief, "no")

    def _on_no(self, victim: int) -> None:
        self._asked = None

    def _on_give(self, giver: int, tasks: list[int]) -> None:
        self._queue.extend(tasks)
        self._unasked = None
        if self._asked == giver:
            self._asked = None
        while not self._over and self._refused and self._give(self._refused[0]):
            self._refused.pop(0)

    def _on_done(self, worker: int, outcomes: bytes) -> None:
        rows = unpack_outcomes(outcomes)
        kept = set(self.journal.record_all(rows))
        self.counts.retries += sum(row[4] - 1 for row in rows if row[0] in kept)
        self.counts.duplicates += len(rows) - len(kept)

    def _on_stop(self, root: int) -> None:
        self._over = True

    def _on_bye(self, rank: int) -> None:
        self._gone.add(rank)

    def _give(self, thief: int) -> bool:
        """Send the back half of the queue to ``thief``; False if there is too little to share."""
        half = (len(self._queue) + self._busy) // 2
        if half == 0:
            return False
        self._send(thief, "give", [self._queue.pop() for _ in range(half)])
        return True

    def _work(self, task: int) -> None:
        """Run a task and keep its outcome for the next report."""
        self._busy = True
        outcome = attempt(self._comm, self._function, task, self._tasks[task], self._retries, self._answer_thieves)
        self._busy = False
        self._results.append(outcome)
        if now(self._comm) - self._reported >= REPORT_EVERY_S:
            self._report()

    def _answer_thieves(self) -> bool:
        """Answer the requests that have arrived, at a yield of a generator task, which is never cancelled."""
        self._listen(wait=False)
        return False

    def _report(self) -> None:
        outcomes, self._results = self._results, []
        self._reported = now(self._comm)
        if outcomes and self._rank == self._root:
            self._on_done(self._rank, pack_outcomes(outcomes))  # packed: a result is the same wherever it was made
        elif outcomes:
            self._send(self._root, "done", pack_outcomes(outcomes))

    def _send(self, rank: int, *message: Any) -> None:
        self._outbox.send(rank, pack(message))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do ``action``; if ranks died, go on without them, with their tasks back in the root's queue."""
        try:
            action()
        except MPI.Exception:
            dead = self._living.intersection(failed_ranks(self._comm))
            if not dead or (self._root in dead and not self._over):
                raise  # after the end any rank may leave, the root too
            self._living -= dead
            for rank in dead:
                self._inbox.forget(rank)
                self._outbox.forget(rank)
            self._refused = [rank for rank in self._refused if rank not in dead]
            self._unasked = None
            if self._asked in dead:
                self._asked = None
            if self._rank == self._root and not self._over:
                lost = set(self.journal.missing(len(self._tasks))).difference(self._queue)
                self._queue.extend(sorted(lost))
                self.counts.reexecuted += len(lost)
                self.counts.dead += sorted(dead)


def steal_tasks(
    comm: MPI.Comm,
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    root: int = 0,
    retries: int = 2,
    seed: int = 0,
) -> Answer | None:
    """Run ``function`` on each of ``tasks`` by work stealing; the answer on ``root``, None elsewhere; collective.

    Parameters
    ----------
    comm : communicator, bare or emulated. Every rank works, the root too.
    function : called with a task's argument; a generator function's tasks answer thieves at each ``yield``
    tasks : the same sequence on every rank
    root : rank that collects the results
    retries : further attempts, on the same rank, for a task that raised
    seed : of the order in which victims are asked

    Raises
    ------
    UsageError
        ``root`` is not a rank, or ``retries`` is negative.
    MPI.Exception
        The root died.
    """
    check_root(comm, root)
    check_retries(retries)
    thief = Thief(comm, function, tasks, root, retries, seed)
    start = now(comm)
    thief.run()
    if comm.Get_rank() != root:
        return None
    order = [outcome.task for outcome in thief.journal]
    return Answer(len(tasks), thief.journal, now(comm) - start, thief.counts, order)
