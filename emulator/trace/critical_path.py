"""The critical path of a run: from its last event backwards, what it waited for, in parts that add up to its time.

    rank 0  ──compute──┐ asked                                   ┌─due──► last event
    rank 1             └ card ┴ latency ┴ link ┴ card ┴ bandwidth ┘

Where a rank waited for a message until its last byte was there, the path goes on at the sender, at the instant at
which the program asked for the send; where it did not wait, it goes on at the rank itself. (Yang and Miller, Critical
path analysis for the execution of parallel and distributed programs, ICDCS 1988.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from emulator.core.instruments import NO_PEER, Wait
from emulator.trace import activity
from emulator.trace.loading import Trace
from emulator.trace.recorder import RECEIVED, SENT, WAITED

LATENCY, BANDWIDTH, CARD, LINK = "latency", "bandwidth", "waiting for a card", "waiting for a shared link"
TRANSFER, STARTING = "transfer", "starting"
KINDS = (activity.COMPUTING, LATENCY, BANDWIDTH, CARD, LINK, TRANSFER, *activity.KINDS[1:], STARTING)
"""Parts of a path, in the order in which they are shown. A transfer is a message over MPI itself, of which no more is
known; a rank is starting until its recording begins; activities stand for waits that lead to no message."""


@dataclass(frozen=True)
class Part:
    """A part of the path on `rank`, or from `rank` to `peer`."""

    since: float
    until: float
    kind: str
    rank: int
    peer: int = NO_PEER


class _Walk:
    """A backward walk through a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.parts: list[Part] = []
        self._waits = [activity.waits(one) for one in trace.ranks]
        self._repairs = [activity.recoveries(one) for one in trace.ranks]
        self._met = _meetings(trace)
        self._followed: set[tuple[int, int]] = set()
        self.place = max(range(len(trace.ranks)), key=lambda place: trace.ranks[place].ended)
        self.at = trace.ranks[self.place].ended
        self.row = len(trace.ranks[self.place].rows)  # rows before it are yet to come

    def run(self) -> None:
        """Walk back to the beginning."""
        while self.at > self.trace.since:
            waits = self._waits[self.place]
            last = int(np.searchsorted(waits.row, self.row)) - 1
            while last >= 0 and waits.until[last] > self.at:  # of a card's wait that goes on while the rank does
                last -= 1
            if last < 0:
                self._own(max(self.trace.since, min(self.trace.ranks[self.place].began, self.at)))
                self._to(self.trace.since, STARTING)
                return
            self._own(float(waits.until[last]))
            self._wait(int(waits.row[last]))

    def _own(self, since: float) -> None:
        """Add the rank's own time, back to `since`."""
        spans = list(activity.own_time(max(since, self.trace.since), self.at, self._repairs[self.place]))
        for span in reversed(spans):
            self._to(span.since, span.kind)

    def _to(self, since: float, kind: str, rank: int | None = None, peer: int = NO_PEER) -> None:
        """Go back to `since`, if that is earlier."""
        since = max(since, self.trace.since)
        if since < self.at:
            own = self.trace.ranks[self.place].rank
            self.parts.append(Part(since, self.at, kind, own if rank is None else rank, peer))
            self.at = since

    def _wait(self, index: int) -> None:
        """Go back over a wait, to the rank that ended it or to its beginning."""
        row = self.trace.ranks[self.place].rows[index]
        since, self.row = float(row["t"]), index
        if (self.place, index) in self._followed:  # events that lead round in a circle at one instant
            self._to(since, activity.kind_of(row), peer=int(row["peer"]))
            return
        self._followed.add((self.place, index))
        if row["kind"] == RECEIVED or row["why"] == Wait.PROBE:
            row, sender = self._last_sent(index)
            if sender is not None:
                self._message(row, sender)
                return
        elif row["why"] in (Wait.ALIGN, Wait.COLLECTIVE):
            self._meeting(row)
            return
        elif row["why"] == Wait.SEND:
            self._sending(index)
        self._to(since, activity.kind_of(row), peer=int(row["peer"]))

    def _last_sent(self, index: int) -> tuple[np.void, tuple[int, int] | None]:
        """A receive and where its message was sent, or None; of receives completed in one call, the last to be sent."""
        rows = self.trace.ranks[self.place].rows
        row, sender = rows[index], None
        asked = -math.inf
        for earlier in range(index, -1, -1):
            one = rows[earlier]
            if (one["kind"], one["t"]) != (row["kind"], row["t"]):
                break
            found = self.trace.sender(self.trace.ranks[self.place], one)
            if found is not None and (sent := float(self.trace.ranks[found[0]].rows[found[1]]["t"])) > asked:
                row, sender, asked = one, found, sent
            if not math.isnan(one["u"][1]):
                break
        return row, sender

    def _message(self, row: np.void, sender: tuple[int, int]) -> None:
        place, index = sender
        sent = self.trace.ranks[place].rows[index]
        asked, (start, _, first, queued) = float(sent["t"]), map(float, sent["u"])
        source, target = self.trace.ranks[place].rank, self.trace.ranks[self.place].rank
        if math.isnan(first):  # over MPI itself
            if asked > row["t"]:
                self._to(asked, TRANSFER, source, target)
                self.place, self.row = place, index
            else:
                self._to(float(row["t"]), TRANSFER, source, target)
            return
        due, service = float(row["u"][0]), float(row["u"][2])
        begin = max(due - service, first) if row["kind"] == RECEIVED else first
        for since, kind in (
            (begin, BANDWIDTH),
            (first, CARD),
            (start + queued, LATENCY),
            (start, LINK),
            (asked, CARD),
        ):
            self._to(since, kind, source, target)
        self.place, self.row = place, index

    def _meeting(self, row: np.void) -> None:
        """Go to the rank that came last to a collective operation."""
        until = float(row["u"][0])
        came = [one for one in self._met[_key(row)] if one[2] <= until]
        place, index, since = max(came, key=lambda one: one[2])
        if since <= row["t"]:  # the rank itself, or one that came before it
            since = float(row["t"])
        else:
            self.place, self.row = place, index
        self._to(since, activity.kind_of(row))

    def _sending(self, index: int) -> None:
        """Go back over a wait for the own message to leave: first for the card, then for the last byte."""
        rows = self.trace.ranks[self.place].rows
        since, until, peer = float(rows["t"][index]), float(rows["u"][index, 0]), int(rows["peer"][index])
        for earlier in range(index - 1, max(-1, index - 64), -1):
            row = rows[earlier]
            if row["kind"] == SENT and row["peer"] == peer and row["u"][1] == until and not math.isnan(row["u"][2]):
                self._to(max(since, float(row["u"][0])), BANDWIDTH)
                self._to(since, CARD)
                return


