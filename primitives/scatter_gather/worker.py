"""The worker rank: runs the tasks that the coordinator sends, and reports each of them once.

A task is a call ``function(argument)``. If it raises, its traceback is the report. If the function is a
generator function, every ``yield`` in it is a point at which the task may be cancelled (its ``return`` is the
result); a plain function runs to its end, and if its result has become useless the coordinator drops it.

Tasks may be as small as a function call, so the overhead of each is small: one reading of the clock, one line of the
report. The worker looks for messages of the coordinator every `LOOK_EVERY_S`, not after every task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import GeneratorType
from typing import Any

from mpi4py import MPI

from emulator import carrier
from primitives.inbox import Inbox, Outbox
from primitives.scatter_gather.attempt import CANCELLED, run_generator, traceback_text
from primitives.scatter_gather.messages import DOWN, UP, Damaged, failed_ranks, pack, unpack, unwrap
from primitives.scatter_gather.outcome import Row, pack_outcomes

LOOK_EVERY_S = 100e-6
REPORT_EVERY_S = 0.005


class Worker:
    """The state of a worker rank; see :func:`serve`."""

    def __init__(self, comm: MPI.Comm, function: Callable[[Any], Any], root: int) -> None:
        self._comm, self._function, self._root = comm, function, root
        self._rank = comm.Get_rank()
        carried = carrier.of(comm)
        self._now, self._phase = carried.now, carried.phase
        self._inbox, self._outbox = Inbox(comm, DOWN, [root]), Outbox(comm, UP)
        self._batches: deque[tuple[int, deque[tuple[int, Any]]]] = deque()
        self._running: tuple[int, int] | None = None
        self._cancelled = False
        self._stopped = False
        self._session = 0
        self._dead: set[int] = set()
        self._done: list[Row] = []
        self._dropped: list[int] = []
        self._reported = 0.0

    def serve(self) -> None:
        """Work until the coordinator sends stop."""
        while not self._stopped:
            self._listen(wait=not self._batches)
            if self._batches:
                self._work()
        self._say("bye", self._session)
        self._outbox.drain()

    def _listen(self, wait: bool) -> None:
        """Receive the coordinator's messages; with ``wait``, at least one."""
        while True:
            try:
                message = unpack(self._inbox.next() if wait else self._inbox.poll())
            except MPI.Exception as error:
                self._raise_unless_expected(error)
                continue
            if message is None:
                return
            self._handle(*message[1])
            wait = False

    def _say(self, *message: Any) -> None:
        data = pack(message)
        try:
            self._outbox.send(self._root, data)
        except MPI.Exception as error:
            self._raise_unless_expected(error)
            self._outbox.send(self._root, data)  # the coordinator ignores a repeated report

    def _raise_unless_expected(self, error: MPI.Exception) -> None:
        """Return if another worker has died; raise the error if the coordinator or no rank has."""
        dead = set(failed_ranks(self._comm)) - self._dead
        if not dead or self._root in dead:
            raise error
        self._dead |= dead

    def _handle(self, kind: str, *body: Any) -> None:
        if kind == "run":
            request, tasks, arguments = body
            self._batches.append((request, deque(zip(tasks, unwrap(arguments), strict=True))))
        elif kind == "cancel":
            self._cancel(*body)
        else:
            (self._session,) = body
            self._stopped = self._cancelled = True
            self._batches.clear()

    def _cancel(self, request: int, task: int | None) -> None:
        """Drop a queued task, or all of a request's, and mark the one in progress."""
        for owner, queue in self._batches:
            if owner == request:
                dropped = [queued for queued, _ in queue if task in (None, queued)]
                kept = [pair for pair in queue if pair[0] not in dropped]
                queue.clear()
                queue.extend(kept)
                self._dropped += dropped
                self._report(request)
        if self._running is not None and self._running[0] == request and task in (None, self._running[1]):
            self._cancelled = True

    def _work(self) -> None:
        """Run tasks of the first batch for a while; report when the batch is done or a report is due."""
        self._phase("compute")
        request, queue = self._batches[0]
        function, clock, rank = self._function, self._now, self._rank
        start = clock()
        look = start + LOOK_EVERY_S
        while queue and start < look:
            task, argument = queue.popleft()
            error = None
            try:
                value = function(argument) if type(argument) is not Damaged else _refuse(argument)
            except KeyboardInterrupt:
                raise
            except BaseException as raised:  # a task that calls sys.exit() has failed; its rank has not
                value, error = None, traceback_text(raised)
            if type(value) is GeneratorType:
                self._running, self._cancelled = (request, task), False
                try:
                    value, error = run_generator(value, self._told_to_cancel)
                finally:
                    self._running = None
            end = clock()
            if value is CANCELLED:
                self._dropped.append(task)
            else:
                self._done.append((task, value, error, rank, 1, end - start))
            start = end
        if queue and start - self._reported < REPORT_EVERY_S:
            return
        self._reported = start
        if not queue and self._batches:
            self._batches.popleft()
        self._report(request)

    def _told_to_cancel(self) -> bool:
        """Receive the coordinator's messages at a yield; whether one cancels the running task."""
        self._listen(wait=False)
        return self._cancelled

    def _report(self, request: int) -> None:
        if self._done or self._dropped:
            self._say("done", request, pack_outcomes(self._done), self._dropped)
            self._done, self._dropped = [], []


def _refuse(argument: Damaged) -> Any:
    raise ValueError(f"the argument, {argument.text}")


def serve(comm: MPI.Comm, function: Callable[[Any], Any], root: int = 0) -> None:
    """Run the tasks that the coordinator on ``root`` sends until it sends stop.

    Parameters
    ----------
    comm : communicator, bare or emulated
    function : called with each task's argument; a generator function's tasks can be cancelled at each ``yield``
    root : rank of the coordinator

    Raises
    ------
    MPI.Exception
        The coordinator died (where the MPI reports deaths). Its successor needs the request's tasks and the
        :class:`~primitives.scatter_gather.outcome.Journal`.
    """
    Worker(comm, function, root).serve()
