"""Outcomes of tasks, the answer to a request, and the journal from which a coordinator's successor resumes."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from primitives.scatter_gather.messages import Damaged, unwrap, wrap


class Outcome(NamedTuple):
    """The result of one task.

    Parameters
    ----------
    task : index of the task in the request
    value : what the function returned; None where ``error`` is set
    error : None, or the traceback of the last attempt as text
    rank : rank that produced the result
    attempts : how often the task raised or lost its worker before this outcome, plus one
    seconds : time that the attempt took on its worker (emulated seconds on an emulated network)
    """

    task: int
    value: Any
    error: str | None
    rank: int
    attempts: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the function returned."""
        return self.error is None


Row = tuple[int, Any, str | None, int, int, float]  # an outcome's fields: plain tuples are quicker to make and to keep


def pack_outcomes(rows: Sequence[Row]) -> bytes:
    """Pack outcomes as bytes, column by column; a value that cannot be pickled makes its task a failed one."""
    tasks, values, *rest = zip(*rows, strict=True) if rows else ((), (), (), (), (), ())
    return pickle.dumps((tasks, wrap(values), *rest), protocol=5)


def unpack_outcomes(data: bytes) -> list[Row]:
    """Unpack what :func:`pack_outcomes` returned."""
    tasks, parcel, *rest = pickle.loads(data)
    rows: list[Row] = list(zip(tasks, unwrap(parcel), *rest, strict=True))
    if parcel[0]:
        return rows
    return [_failed(row) if isinstance(row[1], Damaged) else row for row in rows]


def _failed(row: Row) -> Row:
    return (row[0], None, f"the result, {row[1].text}", *row[3:])


class TaskFailed(Exception):
    """Tasks raised more often than they may be retried. ``failures`` maps task index to its outcome."""

    def __init__(self, failures: dict[int, Outcome]) -> None:
        self.failures = failures
        first = failures[min(failures)]
        others = f" (and {len(failures) - 1} more tasks)" if len(failures) > 1 else ""
        super().__init__(
            f"task {first.task} failed {first.attempts} times, last on rank {first.rank}{others}:\n{first.error}"
        )


class TasksMissing(Exception):
    """A complete result was requested of an answer that lacks some tasks. ``missing`` lists them."""

    def __init__(self, missing: list[int]) -> None:
        self.missing = missing
        super().__init__(f"the answer lacks tasks {missing}: read .present(), or ask for a higher quorum")


class Journal:
    """Completed tasks of one request: the state that a coordinator's successor needs, and the exactly-once filter.

    The first outcome that is recorded for a task stays; every later one is refused. A coordinator given a
    journal runs only what it lacks. ``watch`` takes a function that sees every new outcome, to copy it to
    where it survives the coordinator (a buddy's memory, a disk).

    Examples
    --------
    >>> journal = Journal()
    >>> journal.record(Outcome(0, "a", None, rank=1, attempts=1, seconds=0.0))
    True
    >>> journal.record(Outcome(0, "a", None, rank=2, attempts=1, seconds=0.0))
    False
    >>> journal.missing(3)
    [1, 2]
    """

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._watchers: list[Callable[[Outcome], None]] = []

    def record(self, outcome: Row) -> bool:
        """Keep ``outcome`` if its task has none yet; returns whether it was kept."""
        return bool(self.record_all([outcome]))

    def record_all(self, rows: Iterable[Row]) -> list[int]:
        """Keep each of ``rows`` whose task has none yet; returns the tasks of those kept."""
        kept, mine = [], self._rows
        for row in rows:
            if row[0] not in mine:
                mine[row[0]] = row
                kept.append(row[0])
        for watcher in self._watchers:
            for task in kept:
                watcher(self[task])
        return kept

    def watch(self, watcher: Callable[[Outcome], None]) -> None:
        """Call ``watcher(outcome)`` for every outcome recorded from now on."""
        self._watchers.append(watcher)

    def missing(self, tasks: int) -> list[int]:
        """Those of tasks 0..tasks-1 without an outcome."""
        return [task for task in range(tasks) if task not in self._rows]

    def dumps(self) -> bytes:
        """Pack all outcomes as bytes, for a checkpoint or a message to the successor."""
        return pack_outcomes(list(self._rows.values()))

    @classmethod
    def loads(cls, data: bytes) -> Journal:
        """Unpack what :meth:`dumps` returned."""
        journal = cls()
        journal.record_all(unpack_outcomes(data))
        return journal

    def rows(self) -> Iterable[Row]:
        """All outcomes as plain tuples, in the order in which they were recorded."""
        return self._rows.values()

    def __contains__(self, task: int) -> bool:
        return task in self._rows

    def __getitem__(self, task: int) -> Outcome:
        return Outcome(*self._rows[task])

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Outcome]:
        return itertools.starmap(Outcome, self._rows.values())


@dataclass
class Counts:
    """The cost of a request beside its useful work.

    ``sent`` attempts handed to workers, ``retries`` after an exception, ``reexecuted`` because a worker died,
    ``backups`` started for stragglers, ``dropped`` attempts that were cancelled before they gave a result,
    ``duplicates`` results that came second and were refused, ``messages`` task messages (batches), ``dead``
    workers lost.
    """

    sent: int = 0
    retries: int = 0
    reexecuted: int = 0
    backups: int = 0
    dropped: int = 0
    duplicates: int = 0
    messages: int = 0
    dead: list[int] = field(default_factory=list)


@dataclass
class Answer:
    """The coordinator's answer to a request of ``tasks`` tasks.

    Parameters
    ----------
    tasks : how many tasks were asked for
    journal : the outcomes that arrived in time
    seconds : from the request to the answer (emulated seconds on an emulated network)
    counts : attempts, retries, backups and so on
    order : task indices in the order in which their outcomes were accepted
    names : what the answer calls its tasks, such as the shards that they ask; None: their indices
    """

    tasks: int
    journal: Journal
    seconds: float
    counts: Counts
    order: list[int]
    names: Sequence[int] | None = None

    def _name(self, task: int) -> int:
        return task if self.names is None else self.names[task]

    @property
    def missing(self) -> list[int]:
        """Tasks without an outcome: too late for the deadline, or no living worker could run them."""
        return [self._name(task) for task in self.journal.missing(self.tasks)]

    @property
    def failures(self) -> dict[int, Outcome]:
        """Tasks that raised in their last permitted attempt."""
        return {self._name(row[0]): Outcome(*row) for row in self.journal.rows() if row[2] is not None}

    @property
    def coverage(self) -> float:
        """Share of the tasks that returned a value, 0 to 1 (1 for a request of no tasks)."""
        return len(self.present()) / self.tasks if self.tasks else 1.0

    def present(self) -> dict[int, Any]:
        """The values that exist, by task."""
        rows = sorted((row for row in self.journal.rows() if row[2] is None), key=itemgetter(0))
        return {self._name(row[0]): row[1] for row in rows}

    def values(self) -> list[Any]:
        """All values in task order.

        Raises
        ------
        TaskFailed
            Some tasks raised; the exception holds their tracebacks.
        TasksMissing
            Some tasks have no outcome.
        """
        if self.failures:
            raise TaskFailed(self.failures)
        if len(self.journal) < self.tasks:
            raise TasksMissing(self.missing)
        return list(self.present().values())
