"""What each rank did when: spans of computing, sending, waiting and recovery that fill its time.

A recorder notes every wait of a rank. All other time is the program's own: computing, or recovery between the phases
that name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emulator.core.instruments import NO_PEER, Wait
from emulator.trace.loading import RankTrace, Trace
from emulator.trace.recorder import RECEIVED, WAITED

COMPUTING, SENDING, RECEIVING, RECOVERY = "computing", "sending", "waiting for a message", "recovery"
ALIGNING, POLLING, COLLECTIVE, MATCHING = "aligning clocks", "polling", "in a collective", "waiting for a match"
KINDS = (COMPUTING, SENDING, RECEIVING, MATCHING, COLLECTIVE, POLLING, ALIGNING, RECOVERY)
"""Activities, in the order in which they are shown."""

_OF_WAIT = {
    Wait.SEND: SENDING, Wait.MATCH: MATCHING, Wait.PROBE: RECEIVING, Wait.ALIGN: ALIGNING, Wait.POLL: POLLING,
    Wait.COLLECTIVE: COLLECTIVE,
}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """What a rank did from `since` to `until`; `peer` is the rank that it waited for, `row` the index of its row."""

    since: float
    until: float
    kind: str
    peer: int = NO_PEER
    row: int = -1


@dataclass(frozen=True)
class Waits:
    """The waits of a rank that took time, as columns, in the order of their ends."""

    since: np.ndarray
    until: np.ndarray
    row: np.ndarray


def waits(one: RankTrace) -> Waits:
    """Select the rows in which the clock of a rank advanced."""
    rows = one.rows
    chosen = np.flatnonzero(np.isin(rows["kind"], (RECEIVED, WAITED)) & (rows["u"][:, 0] > rows["t"]))
    return Waits(rows["t"][chosen], rows["u"][chosen, 0], chosen)


def kind_of(row: np.void) -> str:
    """The activity of a row that is a wait."""
    return RECEIVING if row["kind"] == RECEIVED else _OF_WAIT[Wait(int(row["why"]))]


def recoveries(one: RankTrace) -> list[tuple[float, float]]:
    """List the intervals in which a rank was in a recovery phase."""
    found: list[tuple[float, float]] = []
    for phase in one.phases():
        if phase.recovery:
            begin = found.pop()[0] if found and found[-1][1] == phase.begin else phase.begin
            found.append((begin, phase.end))
    return found


def own_time(since: float, until: float, repairs: Sequence[tuple[float, float]]) -> Iterator[Span]:
    """Divide the time in which a rank did not wait into computing and recovery."""
    at = since
    for begin, end in repairs:
        begin, end = max(begin, at), min(end, until)
        if end <= begin:
            continue
        if begin > at:
            yield Span(at, begin, COMPUTING)
        yield Span(begin, end, RECOVERY)
        at = end
    if until > at:
        yield Span(at, until, COMPUTING)


def spans(trace: Trace, one: RankTrace) -> list[Span]:
    """A rank's spans, without gaps, from its beginning (or the trace's) to its end."""
    found: list[Span] = []
    at, repairs, kept = max(one.began, trace.since), recoveries(one), waits(one)
    for since, until, row in zip(kept.since.tolist(), kept.until.tolist(), kept.row.tolist(), strict=True):
        since = max(since, at)
        if until <= since:
            continue
        found += own_time(at, since, repairs)
        found.append(Span(since, until, kind_of(one.rows[row]), int(one.rows["peer"][row]), row))
        at = until
    return found + list(own_time(at, one.ended, repairs))


def shares(found: Iterable[Span]) -> dict[str, float]:
    """Add up the seconds of each activity."""
    total: dict[str, float] = {}
    for span in found:
        total[span.kind] = total.get(span.kind, 0.0) + span.until - span.since
    return {kind: total[kind] for kind in KINDS if kind in total}


def waited_for(found: Iterable[Span]) -> dict[int, float]:
    """Add up the seconds of waiting by the rank that was waited for, the longest first."""
    total: dict[int, float] = {}
    for span in found:
        if span.kind in (RECEIVING, MATCHING) and span.peer != NO_PEER:
            total[span.peer] = total.get(span.peer, 0.0) + span.until - span.since
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
