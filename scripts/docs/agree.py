"""Compare an output with the one in a document, and replace it."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable

from scripts.docs.blocks import OMITTED

_BARS = re.compile(r"[─━═█▉▊▋▌▍▎▏░▒▓#=]{2,}|█")
_END = "\0"
"""Stands for the ends of an output, where a document leaves nothing out; no line is like it."""
_PROGRESS = re.compile(r".*: [\d.]+ of [\d.]+ after \d")
_STAMP = re.compile(r"\d{8}T\d{6}Z|\d{4}-\d\d-\d\dT")
"""Of a run folder or an environment: its line is left out of a document."""
_INTERVAL = re.compile(r"\[[^]]+]")
_QUANTITY = re.compile(
    r"""[-+±]?(?<![\w.])\d[\d,]*(\.\d+)?(e[-+]?\d+)?   # a number
        (\s?(ns|us|ms|s|min|h|%|x|[kKMGT]?i?B(/s)?|[kMG]?bit/s)(?![\w/]))?  # and its unit""",
    re.VERBOSE,
)


def lines_of(output: str) -> list[str]:
    """Split an output into lines without trailing blanks, empty lines at its ends and the progress of slow machines."""
    lines = [line.rstrip() for line in output.splitlines() if not _PROGRESS.match(line)]
    return "\n".join(lines).strip("\n").splitlines()


def shape(line: str) -> str:
    """A line without what differs between repetitions: quantities, bars, and blanks that depend on widths."""
    return " ".join("0" if word == "-" else word for word in _QUANTITY.sub(" 0 ", _BARS.sub(" ", line)).split())


def differs(expected: list[str], printed: list[str], *, timed: bool) -> str | None:
    """Where `printed` differs from `expected`; None if they agree.

    Parameters
    ----------
    timed
        Compare the lines by their `shape`.
    """
    formed = _formed(printed, timed)
    segments, open_start, open_end = _segments(_formed(expected, timed))
    if not segments:
        return None
    if not open_start:
        segments[0] = [_END, *segments[0]]
        formed = [_END, *formed]
    if not open_end:
        segments[-1] = [*segments[-1], _END]
        formed = [*formed, _END]
    at = 0
    for segment in segments:
        ends = (end for end in range(at + len(segment), len(formed) + 1) if formed[end - len(segment) : end] == segment)
        found = next(ends, None)
        if found is None:
            return _diff(expected, printed)
        at = found
    return None


def _formed(lines: list[str], timed: bool) -> list[str]:
    """Convert lines into the compared form.

    How often a row was repeated, and so whether it has an interval, depends on the machine everywhere.
    """
    formed = []
    counted = False
    for line in lines:
        counted = line.endswith("  n") or (counted and line.strip() not in ("", OMITTED))
        kept = " ".join(_INTERVAL.sub("-", re.sub(r"(\d+|n)$", "n", line)).split()) if counted else line
        formed.append(shape(kept) if timed and line.strip() != OMITTED else kept)
    return formed


def renewed(expected: list[str], printed: list[str]) -> list[str]:
    """The document's output replaced by what was printed, with the same lines left out.

    Raises
    ------
    ValueError
        A part of the document has no counterpart in what was printed.
    """
    segments, open_start, open_end = _segments(expected)
    if not segments:
        return expected
    at = 0
    new: list[str] = [OMITTED] if open_start else []
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        start = 0 if number == 0 and not open_start else _like(segment[0], printed, at)
        if last and not open_end:
            end = len(printed) - 1
        else:
            end = _like(segment[-1], printed, start + max(0, len(segment) - 3))
        new += [OMITTED if _STAMP.search(line) else line for line in printed[start : end + 1]]
        if not last or open_end:
            new.append(OMITTED)
        at = end + 1
    return [line for line, before in zip(new, ["", *new], strict=False) if (line, before) != (OMITTED, OMITTED)]


def _like(wanted: str, lines: list[str], start: int) -> int:
    """Index, from `start` on, of the line most like `wanted`, by its shape and then by its figures."""

    def alike(form: Callable[[str], str], line: str) -> float:
        return difflib.SequenceMatcher(None, form(wanted), form(line), autojunk=False).ratio()

    scores = [(alike(shape, line), alike(str, line)) for line in lines[start:]]
    best = max(scores, default=(0.0, 0.0))
    if best[0] < 0.6:
        raise ValueError(f"no line is like {wanted!r}")
    return start + scores.index(best)


def _segments(expected: list[str]) -> tuple[list[list[str]], bool, bool]:
    """Split a document's lines where some are left out; returns also whether some are at the start and at the end."""
    segments: list[list[str]] = [[]]
    for line in expected:
        if line.strip() == OMITTED:
            segments.append([])
        else:
            segments[-1].append(line)
    open_start = not segments[0] and len(segments) > 1
    open_end = not segments[-1] and len(segments) > 1
    return [segment for segment in segments if segment], open_start, open_end


def _diff(expected: list[str], printed: list[str]) -> str:
    shown = printed
    with contextlib.suppress(ValueError):
        shown = renewed(expected, printed)
    if shown == expected:
        shown = printed
    return "\n".join(difflib.unified_diff(expected, shown, "the document", "what it prints", lineterm=""))
