"""The last two copies of a rank's state, to roll back to, and its log of committed steps.

Ranks whose step is an exchange of all with all are never more than one step apart: a rank that has finished step k has
heard from all others in it, so all have finished step k-1. Two copies on each rank then have one in common. With a
copy after each step::

    rank            finished    copies     flags (number of the copy, modulo 3)
    1               7 steps     6, 7       0 1
    2               8 steps     7, 8         1 2
    4               7 steps     6, 7       0 1
    bitwise AND                              1          all go back to the state after 7 steps

Three bits are enough to say which, because what all ranks hold lies within three copies that follow one another.

Cost: one copy of the state every so many steps, and the memory of two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emulator.errors import UsageError
from faults.platform import LOCAL, Clock
from faults.record.checksum import checksum
from faults.record.journal import Journal, NoJournal, What

if TYPE_CHECKING:
    from mpi4py import MPI

State = dict[str, np.ndarray]
LOOKS = 8
"""Steps at whose end it is looked whether the program changes its state outside of them."""
CHANGED = "the state was changed between two steps, and a death would undo that: change it inside job.attempt()"
_IN_TIME = "put every array in before the loop, and change it in place"
_TAG_STATE, _TAG_STEP = 30_002, 30_005


class StateCopies:
    """The newest copy of the state and the one before it.

    Parameters
    ----------
    apart : steps from one copy to the next

    Attributes
    ----------
    step : finished steps that are in the newest copy
    newest : that copy
    """

    def __init__(self, state: State, apart: int = 1) -> None:
        self.apart = apart
        self.step = 0
        self.newest, self._older = ({name: array.copy() for name, array in state.items()} for _ in range(2))
        self._older_step = -1

    def _number(self, step: int) -> int:
        return step // self.apart

    def keep(self, step: int, state: State) -> None:
        """Copy the state after `step` steps, over the older of the two copies."""
        self._check_names(state)
        self.newest, self._older = self._older, self.newest
        for name, array in self.newest.items():
            value = state.get(name)
            if value.__class__ is not np.ndarray or value.dtype != array.dtype or value.shape != array.shape:
                _check_like(name, value, array)
            array[...] = value
        # Three bits tell only copies with numbers that follow one another; others are a job's last and what it goes on
        # from, where all agree and no rank needs the older one.
        follows = self._number(step) == self._number(self.step) + 1
        self._older_step, self.step = self.step if follows else -1, step

    def check(self, state: State) -> None:
        """Refuse a state whose names, types, dtypes or shapes differ from those at the job's beginning.

        Raises
        ------
        UsageError
            The first one found.
        """
        self._check_names(state)
        for name, array in self.newest.items():
            _check_like(name, state.get(name), array)

    def _check_names(self, state: State) -> None:
        if len(state) != len(self.newest):
            raise UsageError(f"a state keeps its names, got {sorted(state)} after {sorted(self.newest)}: {_IN_TIME}")

    def begin(self, state: State) -> None:
        """Copy the state before the first step."""
        self.keep(self.step, state)
        self.adopt(self.step)

    def adopt(self, step: int) -> None:
        """Make the content of `newest` the only copy, of the state after `step` steps."""
        self.step, self._older_step = step, -1

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of finished steps that have a copy, newest first."""
        return (self.step,) if self._older_step < 0 else (self.step, self._older_step)

    @property
    def flags(self) -> int:
        """The copies as bits, one for each."""
        return sum(1 << self._number(step) % 3 for step in self.steps)

    def common(self, flags: int) -> int:
        """The newest copy that all ranks have, from the bits that all ranks share."""
        return next(step for step in self.steps if flags >> self._number(step) % 3 & 1)

    def of(self, step: int) -> State:
        """The copy of the state after `step` steps."""
        return (self.newest, self._older)[self.steps.index(step)]

    def roll_back(self, step: int) -> None:
        """Make the copy after `step` steps the only one: later steps will be repeated."""
        if step != self.step:
            self.newest, self._older = self.of(step), self.newest
        self.adopt(step)

    def are_of(self, state: State) -> bool:
        """Whether the state equals the newest copy bit for bit."""
        return checksum(state) == checksum(self.newest)

    def put_back(self, state: State) -> None:
        """Copy the newest copy into `state`."""
        for name in [name for name in state if name not in self.newest]:
            del state[name]  # a program may have added it: `keep` refuses that
        for name, array in self.newest.items():
            value = state.get(name)
            if isinstance(value, np.ndarray) and value.dtype == array.dtype and value.shape == array.shape:
                value[...] = array
            else:
                state[name] = array.copy()

    def send(self, comm: MPI.Intracomm, rank: int, step: int) -> None:
        """Send the newest copy: the state after `step` steps."""
        comm.Send(np.array([step]), rank, _TAG_STEP)
        for name in sorted(self.newest):
            comm.Send(self.newest[name], rank, _TAG_STATE)

    def receive(self, comm: MPI.Intracomm, rank: int) -> int:
        """Receive a state into the newest copy, and return its number of steps."""
        step = np.zeros(1, np.int64)
        comm.Recv(step, rank, _TAG_STEP)
        for name in sorted(self.newest):
            comm.Recv(self.newest[name], rank, _TAG_STATE)
        return int(step[0])


def _check_like(name: str, value: object, array: np.ndarray) -> None:
    """Refuse a value of the state that is not an array like the one at the job's beginning.

    Raises
    ------
    UsageError
        It has another type, dtype or shape, so that it could not be put back after a death.
    """
    if isinstance(value, np.ndarray) and (value.dtype, value.shape) == (array.dtype, array.shape):
        return
    kind = f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
    raise UsageError(f"state[{name!r}] was {array.dtype}{list(array.shape)} and became {kind}: {_IN_TIME}")


class CommitLog:
    """Journals each committed step once, in order, with the instant at which this rank finished it.

    Attributes
    ----------
    count : committed steps: all ranks are known to have finished them
    """

    def __init__(self, journal: Journal | NoJournal, clock: Clock = LOCAL.clock) -> None:
        self._journal, self._clock = journal, clock
        self._silent = isinstance(journal, NoJournal)
        self.count = 0
        self._finished: list[float] = []  # instants of the steps from `count` on

    def finish(self) -> None:
        """Note that this rank has finished one more step."""
        self._finished.append(self._clock.now())

    def commit(self, count: int) -> None:
        """Journal all steps before `count` as committed."""
        if self._silent:  # without a journal the instants are not needed, and the step loop does not even take them
            self.count = max(self.count, count)
            return
        while self.count < count:
            self._journal.write(What.COMMIT, step=self.count, done=self._finished.pop(0))
            self.count += 1

    def roll_back(self) -> None:
        """Forget the steps that are not committed: they will be repeated."""
        self._finished.clear()

    def adopt(self, count: int) -> None:
        """Go on after `count` steps that other ranks have committed."""
        self.count = count
        self._finished.clear()
