"""What a rank can go back to: its last two copies of the state.

Ranks whose step is an exchange of all with all are never more than one step apart: whoever has finished step k has
heard from everybody in it, so everybody has finished step k-1. Two copies on each rank then have one in common. With a
copy after each step::

    rank            finished    copies     says (which copy, modulo 3)
    1               7 steps     6, 7       0 1
    2               8 steps     7, 8         1 2
    4               7 steps     6, 7       0 1
    bitwise AND                              1          all go back to the state after 7 steps

Three bits are enough to say which, because what all ranks hold lies within three copies that follow one another.

Cost: one copy of the state every so many steps, and the memory of two.
"""

from __future__ import annotations

import numpy as np

State = dict[str, np.ndarray]


class History:
    """The newest copy of the state and the one before.

    Parameters
    ----------
    apart
        Steps from one copy to the next.

    Attributes
    ----------
    step
        Finished steps that are in the newest copy.
    newest
        That copy.
    """

    def __init__(self, state: State, apart: int = 1) -> None:
        self.apart = apart
        self.step = 0
        self.newest, self._older = ({name: array.copy() for name, array in state.items()} for _ in range(2))
        self._older_step = -1

    def _number(self, step: int) -> int:
        return step // self.apart

    def keep(self, step: int, state: State) -> None:
        """Copy the state after `step` steps; the copy before the last one goes."""
        self.newest, self._older = self._older, self.newest
        for name, array in self.newest.items():
            array[...] = state[name]
        # Three bits tell only copies with numbers that follow one another; others are a job's last and what it goes on
        # from, where all agree and nobody needs the older one.
        follows = self._number(step) == self._number(self.step) + 1
        self._older_step, self.step = self.step if follows else -1, step

    def adopt(self, step: int) -> None:
        """What has been written into `newest` is the state after `step` steps, and the only copy."""
        self.step, self._older_step = step, -1

    @property
    def steps(self) -> tuple[int, ...]:
        """Of which numbers of finished steps there is a copy, newest first."""
        return (self.step,) if self._older_step < 0 else (self.step, self._older_step)

    @property
    def flags(self) -> int:
        """A bit for each copy."""
        return sum(1 << self._number(step) % 3 for step in self.steps)

    def common(self, flags: int) -> int:
        """The newest copy that everybody has, given the bits that all have in common."""
        return next(step for step in self.steps if flags >> self._number(step) % 3 & 1)

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
            array[...] = self.newest[name]
