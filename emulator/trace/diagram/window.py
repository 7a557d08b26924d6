"""The part of a trace that a diagram shows: a time window with at most a few thousand messages, in whole ticks."""

from __future__ import annotations

from typing import Any

from emulator.core.instruments import NO_PEER
from emulator.trace import activity, perfetto
from emulator.trace.critical_path import critical_path, merged
from emulator.trace.loading import RankTrace, Trace
from emulator.trace.recorder import FAULT
from emulator.units import format_time

KINDS = activity.KINDS
_TICKS = 10_000_000  # of the window
_MESSAGES, _SPANS, _STEPS = 2000, 6000, 500
_AFTER_FAULT = 2 / 3  # of the messages, where a fault struck

Message = tuple[int, int, float, float, int]


def data(trace: Trace, most: int = _MESSAGES) -> dict[str, Any]:
    """Select what the diagram shows.

    Returns
    -------
    dict
        ``clock``; ``since`` and ``seconds`` of the window, which has ticks of ``tick`` seconds; ``ranks``: for each its
        ``name``, ``spans`` (begin, end, number in `KINDS`, the rank that it waited for or -1), ``phases`` (begin, end,
        name) and ``faults`` (at, text); ``messages``: sender and receiver as places in ``ranks``, asked for, received,
        bytes; ``path``: begin, end, rank and other rank, or -1, as places, and kind; ``note``: what is left out.
    """
    messages = sorted(perfetto.messages(trace), key=lambda one: one[2])
    faults = [at for one in trace.ranks for at, _, _ in one.named(FAULT)]
    chosen = _chosen(messages, faults, most)
    since, until = _window(trace, messages, chosen)
    window = _Window(since, max(until, since + 1e-12))
    ranks = [_rank(trace, one, window) for one in trace.ranks]
    hidden = _shorten(ranks)
    return {
        "clock": trace.clock,
        "since": since - trace.since,
        "seconds": until - since,
        "tick": window.tick,
        "ranks": ranks,
        "messages": [
            [source, target, window.ticks(asked), window.ticks(got), size]
            for source, target, asked, got, size in chosen
        ],
        "path": _path(trace, window),
        "note": _note(trace, len(messages), len(chosen), until - since, hidden),
    }


class _Window:
    """A window of time, in whole ticks."""

    def __init__(self, since: float, until: float) -> None:
        self.since, self.until = since, until
        self.tick = (until - since) / _TICKS

    def ticks(self, seconds: float) -> int:
        """Convert a time to ticks, limited to the window."""
        return round((min(max(seconds, self.since), self.until) - self.since) / self.tick)

    def span(self, since: float, until: float) -> tuple[int, int] | None:
        """Convert both ends to ticks; None if outside the window or shorter than one tick."""
        begin, end = self.ticks(since), self.ticks(until)
        return (begin, end) if end > begin else None


def _chosen(messages: list[Message], faults: list[float], most: int) -> list[Message]:
    """Select the last messages, or those around the first fault."""
    if len(messages) <= most or not faults:
        return messages[-most:]
    struck = sum(1 for one in messages if one[2] < min(faults))
    last = min(len(messages), max(most, struck + int(most * _AFTER_FAULT)))
    return messages[last - most : last]


def _window(trace: Trace, messages: list[Message], chosen: list[Message]) -> tuple[float, float]:
    if len(chosen) == len(messages):
        return trace.since, trace.until
    last = trace.until if chosen[-1] is messages[-1] else max(one[3] for one in chosen)
    return chosen[0][2], last


def _rank(trace: Trace, one: RankTrace, window: _Window) -> dict[str, Any]:
    phases = [(window.span(phase.begin, phase.end), phase.name) for phase in one.phases()]
    spans = [(window.span(span.since, span.until), span) for span in activity.spans(trace, one)]
    faults = [(at, text) for at, text, _ in one.named(FAULT)]
    if one.killed and not faults:
        faults = [(one.ended, "ended without closing its trace")]
    launch = f", launch {one.attempt + 1}" if any(other.attempt for other in trace.ranks) else ""
    return {
        "name": f"rank {one.rank}{launch}",
        "spans": [[*ends, KINDS.index(span.kind), span.peer] for ends, span in spans if ends],
        "phases": [[*ends, name] for ends, name in phases if ends],
        "faults": [[window.ticks(at), text] for at, text in faults if window.since <= at <= window.until],
    }


def _shorten(ranks: list[dict[str, Any]]) -> int:
    """Drop the shortest activities beyond `_SPANS`; returns how many."""
    lengths = sorted((end - begin for rank in ranks for begin, end, _, _ in rank["spans"]), reverse=True)
    if len(lengths) <= _SPANS:
        return 0
    least = lengths[_SPANS]
    for rank in ranks:
        rank["spans"] = [span for span in rank["spans"] if span[1] - span[0] > least]
        rank["phases"] = [phase for phase in rank["phases"] if phase[1] - phase[0] > least]
    return len(lengths) - sum(len(rank["spans"]) for rank in ranks)


def _path(trace: Trace, window: _Window) -> list[list[Any]]:
    """The longest parts of the critical path in the window."""
    places = {one.rank: place for place, one in enumerate(trace.ranks)}
    parts = [(window.span(part.since, part.until), part) for part in merged(critical_path(trace))]
    kept = sorted(((ends, part) for ends, part in parts if ends), key=lambda one: one[0][0] - one[0][1])[:_STEPS]
    lines: list[list[Any]] = []
    for (begin, end), part in sorted(kept, key=lambda one: one[0]):
        here, there = places[part.rank], places.get(part.peer, NO_PEER)
        if there != NO_PEER and lines and lines[-1][1:4] == [begin, here, there]:
            lines[-1][1] = end  # the next part of the same message
            lines[-1][4] += f", {part.kind}"
        else:
            lines.append([begin, end, here, there, part.kind])
    return lines


def _note(trace: Trace, messages: int, shown: int, seconds: float, hidden: int) -> str:
    """A sentence on what is left out."""
    told = []
    if trace.dropped:
        told.append(f"{trace.dropped:,} earlier events were not kept (--trace-limit)")
    if shown < messages:
        told.append(
            f"shown are {shown:,} of {messages:,} messages, and of {format_time(trace.seconds)} these "
            f"{format_time(seconds)}: trace.json.gz has them all"
        )
    if hidden:
        told.append(f"{hidden:,} activities too short to be seen are left out")
    text = "; ".join(told) or "nothing is left out"
    return text[0].upper() + text[1:] + "."
