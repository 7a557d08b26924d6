"""A strict check of a Trace Event file: what Perfetto needs to show every slice and every flow."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any


def checked(path: Path) -> dict[str, Any]:
    """Read a file and check it; gives its events by phase (``ph``)."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    by_phase: dict[str, list[dict[str, Any]]] = {}
    for event in content["traceEvents"]:
        assert {"ph", "name", "pid", "tid"} <= event.keys()
        by_phase.setdefault(event["ph"], []).append(event)
    assert by_phase.keys() <= {"M", "X", "s", "f", "i"}
    slices = _slices(by_phase.get("X", []))
    named = {event["tid"] for event in by_phase["M"] if event["name"] == "thread_name"}
    assert slices.keys() <= named
    _flows(by_phase.get("s", []), by_phase.get("f", []), slices)
    return by_phase


def _slices(events: list[dict[str, Any]]) -> dict[int, list[tuple[int, int]]]:
    """The slices of each track in nanoseconds; they take time, and none begins before the one before has ended."""
    tracks: dict[int, list[tuple[int, int]]] = {}
    for event in events:
        begin, length = (round(1000 * event[key]) for key in ("ts", "dur"))
        assert abs(1000 * event["ts"] - begin) < 1e-3, "whole nanoseconds"
        assert begin >= 0
        assert length > 0
        tracks.setdefault(event["tid"], []).append((begin, begin + length))
    for slices in tracks.values():
        slices.sort()
        assert all(later[0] >= earlier[1] for earlier, later in itertools.pairwise(slices))
    return tracks


def _flows(begins: list[dict[str, Any]], ends: list[dict[str, Any]], slices: dict[int, list[tuple[int, int]]]) -> None:
    """Each flow begins once and ends once, not earlier, and both ends lie inside of a slice of their track."""
    starts = {event["id"]: event for event in begins}
    finishes = {event["id"]: event for event in ends}
    assert len(starts) == len(begins) == len(finishes) == len(ends)
    assert starts.keys() == finishes.keys()
    for number, start in starts.items():
        finish = finishes[number]
        assert finish["ts"] >= start["ts"]
        assert finish["bp"] == "e"
        assert start["cat"] == finish["cat"]
        assert start["name"] == finish["name"]
        for event in (start, finish):
            at = round(1000 * event["ts"])
            assert any(begin <= at < end for begin, end in slices[event["tid"]]), event
