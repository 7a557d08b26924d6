"""Speculation: when a task is late enough to be started a second time, on another worker.

A straggler (a slow disk, a busy neighbour, a failing core) holds up the whole answer. Near the end of a
request, when a worker has nothing else to do, the task that has been out longest is started again there; the
first result wins and the other attempt is cancelled. MapReduce's authors found one job 44 % slower without
such backup tasks; the price is some work done twice.

The rule is Spark's: speculate only once `QUANTILE` of the tasks are done, on tasks that have been out for
more than ``multiplier`` times the median turnaround of those.

Sources: J. Dean, S. Ghemawat, "MapReduce" (OSDI 2004), 3.6; M. Zaharia et al., "Improving MapReduce
Performance in Heterogeneous Environments" (OSDI 2008); Spark's ``spark.speculation.multiplier``, ``.quantile``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from emulator.errors import UsageError

QUANTILE = 0.5
"""Share of the tasks that must be done before one counts as late."""


class Speculation:
    """The turnarounds of a request's tasks so far, and the bound above which one is late.

    Parameters
    ----------
    tasks
        Tasks in the request.
    multiplier
        A task is late after this many median turnarounds; >= 1.
    """

    def __init__(self, tasks: int, multiplier: float) -> None:
        if not multiplier >= 1:
            raise UsageError(f"a backup's multiplier must be >= 1, got {multiplier}: 1.5 is usual")
        self._tasks, self._multiplier = tasks, multiplier
        self._turnarounds: list[float] = []

    def observe(self, turnarounds: Iterable[float]) -> None:
        """Tasks came back so many seconds after they were sent."""
        self._turnarounds += turnarounds
        self._turnarounds.sort()  # two sorted runs: merged in linear time

    @property
    def late_after(self) -> float:
        """Seconds after which a task is late; infinite while too few are known."""
        known = len(self._turnarounds)
        if known == 0 or known < QUANTILE * self._tasks:
            return math.inf
        return self._multiplier * self._turnarounds[known // 2]
