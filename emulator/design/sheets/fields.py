"""Types of a sheet's fields: quantities with units, and values taken from a measured run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator

from emulator import costs
from emulator.design.choices import PATTERNS, POLICIES
from emulator.errors import UsageError
from emulator.network.fields import Section
from emulator.units import parse_fraction, parse_rate, parse_size, parse_time

_LONGEST = parse_time("1000 years")  # products of longer times would leave the range of numbers


def _legal(
    what: str, holds: Callable[[Any], bool], convert: Callable[[Any], Any] = lambda value: value
) -> BeforeValidator:
    """Make a validator that refuses a value for which `holds` is false, saying `what` is legal, and converts others."""

    def checked(value: Any) -> Any:
        if isinstance(value, bool) or not holds(value):
            raise UsageError(f"must be {what}, got {value!r}")
        return convert(value)

    return BeforeValidator(checked)


def _positive(what: str, kind: BeforeValidator, example: str) -> BeforeValidator:
    """Make a validator that also refuses 0."""

    def checked(value: Any) -> Any:
        found = kind.func(value)  # type: ignore[call-arg]
        if found <= 0:
            raise UsageError(f"must be {what}, got {value!r}: write e.g. {example!r}")
        return found

    return BeforeValidator(checked)


def _number(noun: str, *kinds: type, least: int = 0, most: float = math.inf) -> BeforeValidator:
    def holds(value: Any) -> bool:
        return isinstance(value, kinds) and least <= value <= most and value != math.inf  # type: ignore[operator]

    legal = f"{noun} >= {least}" if math.isinf(most) else f"{noun} from {least} to {most:g}"
    return _legal(legal, holds, kinds[-1])


def _one_of(*legal: str) -> BeforeValidator:
    *first, last = map(repr, legal)
    return _legal(f"{', '.join(first)} or {last}", legal.__contains__)


def _from_run(path: str) -> float:
    """The compute time of a step in a run's result, declared or measured."""
    from emulator import results

    result = results.load(path)
    sheet = (result.get("sheet") or {}).get("job")
    for found in (result.get("speedup"), sheet, *(result.get("meaning") or [])):
        if found and found.get("t_comp"):
            return float(found["t_comp"])
    raise UsageError(f"{path}: this run has no compute time of a step (t_comp): give a time such as '250 ms'")


def _time(value: Any) -> float:
    if isinstance(value, dict):
        return _from_run(str(value["from"]))
    seconds = parse_time(value)
    if seconds > _LONGEST:
        raise UsageError(f"must be a time of at most 1000 years, got {value!r}")
    return seconds


_SECONDS = _legal(
    "a time with its unit, such as '250 ms', or { from = \"RUN\" }",
    lambda value: isinstance(value, str) or (isinstance(value, dict) and set(value) == {"from"}),
    _time,
)
_BYTES = _legal(
    "a size such as '350 MB'", lambda value: isinstance(value, str | int), lambda value: parse_size(str(value))
)
_SHARE = _legal("a share such as '50 %' or 0.5", lambda value: isinstance(value, str | int | float), parse_fraction)
_BANDWIDTH = _legal(
    "a bandwidth with its unit, such as '10 Gbit/s'",
    lambda value: isinstance(value, str),
    lambda value: 1 / parse_rate(value),
)
_STALENESS = _legal(
    '0, a number of steps, or "any"',
    lambda value: value == "any" or (isinstance(value, int) and value >= 0),
    lambda value: math.inf if value == "any" else float(value),
)
_NAME = _legal("a name in quotes", lambda value: isinstance(value, str) and bool(value.strip()))
_MODULE = _legal(
    "the name of a Python module such as 'demos.cases.rag'",
    lambda value: isinstance(value, str) and all(part.isidentifier() for part in value.split(".")),
)

Seconds = Annotated[float, _SECONDS]
PositiveSeconds = Annotated[float, _positive("a time > 0 s", _SECONDS, "250 ms")]
Bytes = Annotated[int, _BYTES]
PositiveBytes = Annotated[int, _positive("a size > 0 bytes", _BYTES, "16 GB")]
Share = Annotated[float, _SHARE]
Beta = Annotated[float, _BANDWIDTH]
Steps = Annotated[float, _STALENESS]
Count = Annotated[int, _number("a whole number", int, least=1)]
Most = Annotated[int, _number("a whole number", int, least=1, most=16384)]
Whole = Annotated[int, _number("a whole number", int)]
Shape = Annotated[float, _number("a number", int, float, most=10)]  # of a distribution: beyond, none describes a job
Number = Annotated[float, _number("a number", int, float)]
Name = Annotated[str, _NAME]
AllReduce = Annotated[str, _one_of("auto", *costs.ALL_REDUCES)]
PatternName = Annotated[str, _one_of(*PATTERNS)]
PolicyName = Annotated[str, _one_of(*POLICIES)]
Module = Annotated[str, _MODULE]


class Slot(Section):
    """Base class of a table that is a decision: it also says why, and what was rejected."""

    why: str = ""
    rejected: str = ""