def _key(row: np.void) -> tuple[int, int, float]:
    """The identity of a meeting of ranks; for aligned clocks the time to which all set them."""
    if row["why"] == Wait.ALIGN:
        return int(row["why"]), 0, float(row["u"][0])
    return int(row["why"]), int(row["token"]), 0.0


def _meetings(trace: Trace) -> dict[tuple[int, int, float], list[tuple[int, int, float]]]:
    """For each meeting, who came: the rank's index, its row, and when.

    Clocks that are aligned twice in a row meet at one time twice; the second time, no rank waits.
    """
    met: dict[tuple[int, int, float], list[tuple[int, int, float]]] = {}
    for place, one in enumerate(trace.ranks):
        rows = one.rows
        for index in np.flatnonzero(
            (rows["kind"] == WAITED) & np.isin(rows["why"], (Wait.ALIGN, Wait.COLLECTIVE))
        ).tolist():
            came = met.setdefault(_key(rows[index]), [])
            if not came or came[-1][0] != place:
                came.append((place, index, float(rows["t"][index])))
    return met


def critical_path(trace: Trace) -> list[Part]:
    """The critical path from the beginning of a trace to its end, in contiguous parts."""
    if not trace.ranks:
        return []
    walk = _Walk(trace)
    walk.run()
    return walk.parts[::-1]


def by_kind(path: list[Part]) -> dict[str, float]:
    """Add up the seconds of each kind of part."""
    total = {kind: math.fsum(part.until - part.since for part in path if part.kind == kind) for kind in KINDS}
    return {kind: seconds for kind, seconds in total.items() if seconds}


def merged(path: list[Part]) -> Iterator[Part]:
    """Join neighbouring parts of one kind between the same ranks."""
    for (kind, rank, peer), neighbours in groupby(path, lambda part: (part.kind, part.rank, part.peer)):
        these = list(neighbours)
        yield Part(these[0].since, these[-1].until, kind, rank, peer)


@dataclass(frozen=True)
class FasterNetwork:
    """Seconds of the path: as it is, with half the latency, with twice the bandwidth, and if messages took no time."""

    seconds: float
    half_alpha: float
    half_beta: float
    instant: float

    @classmethod
    def of(cls, path: list[Part]) -> FasterNetwork:
        """Shorten the parts of a path that alpha or beta cause."""
        parts = by_kind(path)
        total = math.fsum(parts.values())
        latency = parts.get(LATENCY, 0.0)
        bandwidth = math.fsum(parts.get(kind, 0.0) for kind in (BANDWIDTH, CARD, LINK))
        network = latency + bandwidth + parts.get(TRANSFER, 0.0)
        return cls(total, total - latency / 2, total - bandwidth / 2, total - network)
