"""When is an answer good enough? A deadline, a quorum, or both.

    | deadline | quorum | the answer comes                                                         |
    |----------|--------|--------------------------------------------------------------------------|
    | -        | -      | when every task is done                                                  |
    | d        | -      | when every task is done, at d with what is there                         |
    | -        | q      | as soon as a share q of the tasks is done                                |
    | d        | q      | when every task is done, from d on as soon as a share q is done          |

"Answer with 95 % of the shards after 50 ms, and say which are missing" is the last line. Why one wants it:
if one server in a hundred is slow and a question goes to a hundred servers, 63 % of the questions meet a slow
one (1 - 0.99^100).

Source: J. Dean, L. A. Barroso, "The Tail at Scale" (CACM 56(2), 2013), "good enough" answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emulator.errors import UsageError


@dataclass(frozen=True)
class Deadline:
    """The rule of the table above.

    Parameters
    ----------
    seconds
        Deadline in seconds after the request (emulated seconds on an emulated network), >= 0; None: none.
    quorum
        Share of the tasks, in (0, 1]; None: see the table.
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
        """How many of ``tasks`` make the quorum."""
        if self.quorum is None:
            return tasks if self.seconds is None else 0
        return math.ceil(self.quorum * tasks - 1e-9)  # 0.95 * 20 is 19, not 19.000000000000004

    def answered(self, elapsed: float, done: int, tasks: int) -> bool:
        """Is it time to answer, ``elapsed`` seconds after the request, with ``done`` tasks that succeeded?"""
        if done == tasks:
            return True
        due = self.seconds is None or elapsed >= self.seconds
        return due and done >= self.needed(tasks)
