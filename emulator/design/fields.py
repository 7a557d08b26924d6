"""Types of a sheet's fields: quantities with units, and values taken from a measured run."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator

from emulator import costs
from emulator.design.choices import PATTERNS, POLICIES
from emulator.errors import UsageError
from emulator.network.fields import Section
from emulator.units import parse_fraction, parse_rate, parse_size, parse_time

_LONGEST = parse_time("1000 years")  # products of longer times would leave the range of numbers


def _time(value: Any) -> float:
    if isinstance(value, dict) and set(value) == {"from"}:
        return _from_run(str(value["from"]))
    if not isinstance(value, str):
        raise UsageError(f"must be a time with its unit, such as '250 ms', or {{ from = \"RUN\" }}, got {value!r}")
    seconds = parse_time(value)
    if seconds > _LONGEST:
        raise UsageError(f"must be a time of at most 1000 years, got {value!r}")
    return seconds


def _positive_time(value: Any) -> float:
    seconds = _time(value)
    if seconds <= 0:
        raise UsageError(f"must be a time > 0 s, got {value!r}: write e.g. '250 ms'")
    return seconds


def _from_run(path: str) -> float:
    """The compute time of a step that a run declared or measured."""
    from emulator import results

    result = results.load(path)
    sheet = (result.get("sheet") or {}).get("job")
    for found in (result.get("speedup"), sheet, *(result.get("meaning") or [])):
        if found and found.get("t_comp"):
            return float(found["t_comp"])
    raise UsageError(f"{path}: this run has no compute time of a step (t_comp): give a time such as '250 ms'")


def _bytes(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UsageError(f"must be a size such as '350 MB', got {value!r}")
    return parse_size(str(value))


def _positive_bytes(value: Any) -> int:
    size = _bytes(value)
    if not size:
        raise UsageError(f"must be a size > 0 bytes, got {value!r}: write e.g. '16 GB'")
    return size


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"must be a share such as '50 %' or 0.5, got {value!r}")
    return parse_fraction(value)


def _bandwidth(value: Any) -> float:
    if not isinstance(value, str):
        raise UsageError(f"must be a bandwidth with its unit, such as '10 Gbit/s', got {value!r}")
    return 1 / parse_rate(value)


def _staleness(value: Any) -> float:
    if value == "any":
        return float("inf")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f'must be 0, a number of steps, or "any", got {value!r}')
    return float(value)


def _whole(least: int, most: float = math.inf) -> BeforeValidator:
    legal = f"a whole number >= {least}" if math.isinf(most) else f"a whole number from {least} to {most:g}"

    def checked(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise UsageError(f"must be {legal}, got {value!r}")
        return value

    return BeforeValidator(checked)


def _real(most: float = math.inf) -> BeforeValidator:
    legal = "a number >= 0" if math.isinf(most) else f"a number from 0 to {most:g}"

    def checked(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most or value == math.inf:
            raise UsageError(f"must be {legal}, got {value!r}")
        return float(value)

    return BeforeValidator(checked)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"must be a name in quotes, got {value!r}")
    return value


def _one_of(*legal: str) -> BeforeValidator:
    *first, last = map(repr, legal)

    def checked(value: Any) -> str:
        if value not in legal:
            raise UsageError(f"must be {', '.join(first)} or {last}, got {value!r}")
        return str(value)

    return BeforeValidator(checked)


def _module(value: Any) -> str:
    if not isinstance(value, str) or not all(part.isidentifier() for part in value.split(".")):
        raise UsageError(f"must be the name of a Python module such as 'demos.cases.rag', got {value!r}")
    return value


Seconds = Annotated[float, BeforeValidator(_time)]
PositiveSeconds = Annotated[float, BeforeValidator(_positive_time)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
PositiveBytes = Annotated[int, BeforeValidator(_positive_bytes)]
Share = Annotated[float, BeforeValidator(_share)]
Beta = Annotated[float, BeforeValidator(_bandwidth)]
Steps = Annotated[float, BeforeValidator(_staleness)]
Count = Annotated[int, _whole(1)]
Most = Annotated[int, _whole(1, 16384)]
Whole = Annotated[int, _whole(0)]
Shape = Annotated[float, _real(10)]  # of a distribution: beyond, none describes a job
Number = Annotated[float, _real()]
Name = Annotated[str, BeforeValidator(_name)]
AllReduce = Annotated[str, _one_of("auto", *costs.ALL_REDUCES)]
PatternName = Annotated[str, _one_of(*PATTERNS)]
PolicyName = Annotated[str, _one_of(*POLICIES)]
Module = Annotated[str, BeforeValidator(_module)]


class Slot(Section):
    """A table that is a decision: says why, and what was rejected."""

    why: str = ""
    rejected: str = ""
