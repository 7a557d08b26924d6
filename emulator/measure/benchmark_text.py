"""Fit alpha and beta to the text output of other benchmarks.

===========================  =================================================================================
tool                         what is read
===========================  =================================================================================
nccl-tests                   the rows of sizes and times (out of place); ranks from its ``#  Rank`` lines
OSU micro-benchmarks         ``osu_latency``; collectives with the line ``# ranks N`` added, which OSU leaves out
Intel MPI Benchmarks         PingPong, Allreduce, Bcast, Reduce: every table with its ``#processes``
two-point timing             lines with ``p = 2``, bytes or MB, and a time with its unit; also what ``design tools
                             --export torchrun`` prints
===========================  =================================================================================

The points are fitted on relative error, as `emulator.measure.fit` does; intervals come from the errors that the model
shows, because such texts have one figure per point.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator import costs
from emulator.errors import UsageError, read_text
from emulator.measure import bootstrap
from emulator.measure.regression import huber
from emulator.units import parse_size, parse_time

_PAIR = 0.01  # by which two timings may be off the two terms that are fitted to them
_COLLECTIVES = {
    "allreduce": "ring", "all_reduce": "ring", "reduce_scatter": "ring_reduce_scatter",
    "allgather": "ring_all_gather", "all_gather": "ring_all_gather", "bcast": "binomial_broadcast",
    "broadcast": "binomial_broadcast", "reduce": "binomial_reduce",
}  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """A figure of a benchmark: the seconds of a pattern on p ranks with n bytes."""

    pattern: str
    ranks: int
    bytes: float
    seconds: float


def read(path: str | Path) -> dict[str, Any]:
    """Fit the terms of a benchmark's text: alpha (s), beta, gamma (s/byte), draws, origin, most_bytes and most_ranks.

    Raises
    ------
    UsageError
        The file cannot be read, is in no known format, or has too few timings.
    """
    name, timings = parse(read_text(Path(path), f"terms file {str(path)!r}"), str(path))
    found = fit(timings, str(path), name=name)
    most = {"most_bytes": max(one.bytes for one in timings), "most_ranks": max(one.ranks for one in timings)}
    doubt = "" if found["alpha"] else ", whose timings show no latency"
    return {**found, **most, "origin": f"{name} in {path}{doubt}"}


def extrapolated(most_ranks: int | None, p: int) -> list[str]:
    """A warning for figures about more ranks than were measured."""
    if most_ranks is None or p <= most_ranks:
        return []
    return [f"measured on at most {most_ranks} ranks: what is said of p > {most_ranks} is extrapolated"]


def parse(text: str, origin: str = "terms") -> tuple[str, list[Timing]]:
    """Parse a text and return the format's name and the timings."""
    formats: list[tuple[str, bool, Callable[[str, str], list[Timing]]]] = [
        ("nccl-tests", "nThread" in text or "out-of-place" in text, _nccl),
        ("OSU micro-benchmarks", "# OSU MPI" in text, _osu),
        ("Intel MPI Benchmarks", "# Benchmarking" in text, _intel),
        ("two-point timing", bool(re.search(r"\bp\s*=\s*\d+", text)), _two_points),
    ]
    for name, known, reader in formats:
        if known:
            return name, reader(text, origin)
    names = ", ".join(name for name, _, _ in formats)
    start = next((line.strip() for line in text.splitlines() if line.strip()), "")
    got = f"a text that begins with {shorten(start, 60, placeholder=' ...')!r}" if start else "an empty file"
    raise UsageError(f"{origin}: no known format: it must be the text output of {names}, got {got}")


def fit(
    timings: list[Timing], origin: str = "terms", resamples: int = 200, name: str = "a benchmark"
) -> dict[str, Any]:  # fmt: skip
    """Fit alpha and beta to timings, with bootstrap draws (alpha, beta, gamma = 0) of more than two points."""
    taken = [one for one in timings if one.seconds > 0]
    terms = [costs.terms(one.pattern, one.ranks) if one.pattern != "message" else costs.Terms(1, 1) for one in taken]
    design = np.array([[t.steps, t.volume * one.bytes] for t, one in zip(terms, taken, strict=True)], dtype=float)
    lengths = np.linalg.norm(design, axis=0) if taken else np.zeros(2)
    if len(taken) < 2 or not lengths.all() or np.linalg.matrix_rank(design / lengths, tol=1e-6) < 2:
        raise UsageError(f"{origin}: alpha and beta need timings of 2 sizes or 2 numbers of ranks, got {len(taken)} "
                         f"of {name}")  # fmt: skip
    data = np.array([one.seconds for one in taken])
    alpha, beta = huber(design, data).tolist()
    _check_pair(alpha * design[:, 0] + beta * design[:, 1], taken, origin)
    return {"alpha": alpha, "beta": beta, "gamma": 0.0, "draws": _draws(design, data, taken, resamples)}


def _check_pair(fitted: NDArray[Any], taken: list[Timing], origin: str) -> None:
    """Refuse two timings that no alpha and beta >= 0 give, such as a time that falls as p grows."""
    off = max(abs(said / one.seconds - 1) for said, one in zip(fitted.tolist(), taken, strict=True))
    if len(taken) == 2 and off > _PAIR:
        both = " and ".join(f"{one.seconds:.4g} s at p = {one.ranks} of {one.bytes:.0f} bytes" for one in taken)
        raise UsageError(f"{origin}: two timings must allow an alpha and a beta >= 0, got {both}: take both on an idle "
                         "machine, by the same algorithm, or add further sizes")  # fmt: skip


