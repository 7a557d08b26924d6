"""A trace as a file that ui.perfetto.dev and chrome://tracing open: the Trace Event Format, gzipped JSON.

One track for each rank holds its activities, without a gap; phases have a track below it, and messages on the rank's
cards one for each side (a second one where a loopback runs beside the card). No two slices of a track overlap: times
are whole nanoseconds. Each message whose both ends are known is a flow from the sender's slice to the receiver's.

Source: Trace Event Format, Google, 2016 (phases X, M, s, f, i).
"""

from __future__ import annotations

import gzip
import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from emulator.core.instruments import NO_PEER
from emulator.results.files import replacing
from emulator.trace import activity
from emulator.trace.loading import RankTrace, Trace
from emulator.trace.recorder import FAULT, RECEIVED, SENT

FILE = "trace.json.gz"
_JOB = 1  # the process of all tracks
_TRACKS = 8  # of a rank
_PHASES, _OUT, _IN = 1, 2, 4  # tracks after the rank's own; a card has room for a second one

Event = dict[str, Any]
Slice = tuple[int, int, str, dict[str, Any]]
"""Begin and end in whole nanoseconds, name, arguments."""


def write(trace: Trace, path: Path) -> Path:
    """Write the trace file.

    Raises
    ------
    CannotWrite
        The file system refused it.
    """
    encode = json.JSONEncoder(separators=(",", ":")).encode
    with replacing(path) as waiting, gzip.open(waiting, "wt", compresslevel=4, encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ns","otherData":')
        file.write(encode({"clock": trace.clock, "left out": trace.dropped, **trace.about}))
        file.write(',"traceEvents":[\n')
        for number, event in enumerate(events(trace)):
            file.write((",\n" if number else "") + encode(event))
        file.write("\n]}\n")
    return path


def events(trace: Trace) -> Iterator[Event]:
    """The events of a trace, by track."""
    yield {"ph": "M", "name": "process_name", "pid": _JOB, "tid": 0, "args": {"name": f"ranks, {trace.clock} clock"}}
    tracks: dict[int, list[Slice]] = {}
    for place, one in enumerate(trace.ranks):
        track = _TRACKS * place
        tracks[place] = list(_activities(trace, one))
        yield from _track(track, _name(trace, one), tracks[place])
        yield from _track(track + _PHASES, f"{_name(trace, one)} phases", list(_phases(trace, one)))
        for side, name, slices in (
            (_OUT, "sends", _card(trace, one, SENT)),
            (_IN, "receives", _card(trace, one, RECEIVED)),
        ):
            for lane, shown in enumerate(_lanes(slices)):
                yield from _track(track + side + lane, f"{_name(trace, one)} {name}", shown)
        yield from _faults(trace, one, track)
    yield from _flows(trace, tracks)


def _name(trace: Trace, one: RankTrace) -> str:
    again = f" (launch {one.attempt + 1})" if any(other.attempt for other in trace.ranks) else ""
    return f"rank {one.rank}{again}"


def _ns(trace: Trace, seconds: float) -> int:
    return round((seconds - trace.since) * 1e9)


def _us(ns: int) -> float:
    return ns / 1000


def _track(track: int, name: str, slices: list[Slice]) -> Iterator[Event]:
    if not slices:
        return
    about = {"pid": _JOB, "tid": track}
    yield {"ph": "M", "name": "thread_name", **about, "args": {"name": name}}
    yield {"ph": "M", "name": "thread_sort_index", **about, "args": {"sort_index": track}}
    for begin, end, title, more in slices:
        yield {"ph": "X", "name": title, **about, "ts": _us(begin), "dur": _us(end - begin), "args": more}


def _activities(trace: Trace, one: RankTrace) -> Iterator[Slice]:
    """The activities of a rank; those shorter than a nanosecond are left out."""
    for span in activity.spans(trace, one):
        begin, end = _ns(trace, span.since), _ns(trace, span.until)
        if end > begin:
            whom = f" {span.peer}" if span.peer != NO_PEER else ""
            name = {
                activity.SENDING: f"send to{whom}", activity.RECEIVING: f"wait for{whom}",
                activity.MATCHING: f"wait for match by{whom}",
            }.get(span.kind, span.kind)  # fmt: skip
            yield begin, end, name, {}


def _phases(trace: Trace, one: RankTrace) -> Iterator[Slice]:
    """The phases of a rank: each lasts until the next one."""
    for at, until, name, step, _ in one.phases():
        begin, end = max(0, _ns(trace, at)), _ns(trace, until)
        if end > begin:
            yield begin, end, name, {"step": step} if step >= 0 else {}


def _card(trace: Trace, one: RankTrace, kind: int) -> Iterator[Slice]:
    """The intervals in which messages occupy one side of the rank's card."""
    rows = one.rows[one.rows["kind"] == kind]
    u = rows["u"]
    begins, ends = (u[:, 0], u[:, 1]) if kind == SENT else (u[:, 0] - u[:, 2], u[:, 0])
    for row, begin, end in zip(rows, begins.tolist(), ends.tolist(), strict=True):
        if math.isnan(row["u"][2]) or begin < trace.since:  # over MPI itself nothing is known of a card
            continue
        way = f"to {row['peer']}" if kind == SENT else f"from {row['peer']}"
        yield _ns(trace, begin), _ns(trace, end), way, {"bytes": int(row["size"]), "tag": int(row["tag"])}


def _lanes(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Divide slices among at most two tracks so that none overlap; the rest is left out."""
    lanes: list[list[Slice]] = [[], []]
    for one in sorted(slices, key=lambda one: one[:2]):
        for lane in lanes:
            if one[1] > one[0] and (not lane or lane[-1][1] <= one[0]):
                lane.append(one)
                break
    return lanes


def _faults(trace: Trace, one: RankTrace, track: int) -> Iterator[Event]:
    marks = [(at, text) for at, text, _ in one.named(FAULT)]
    if one.killed:
        marks.append((one.ended, "killed"))
    for at, text in marks:
        when = _us(max(0, _ns(trace, at)))
        yield {"ph": "i", "s": "t", "name": text, "pid": _JOB, "tid": track, "ts": when, "args": {}}


def messages(trace: Trace) -> Iterator[tuple[int, int, float, float, int]]:
    """Each message with both ends known: indices of sender and receiver, times asked and received, bytes."""
    for place, one in enumerate(trace.ranks):
        for index in np.flatnonzero(one.rows["kind"] == RECEIVED).tolist():
            row = one.rows[index]
            sender = trace.sender(one, row)
            if sender is None:
                continue
            sent = trace.ranks[sender[0]].rows[sender[1]]
            asked, got = float(sent["t"]), max(float(row["t"]), float(row["u"][0]))
            if asked >= trace.since:
                yield sender[0], place, asked, got, int(row["size"])


def _flows(trace: Trace, tracks: dict[int, list[Slice]]) -> Iterator[Event]:
    """An arrow for each message; both ends lie inside a slice, which binds them."""
    begins = {place: [one[0] for one in slices] for place, slices in tracks.items()}
    number = 0
    for sender, receiver, asked, got, size in messages(trace):
        if not tracks[sender] or not tracks[receiver]:
            continue
        start = _inside(tracks[sender], begins[sender], _ns(trace, asked))
        finish = _inside(tracks[receiver], begins[receiver], _ns(trace, got) - 1)
        number += 1
        common = {"cat": "message", "name": "message", "id": number, "pid": _JOB, "args": {"bytes": size}}
        yield {"ph": "s", **common, "tid": _TRACKS * sender, "ts": _us(start)}
        yield {"ph": "f", "bp": "e", **common, "tid": _TRACKS * receiver, "ts": _us(max(start, finish))}


def _inside(slices: list[Slice], begins: list[int], at: int) -> int:
    """The instant nearest to `at` inside a slice."""
    place = max(0, bisect_right(begins, at) - 1)
    begin, end = slices[place][:2]
    return min(max(at, begin), end - 1)
