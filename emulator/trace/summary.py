"""Figures of a trace: each rank's share of every activity, and the parts of the critical path."""

from __future__ import annotations

from typing import Any

from emulator.trace import activity
from emulator.trace.critical_path import FasterNetwork, by_kind, critical_path, merged
from emulator.trace.loading import Trace
from emulator.trace.recorder import FAULT, SENT

_STEPS = 200  # of the path that are listed, the longest
_WAITED_FOR = 8  # ranks that a rank waited for longest


def summarise(trace: Trace) -> dict[str, Any]:
    """Make the ``timeline`` of a result from a trace.

    Returns
    -------
    dict
        ``clock``; ``since``, ``until`` and ``seconds``; ``events``, and ``dropped`` of them; ``ranks``: for each its
        seconds of each activity and ``waited_for``, seconds by the rank that it waited for; ``path``: the parts of the
        critical path by kind in seconds; ``steps``: its longest parts; ``faster``: what a faster network would bring;
        ``faults``: what struck which rank, and when.
    """
    path = critical_path(trace)
    steps = sorted(merged(path), key=lambda part: part.since - part.until)[:_STEPS]
    rows = []
    for one in trace.ranks:
        spans = activity.spans(trace, one)
        longest = list(activity.waited_for(spans).items())[:_WAITED_FOR]
        waited = {str(rank): seconds for rank, seconds in longest}
        rows.append(
            {
                "rank": one.rank, "attempt": one.attempt, "killed": one.killed, "dropped": one.dropped,
                "began": one.began, "ended": one.ended, "activities": activity.shares(spans), "waited_for": waited,
                "sent": int((one.rows["kind"] == SENT).sum()),
            }
        )  # fmt: skip
    return {
        "clock": trace.clock,
        "since": trace.since,
        "until": trace.until,
        "seconds": trace.seconds,
        "events": trace.events,
        "dropped": trace.dropped,
        "ranks": rows,
        "path": by_kind(path),
        "steps": [vars(part) for part in sorted(steps, key=lambda part: part.since)],
        "faster": vars(FasterNetwork.of(path)),
        "faults": _faults(trace),
    }


def _faults(trace: Trace) -> list[dict[str, Any]]:
    found = [{"rank": one.rank, "at": at, "text": text} for one in trace.ranks for at, text, _ in one.named(FAULT)]
    struck = {fault["rank"] for fault in found}
    found += [
        {"rank": one.rank, "at": one.ended, "text": "ended without closing its trace"}
        for one in trace.ranks
        if one.killed and one.rank not in struck
    ]
    return sorted(found, key=lambda fault: fault["at"])


def sentence(timeline: dict[str, Any]) -> str:
    """A sentence on what a faster network would save at best, as another path may then be the longest."""
    faster, total = timeline["faster"], timeline["seconds"]
    if not total:
        return "no time has passed on this clock"
    if timeline["path"].get("transfer"):
        gain = 1 - faster["instant"] / total
        return f"a network that takes no time would save at most {100 * gain:.0f} %"
    alpha, beta = (1 - faster[key] / total for key in ("half_alpha", "half_beta"))
    return f"half the latency would save at most {100 * alpha:.0f} %, twice the bandwidth {100 * beta:.0f} %"
