"""The failure of a host: all of its ranks end at one instant, whatever each of them does.

Ranks come to a step one after the other, within milliseconds. So the first rank of a host that comes to the point of
the fault ends all of them: the others in one go, then itself. It takes their process ids from the status board, and
journals every death in the name of the rank that died, since those cannot.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from faults.plan.model import Event
from faults.record.journal import Journal, NoJournal, What
from faults.record.status_board import NO_RANK, WORKING, StatusBoard

Numbered = tuple[int, Event]


def fellows(events: Sequence[Numbered], event: Event) -> list[Numbered]:
    """The events of the same fault line at ranks of the same host, this one included."""
    return [(index, one) for index, one in events if (_line(one), one.host) == (_line(event), event.host)]


def _line(event: Event) -> str:
    return event.ident.partition(".")[0]


def claim(board: StatusBoard, event: Event, attempt: int) -> bool:
    """Whether this process is the first of its host to strike: only one can create the file."""
    try:
        os.close(os.open(f"{board.path}-line-{_line(event)}-host-{event.host}-{attempt}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def holder(board: StatusBoard, rank: int) -> int | None:
    """The member that a fault at `rank` hits now: the one in that place, else the waiting spare of that number."""
    rows = board.rows
    at_work = np.flatnonzero((rows["state"] == WORKING) & (rows["place"] == rank))
    if len(at_work):
        return int(at_work[-1])  # a process that takes a place has a higher number than its predecessors
    waits = rows["state"][rank] == WORKING and rows["place"][rank] == NO_RANK
    return rank if waits else None


def strike(board: StatusBoard, journal: Journal | NoJournal, doomed: Sequence[Numbered], at: float) -> None:
    """End the processes in the doomed places at `at` seconds of the clock, this one included."""
    clock, executioner = board.platform.clock, board.platform.executioner

    def end() -> None:
        met = [(index, event, member) for index, event in doomed if (member := holder(board, event.rank)) is not None]
        pids = {member: int(board.rows["pid"][member]) for _, _, member in met}
        hit = [one for one in met if pids[one[2]] == executioner.own_id() or executioner.send(pids[one[2]])]
        now = clock.now()  # after their last act
        for index, event, member in hit:
            board.fired[index] = now
            journal.write(
                What.FAULT, event=event.ident, text=event.text, kind=event.kind.name, due=now, place=event.rank,
                member=member, waiting=bool(board.rows["place"][member] == NO_RANK),
            )  # fmt: skip

    if at > clock.now():
        for index, _ in doomed:
            board.fired[index] = at
        executioner.later(at, end)
    else:
        end()
        executioner.send(executioner.own_id())
