"""A live table of the ranks of a running job: step, state, and which rank each one waits for.

The command that waits for the job has a screen (`emulator.run.console.Progress`, say) and calls `on`; a launcher calls
`shown` with what its status board says while the job runs, and `keep` with the last table of a job that hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import IO, Protocol

import numpy as np

from emulator.launch import streams
from emulator.report import formats, layout
from emulator.report.model import Column, Table
from emulator.units import format_time
from faults.record.status_board import ABSENT, IN_STEPS, LEFT, NO_RANK, REBUILDS, WORKING, StatusBoard

_MOST_ROWS = 24


class Screen(Protocol):
    """The display of a command while it waits for a job."""

    def beside(self, table: Callable[[], Table], line: Callable[[], str]) -> AbstractContextManager[None]:
        """Show the table on a terminal, or print the line from time to time in a pipe, while the block runs."""

    def keep(self, lines: list[str]) -> None:
        """Print lines that stay on the screen."""

    def write(self, stream: IO[str], content: bytes) -> None:
        """Forward the output of a job."""


_screen: ContextVar[Screen | None] = ContextVar("screen", default=None)


@contextmanager
def on(screen: Screen) -> Iterator[None]:
    """Use this screen for the ranks of every job that is launched in the block."""
    token = _screen.set(screen)
    try:
        yield
    finally:
        _screen.reset(token)


def shown(ranks: RanksAtWork) -> AbstractContextManager[None]:
    """Show these ranks on the command's screen, if it has one, while the block runs."""
    screen = _screen.get()
    return nullcontext() if screen is None else screen.beside(ranks.table, ranks.line)


def keep(ranks: RanksAtWork, title: str) -> None:
    """Print the last table of ranks before a job is ended, if the command has a screen."""
    if screen := _screen.get():
        screen.keep(["".join(text for text, _ in line) for line in layout.table(ranks.table(title), width=80)])


def write() -> Callable[[IO[str], bytes], None]:
    """The function that forwards a job's output."""
    screen = _screen.get()
    return streams.write if screen is None else screen.write


class RanksAtWork:
    """The ranks of a job as its status board shows them now.

    Parameters
    ----------
    world : processes that mpirun starts; others appear once they are spawned
    """

    def __init__(self, board: StatusBoard, world: int) -> None:
        self.board, self._world = board, world
        self._clock, self._executioner = board.platform.clock, board.platform.executioner

    def table(self, title: str = "") -> Table:
        """A row for each rank; of many ranks only those with the lowest steps."""
        rows = np.array(self.board.rows)
        members = [one for one in range(len(rows)) if one < self._world or rows["state"][one]]
        kept = sorted(members, key=lambda one: (rows["state"][one] == LEFT, rows["step"][one]))[:_MOST_ROWS]
        notes = (
            [f"the {len(kept)} of {len(members)} ranks that are furthest behind"] if len(kept) < len(members) else []
        )
        now = self._clock.now()
        return Table.of(title, _COLUMNS, [self._row(one, rows[one], now) for one in sorted(kept)], notes=notes)

    def line(self) -> str:
        """A line with the steps of the ranks, and the seconds since the last sign of life."""
        rows = self.board.rows
        here = rows[(rows["state"] != 0) & (rows["place"] != NO_RANK)]
        if not len(here):
            return "no rank has begun"
        first, last = int(here["step"].min()), int(here["step"].max())
        silent = format_time(max(0.0, round(self._clock.now() - float(here["beat"].max()), 1)))
        return (
            f"{len(here)} rank{'s' * (len(here) > 1)} at step {first}"
            + (f" to {last}" if last > first else "")
            + f", seen {silent} ago"
        )

    def waiting(self) -> set[Hashable]:
        """Marks of what live ranks wait for in a repair; a mark that does not change for long is a hang.

        A rank that rebuilds waits for the runtime alone. One that agrees waits for the others, so it tells something
        only if all live ranks agree or rebuild. Nothing is told where a rank is stopped, or where spawned processes
        may have found no row on the board.
        """
        rows = np.array(self.board.rows)
        full = len(rows) > self._world and rows["state"][-1] != ABSENT
        members = np.flatnonzero(rows["state"] != ABSENT)
        states = {int(one): self._executioner.state(int(rows["pid"][one])) for one in members}
        if full or "T" in states.values():
            return set()
        living = [one for one, letter in states.items() if letter not in ("", "Z", "X")]
        phases = {one: IN_STEPS if rows["state"][one] == LEFT else int(rows["phase"][one]) for one in living}
        marks = {one: (one, float(rows["phase_at"][one])) for one in living}
        found: set[Hashable] = {marks[one] for one in living if phases[one] == REBUILDS}
        if living and IN_STEPS not in phases.values():
            found.add(tuple(marks.values()))
        return found

    def awaited(self) -> dict[int, int]:
        """Live ranks that wait for none, with their steps, where a rank has died and others wait."""
        rows = np.array(self.board.rows)
        working = np.flatnonzero((rows["state"] == WORKING) & (rows["place"] != NO_RANK))
        states = {int(one): self._executioner.state(int(rows["pid"][one])) for one in working}
        living = [one for one, letter in states.items() if letter not in ("", "Z", "X")]
        at_work = [one for one in living if rows["phase"][one] == IN_STEPS and rows["peer"][one] == NO_RANK]
        if len(living) == len(states) or len(at_work) == len(living):
            return {}
        return {one: int(rows["step"][one]) for one in at_work}

    def _row(self, member: int, row: np.void, now: float) -> dict[str, object]:
        state = self._state(row)
        waiting = row["peer"] != NO_RANK and state == "waits"
        return {
            "rank": member,
            "step": None if not row["state"] or row["place"] == NO_RANK else int(row["step"]),
            "state": state,
            "waits for": f"rank {row['peer']}" if waiting else "",
            "last sign of life": None if state in ("starts", "done") else max(0.0, now - float(row["beat"])),
        }

    def _state(self, row: np.void) -> str:
        if not row["state"]:
            return "starts"
        if row["state"] == LEFT:
            return "done"
        letter = self._executioner.state(int(row["pid"]))
        if letter in ("", "Z", "X"):
            return "dead"
        if letter == "T":
            return "stopped"
        return "waits" if row["peer"] != NO_RANK else "spare" if row["place"] == NO_RANK else "works"


_TONES = {"dead": "bad", "stopped": "bad", "done": "good"}
_COLUMNS = [
    Column("rank"),
    Column("step"),
    Column("state", left=True, tone=lambda state: _TONES.get(state, "")),
    Column("waits for", left=True),
    Column("last sign of life", form=lambda age: formats.DASH if age is None else f"{format_time(round(age, 1))} ago"),
]
