"""Two rules against stragglers: when an answer is complete enough, and when a late task gets a backup.

`Deadline`: if one server in a hundred is slow and a question goes to a hundred servers, 63 % of the questions meet a
slow one (1 - 0.99^100). The last line is "answer with 95 % of the shards after 50 ms, and say which are missing":

    | deadline | quorum | the answer comes                                                         |
    |----------|--------|--------------------------------------------------------------------------|
    | -        | -      | when every task is done                                                  |
    | d        | -      | when every task is done, at d with what is there                         |
    | -        | q      | as soon as a share q of the tasks is done                                |
    | d        | q      | when every task is done, from d on as soon as a share q is done          |

`Speculation`: near the end of a request, when a worker has nothing else to do, the task that has been out longest is
started again there; the first result wins and the other attempt is cancelled. MapReduce's authors found one job 44 %
slower without such backup tasks; the price is some work done twice. The rule is Spark's: only once `QUANTILE` of
the tasks are done, for tasks that have been out for more than ``multiplier`` times their median turnaround.

Sources: J. Dean, L. A. Barroso, "The Tail at Scale" (CACM 56(2), 2013); J. Dean, S. Ghemawat, "MapReduce" (OSDI
2004), 3.6; M. Zaharia et al., "Improving MapReduce Performance in Heterogeneous Environments" (OSDI 2008); Spark's
``spark.speculation.multiplier``, ``.quantile``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from emulator.errors import UsageError

QUANTILE = 0.5
"""Share of the tasks that must be done before one counts as late."""


@dataclass(frozen=True)
class Deadline:
    """The rule by which an answer is complete enough; see the table above.

    Parameters
    ----------
    seconds : deadline in seconds after the request (emulated seconds on an emulated network), >= 0; None: none
    quorum : share of the tasks, in (0, 1]; None: see the table
    """

    seconds: float | None = None
    quorum: float | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and not self.seconds >= 0:
            raise UsageError(f"a deadline must be >= 0 s, got {self.seconds} s: leave it out for no deadline")
        if self.quorum is not None and not 0 < self.quorum <= 1:
            raise UsageError(
                f"a quorum must be above 0 % and at most 100 %, got {100 * self.quorum:g} %: give e.g. 95 %"
            )

    def needed(self, tasks: int) -> int:
        """Number of ``tasks`` that make the quorum."""
        if self.quorum is None:
            return tasks if self.seconds is None else 0
        return math.ceil(self.quorum * tasks - 1e-9)  # 0.95 * 20 is 19, not 19.000000000000004

    def answered(self, elapsed: float, done: int, tasks: int) -> bool:
        """Whether to answer ``elapsed`` seconds after the request, with ``done`` successful tasks."""
        due = self.seconds is None or elapsed >= self.seconds
        return done == tasks or (due and done >= self.needed(tasks))


class Speculation:
    """The turnarounds of a request's tasks so far, and the time after which a task is late.

    Parameters
    ----------
    tasks : tasks in the request
    multiplier : a task is late after this many median turnarounds; >= 1
    """

    def __init__(self, tasks: int, multiplier: float) -> None:
        if not multiplier >= 1:
            raise UsageError(f"a backup's multiplier must be >= 1, got {multiplier}: 1.5 is usual")
        self._tasks, self._multiplier = tasks, multiplier
        self._turnarounds: list[float] = []

    def observe(self, turnarounds: Iterable[float]) -> None:
        """Add turnarounds: seconds from a task's sending to its result."""
        self._turnarounds += turnarounds
        self._turnarounds.sort()  # two sorted runs: merged in linear time

    @property
    def late_after(self) -> float:
        """Seconds after which a task is late; infinite while too few are known."""
        known = len(self._turnarounds)
        if known == 0 or known < QUANTILE * self._tasks:
            return math.inf
        return self._multiplier * self._turnarounds[known // 2]
