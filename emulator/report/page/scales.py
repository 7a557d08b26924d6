"""Scales from values to positions on a chart, and the ticks of an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from emulator.report.model import Axis
from emulator.units import format_time

_MOST_TICKS = 7
_LONG_TIMES = [
    many * unit
    for unit, numbers in ((60.0, (1, 2, 5, 10, 20, 30)), (3600.0, (1, 2, 5, 10)), (86400.0, (1, 2, 5, 10, 30, 100)))
    for many in numbers
]
"""Seconds at which a logarithmic axis of minutes, hours and days has its marks."""
LETTER, LINE = 8.4, 17.0
"""Width and height of a letter of a tick's text, in the largest font of the style sheet, which phones have."""


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic scale that maps values from `low` to `high` to positions from `start` to `end`."""

    axis: Axis
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The position of a value, limited to the ends of the scale."""
        low, high = self._of(self.low), self._of(self.high)
        share = (self._of(max(value, self.low)) - low) / (high - low)
        return round(self.start + min(1.0, share) * (self.end - self.start), 1)

    def _of(self, value: float) -> float:
        return math.log(value) if self.axis.log else value

    def ticks(self) -> list[tuple[float, str]]:
        """The values to mark, each with its label."""
        if self.axis.log:
            found = _powers(self.low, self.high, 2.0) if self.axis.binary else _decades(self.low, self.high)
            long = [seconds for seconds in _LONG_TIMES if self.low <= seconds <= self.high]
            found = long if self.axis.form is format_time and self.low >= _LONG_TIMES[0] and len(long) > 1 else found
        else:
            factor = self.axis.factor
            found = [tick / factor for tick in _steps(self.low * factor, self.high * factor)]
        return [(value, self._text(value, found)) for value in found]

    def _text(self, value: float, all_of_them: list[float]) -> str:
        if self.axis.form is not None:
            return _short(self.axis.form(value))
        shown = value * self.axis.factor
        largest = max(abs(one) for one in all_of_them) * self.axis.factor
        return f"{shown:.0e}" if largest >= 1e6 or 0 < largest < 1e-3 else f"{shown:.6g}"


def labels(scale: Scale, upright: bool = False) -> list[tuple[float, str]]:
    """The position and label of each tick; if labels would touch, only every second, third, ... has one."""
    found = [(scale(value), text) for value, text in scale.ticks()]

    def apart(every: int) -> bool:
        return all(
            abs(there - here) >= (LINE if upright else LETTER * (len(one) + len(other)) / 2 + LETTER)
            for (here, one), (there, other) in pairwise(found[::every])
        )

    every = next(every for every in range(1, len(found) + 2) if apart(every))
    return [(place, text if not number % every else "") for number, (place, text) in enumerate(found)]


def fitted(axis: Axis, values: Iterable[float], start: float, end: float, *, from_zero: bool = False) -> Scale:
    """A scale that holds all values with a margin; a logarithmic one those above 0."""
    known = [value for value in values if not axis.log or value > 0]
    low, high = min(known, default=1.0), max(known, default=10.0)
    if axis.log:
        room = max(1.06, (high / low) ** 0.04)
        return Scale(axis, low / room, high * room, start, end)
    low = min(0.0, low) if from_zero or 0 <= low < 0.4 * high else low
    room = 0.05 * (high - low) or abs(high) or 1.0
    return Scale(axis, low - room * (low != 0.0), high + room, start, end)


def _steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / _MOST_TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * many for many in (1, 2, 5, 10) if unit * many >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{step * index:.12g}") for index in range(first, last + 1)]


def _powers(low: float, high: float, base: float) -> list[float]:
    first, last = math.ceil(math.log(low, base) - 1e-9), math.floor(math.log(high, base) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / _MOST_TICKS))
    return [base**power for power in range(first, last + 1, every)] or [low]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten; of a narrow range also 2 and 5 times these, or plain steps."""
    found = _powers(low, high, 10.0)
    if len(found) < 3:
        exponents = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
        found = [many * 10.0**power for power in exponents for many in (1, 2, 5) if low <= many * 10.0**power <= high]
    return found if len(found) > 1 else _steps(low, high)


def _short(text: str) -> str:
    """Shorten ``10.0 us`` to ``10 us``: a tick needs no zeros after the point."""
    number, gap, unit = text.partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + gap + unit
