"""What a rank can go back to: copies of the state after the last two steps that it finished.

Ranks whose step is an exchange of all with all are never more than one step apart: whoever has finished step k has
heard from everybody in it, so everybody has finished step k-1. Two copies on each rank then have one in common::

    rank            finished    copies     says (step modulo 3)
    1               7 steps     6, 7       0 1
    2               8 steps     7, 8         1 2
    4               7 steps     6, 7       0 1
    bitwise AND                              1          all go back to the state after 7 steps

Three bits are enough to say which, because what all ranks hold lies within three steps that follow one another.

Cost: one copy of the state per step, and the memory of two.
"""

from __future__ import annotations

import numpy as np

State = dict[str, np.ndarray]


class History:
    """The newest copy of the state and the one before.

    Attributes
    ----------
    step
        Finished steps that are in the newest copy.
    newest
        That copy.
    """

    def __init__(self, state: State) -> None:
        self.step = 0
        self.newest, self._older = ({name: array.copy() for name, array in state.items()} for _ in range(2))
        self._has_older = False

    def keep(self, step: int, state: State) -> None:
        """Copy the state after `step` steps; the copy before the last one goes."""
        self.newest, self._older = self._older, self.newest
        for name, array in self.newest.items():
            np.copyto(array, state[name])
        # Copies further apart than a step are not told from one another by three bits, and nobody has the older one.
        self._has_older = step == self.step + 1
        self.step = step

    def adopt(self, step: int) -> None:
        """What has been written into `newest` is the state after `step` steps, and the only copy."""
        self.step, self._has_older = step, False

    @property
    def steps(self) -> tuple[int, ...]:
        """Of which numbers of finished steps there is a copy, newest first."""
        return (self.step, self.step - 1) if self._has_older else (self.step,)

    @property
    def flags(self) -> int:
        """A bit for each copy."""
        return sum(1 << step % 3 for step in self.steps)

    def common(self, flags: int) -> int:
        """The newest copy that everybody has, given the bits that all have in common."""
        return next(step for step in self.steps if flags >> step % 3 & 1)

    def of(self, step: int) -> State:
        """The copy after `step` steps."""
        return (self.newest, self._older)[self.steps.index(step)]

    def go_back(self, step: int) -> None:
        """Forget what came after `step` steps, which will be done again, and what came before."""
        if step != self.step:
            self.newest, self._older = self.of(step), self.newest
        self.adopt(step)

    def put_back(self, state: State) -> None:
        """Copy the newest copy into `state`."""
        for name, array in state.items():
            np.copyto(array, self.newest[name])
