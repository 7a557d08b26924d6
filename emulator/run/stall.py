"""Report who waits for whom in a job that makes no progress: a table on a terminal, a line in a pipe.

Rank 0 looks at the notes that ranks leave of long waits (`emulator.wire.wait_board`), in a thread. It reports when a
rank has waited for `PATIENCE_S`, and again each time that the wait has become twice as long.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from emulator import carrier
from emulator.core.instruments import NO_PEER
from emulator.core.waits_for import cycle
from emulator.units import format_time
from emulator.wire.wait_board import COLLECTIVE, NO_TAG, WaitBoard, Waiter

if TYPE_CHECKING:
    from mpi4py import MPI
    from rich.console import Console

    from emulator.report.model import Item

PATIENCE_S = 10.0
_LOOK_S = 1.0
_SHOWN, _SHOWN_IN_A_LINE = 12, 3


class StallWatch:
    """Watches one job for stalls; all ranks construct one (collective), and rank 0 reports.

    Parameters
    ----------
    comm : whose waits are noted
    control : a communicator of MPI itself over the same ranks
    console : where rank 0 reports; None: nowhere
    """

    def __init__(self, comm: Any, control: MPI.Intracomm, console: Console | None) -> None:
        self._board, self._console, self._size = WaitBoard(control), console, control.Get_size()
        carrier.of(comm).note_waits_on(self._board)
        self._over = threading.Event()
        if console is not None and control.Get_rank() == 0:
            threading.Thread(target=self._look, name="stall", daemon=True).start()

    def stop(self) -> None:
        """Stop reporting."""
        self._over.set()

    def _look(self) -> None:
        due = PATIENCE_S
        while not self._over.wait(_LOOK_S):
            waiters = self._board.waiters()
            longest = max((one.seconds for one in waiters), default=0.0)
            if longest < PATIENCE_S:
                due = PATIENCE_S
            elif longest >= due and not self._over.is_set():
                due = 2 * longest
                self._report(waiters)

    def _report(self, waiters: Sequence[Waiter]) -> None:
        from emulator.report import terminal

        assert self._console is not None
        if self._console.is_terminal:
            terminal.show(table(waiters, self._size), self._console)
        else:
            self._console.print(line(waiters), markup=False, soft_wrap=True)


def table(waiters: Sequence[Waiter], ranks: int) -> list[Item]:
    """A table of which rank waits for which and how long, then a line on a cycle of ranks, if there is one."""
    from emulator.report.model import Column, Table  # not needed by ranks, whose start counts

    columns = [
        Column("rank", lambda one: one.rank),
        Column("waits for", _awaited, left=True),
        Column("for", lambda one: one.seconds, lambda seconds: format_time(round(seconds))),
    ]
    more = len(waiters) - _SHOWN
    notes = [f"and {more} more"] if more > 0 else []
    if idle := ranks - len(waiters):
        notes.append(f"{idle} other{'s' * (idle > 1)}: computing, polling or at an end")
    items: list[Item] = [Table.of("No message has come for long", columns, waiters[:_SHOWN], notes=notes)]
    return [*items, *([text] if (text := _circle(waiters)) else [])]


def line(waiters: Sequence[Waiter]) -> str:
    """One line on the ranks that have waited longest and for which, and on a cycle, if there is one."""
    first = sorted(waiters, key=lambda one: -one.seconds)
    told = [f"rank {one.rank} waits for {_awaited(one)}" for one in first[:_SHOWN_IN_A_LINE]]
    if len(first) > _SHOWN_IN_A_LINE:
        told.append(f"{len(first) - _SHOWN_IN_A_LINE} more wait")
    text = f"no message for {first[0].seconds:.0f} s: {', '.join(told)}"
    return "; ".join(part for part in (text, _circle(waiters)) if part)


def _awaited(one: Waiter) -> str:
    if one.tag == COLLECTIVE:
        return "others in a collective"
    whom = "any rank" if one.peer == NO_PEER else f"rank {one.peer}"
    return whom + (f" (tag {one.tag})" if one.tag > NO_TAG else "")


def _circle(waiters: Sequence[Waiter]) -> str:
    """Describe ranks that wait for each other in a cycle; "" if none do."""
    found = cycle({one.rank: one.peer for one in waiters if one.peer != NO_PEER})
    return f"a circle: {' -> '.join(map(str, found))}" if found else ""
