"""The steps of a collective, made for all ranks together in rounds, and recorded.

In each round every rank makes its steps up to its next receive. A send that a rank has begun is its number; a receive
is a list of its number and of where it wants its message, None when that has come. A persistent request holds what it
has begun.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from emulator.sim.collectives import phantom
from emulator.sim.collectives.recording import (
    RECEIVE,
    SEND,
    WAIT_RECEIVE,
    WAIT_SEND,
    NoReplay,
    Step,
    by_rank,
    common,
    needed,
)

_KINDS = 4
ALONE: list[Step] = []
"""The schedule of collectives whose ranks do unlike things."""


class CommonSteps:
    """The steps of one collective on all ranks.

    Attributes
    ----------
    failures : the error of each rank whose step has raised one
    recorded : what each rank does is recorded, for `schedule` and `follow`

    Parameters
    ----------
    collectives : of every rank, whose `steps` are made
    record : whether to record
    """

    def __init__(self, collectives: Sequence[Any], record: bool) -> None:
        self.size, self.recorded, self._collectives = len(collectives), record, collectives
        self.failures: dict[int, Exception] = {}
        self._phantoms = phantom.in_use()
        # Of each rank and step, the peer or number awaited and the kind; of each rank's sends, the bytes.
        self._rows: list[array[int]] = [array("i") for _ in range(self.size if record else 0)]
        self._bytes: list[array[int]] = [array("q") for _ in range(self.size if record else 0)]
        self._receives = [0] * self.size  # that each rank has begun, if recorded
        # By receiver and sender: receives that wait for their message, or payloads that wait for their receive.
        self._inboxes: list[dict[int, deque[Any]]] = [defaultdict(deque) for _ in range(self.size)]

    def move(self) -> None:
        """Move every rank through its steps, to its next receive in each round.

        A rank whose operation fails stops, and so do the ranks that wait for its messages; without a record, its error
        is raised at once.
        """
        walks = [collective.steps() for collective in self._collectives]
        awaited: list[Any] = [None] * self.size
        notes = [one.append for one in self._rows] or None
        left = list(range(self.size))
        while left:
            ranks, left, moved = left, [], False
            for place in ranks:
                request = awaited[place]
                if request is not None:
                    if (request if type(request) is list else request._current)[1] is not None:
                        left.append(place)
                        continue
                    if type(request) is not list:
                        request._current = None
                moved = True
                try:
                    for request in walks[place]:
                        begun = request
                        if type(request) is not int and type(request) is not list:
                            begun = request._current
                            if begun is None:  # it has been waited for before
                                continue
                        if type(begun) is list:
                            if notes is not None:
                                notes[place](begun[0] * _KINDS + WAIT_RECEIVE)
                            awaited[place] = request
                            left.append(place)
                            break
                        if notes is not None:
                            notes[place](begun * _KINDS + WAIT_SEND)
                        if begun is not request:
                            request._current = None
                except Exception as error:
                    if notes is None:
                        raise
                    self.failures[place] = error
            if not moved:
                if self.failures:
                    return
                raise RuntimeError(f"ranks {left[:8]} wait for messages that no rank sends in this collective")

    def send(self, place: int, payload: Any, dest: int) -> int:
        """Send from a rank, in place of its communicator's method."""
        number = 0
        if self._rows:
            sizes = self._bytes[place]
            number = len(sizes)
            sizes.append(len(payload))
            self._rows[place].append(dest * _KINDS + SEND)
        waiting = self._inboxes[dest][place]
        if self._phantoms and phantom.holds(payload):
            payload = None
        if waiting and type(waiting[0]) is list:
            _fill(waiting.popleft(), payload)
        else:
            waiting.append(None if payload is None else bytes(payload))
        return number

    def receive(self, place: int, source: int, view: Any) -> list[Any]:
        """Receive on a rank from another one, in place of its communicator's method."""
        number = 0
        if self._rows:
            number = self._receives[place]
            self._receives[place] = number + 1
            self._rows[place].append(source * _KINDS + RECEIVE)
        receive = [number, view]
        waiting = self._inboxes[place][source]
        if waiting and type(waiting[0]) is not list:
            _fill(receive, waiting.popleft())
        else:
            waiting.append(receive)
        return receive

    def schedule(self) -> list[Step]:
        """The one schedule of what all ranks have done, `ALONE` if there is none."""
        rows = [np.frombuffer(one, np.intc) for one in self._rows]
        try:
            kinds, numbers, masks = common(
                ((place, one % _KINDS, one // _KINDS) for place, one in enumerate(rows)), self.size
            )
        except NoReplay:
            return ALONE
        sizes = iter(by_rank(np.array([np.frombuffer(one, np.int64) for one in self._bytes])))
        bytes_ = [next(sizes) if kind == SEND else 0 for kind in kinds]
        return needed(list(zip(kinds, numbers, masks, bytes_, strict=True)))

    def follow(self, place: int, comm: Any) -> None:
        """Repeat a rank's recorded steps in the event loop, with phantoms."""
        tag = self._collectives[place].tag
        sizes, room = iter(self._bytes[place]), max(max(one, default=0) for one in self._bytes)
        begun: tuple[list[Any], list[Any]] = [], []
        for row in self._rows[place]:
            value, kind = divmod(row, _KINDS)
            if kind == SEND:
                begun[SEND].append(comm.Isend(phantom.phantom(next(sizes), np.uint8), value, tag))
            elif kind == RECEIVE:
                begun[RECEIVE].append(comm.Irecv(phantom.phantom(room, np.uint8), value, tag))
            else:
                begun[SEND if kind == WAIT_SEND else RECEIVE][value].Wait()


def _fill(receive: list[Any], payload: Any) -> None:
    """Copy a payload to where its receive wants it; a phantom's (None) is not copied."""
    if payload is not None and len(payload):
        receive[1][: len(payload)] = payload
    receive[1] = None