def _draws(design: NDArray[Any], data: NDArray[Any], taken: list[Timing], resamples: int) -> NDArray[np.float64]:
    fitted = huber(design, data)
    residuals = np.log(data / np.maximum(design @ fitted, 1e-3 * data))
    ranks, sizes = [one.ranks for one in taken], [one.bytes for one in taken]
    rng = np.random.default_rng(0)
    errors = bootstrap.model_errors(residuals, ranks, sizes, 0.0, 2, resamples, rng)
    if not len(errors):
        return np.empty((0, 3))
    drawn = huber(design, data * np.exp(errors))
    return np.column_stack([drawn, np.zeros(len(drawn))])


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if re.match(r"\s*\d", line)]


def _pattern(name: str, origin: str) -> str:
    key = name.lower().removesuffix("_perf")
    if key not in _COLLECTIVES:
        raise UsageError(f"{origin}: the collective must be one of {', '.join(_COLLECTIVES)}, got {name!r}")
    return _COLLECTIVES[key]


def _nccl(text: str, origin: str) -> list[Timing]:
    ranks = len(re.findall(r"^#\s+Rank\s+\d+", text, re.MULTILINE))
    if ranks < 2:
        raise UsageError(f"{origin}: nccl-tests must list at least 2 ranks in '#  Rank' lines, got {ranks}")
    named = re.search(r"(\w+)_perf", text)
    pattern = _pattern(named[1] if named else "all_reduce", origin)
    # size count type redop root | time algbw busbw #wrong | the same in place
    return [Timing(pattern, ranks, float(row[0]), float(row[5]) * 1e-6) for row in _rows(text) if len(row) >= 9]


def _osu(text: str, origin: str) -> list[Timing]:
    title = re.search(r"# OSU MPI (.*?) Test", text)
    said = title[1] if title else ""
    if not said.endswith("Latency"):
        what = f"OSU MPI {said} Test" if said else "an OSU test without a name"
        raise UsageError(f"{origin}: this is {what}: alpha and beta need times: take osu_latency, or a collective such "
                         "as osu_allreduce")  # fmt: skip
    named = said.removesuffix("Latency").strip().lower() or "latency"
    ranks, pattern = 2, "message"
    if named != "latency":
        pattern, told = _pattern(named, origin), re.search(r"#\s*ranks\s+(\d+)", text)
        if told is None:
            raise UsageError(f"{origin}: OSU collectives do not print their number of ranks: add a line '# ranks N'")
        ranks = int(told[1])
    return [Timing(pattern, ranks, float(row[0]), float(row[1]) * 1e-6) for row in _rows(text) if len(row) >= 2]


def _intel(text: str, origin: str) -> list[Timing]:
    found, named = [], []
    for part in re.split(r"#\s*Benchmarking\s+", text)[1:]:
        name = part.split()[0]
        named.append(name)
        said = re.search(r"#processes\s*=\s*(\d+)", part)
        if said is None:
            raise UsageError(f"{origin}: a table of Intel MPI Benchmarks must say '#processes = N', {name} does not")
        single = name.lower() == "pingpong"
        if not single and name.lower() not in _COLLECTIVES:
            continue
        pattern = "message" if single else _pattern(name, origin)
        column = 2 if single else 3  # t[usec]; t_max[usec]: the operation ends with its last rank
        rows = [row for row in _rows(part) if len(row) > column]
        found += [Timing(pattern, int(said[1]), float(row[0]), float(row[column]) * 1e-6) for row in rows]
    if not found:
        raise UsageError(f"{origin}: of Intel MPI Benchmarks PingPong, Allreduce, Bcast, Reduce, Allgather and "
                         f"Reduce_scatter are read, got {', '.join(named)}: run one of them")  # fmt: skip
    return found


def _two_points(text: str, origin: str) -> list[Timing]:
    """Parse lines like ``p = 2: 100 MB in 40.8 ms`` or ``p=16 bytes=104857600 seconds=0.087`` of a ring all-reduce."""
    found = []
    for line in text.splitlines():
        ranks = re.search(r"\bp\s*=\s*(\d+)", line)
        if ranks is None:
            continue
        number = r"(?<![-\w.])(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)(?![\d.])"
        size = re.search(rf"bytes\s*=\s*{number}", line) or re.search(rf"{number}\s*([kMG]i?B|bytes|B)\b(?!\s*=)", line)
        taken = re.search(rf"seconds\s*=\s*{number}", line) or re.search(
            rf"{number}\s*(us|ms|s|sec|seconds)\b(?!\s*=)", line
        )
        if taken is None or size is None or int(ranks[1]) < 2:
            raise UsageError(f"{origin}: a timing line has p >= 2, bytes and a time, got {line.strip()!r}: write e.g. "
                             "'p=2 bytes=104857600 seconds=0.0408'")  # fmt: skip
        n = float(size[1]) * (parse_size("1" + size[2].replace("bytes", "B")) if size.re.groups > 1 else 1)
        seconds = float(taken[1]) * (parse_time(f"1 {taken[2]}") if taken.re.groups > 1 else 1)
        found.append(Timing("ring", int(ranks[1]), n, seconds))
    return found
