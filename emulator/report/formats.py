"""Formats of values in reports; an absent value is a dash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from emulator import units

DASH = "-"


def or_dash(form: Callable[[Any], str]) -> Callable[[Any], str]:
    """Make a format write a dash for None."""
    return lambda value: DASH if value is None else form(value)


def plain(value: Any) -> str:
    """Format a value: texts and whole numbers as they are, other numbers with four figures."""
    return DASH if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def fixed(spec: str) -> Callable[[Any], str]:
    """Make a format of a format specification such as ``.2f``."""
    return or_dash(lambda value: format(value, spec))


size = or_dash(units.format_size)
time = or_dash(units.format_time)
rate = or_dash(units.format_rate)
count = fixed(",")


def microseconds(seconds: float | None) -> str:
    """Format a time as a plain number of microseconds: four figures, at most three of them after the point."""
    if seconds is None:
        return DASH
    us = seconds * 1e6
    return f"{us:.3f}" if us < 10 else f"{us:.2f}" if us < 100 else f"{us:,.1f}" if us < 1000 else f"{us:,.0f}"


def gigabytes(rate: float | None) -> str:
    """Format bytes per second as a plain number of GB/s."""
    return DASH if rate is None else f"{rate / 1e9:.3g}" if rate >= 1e7 else f"{rate / 1e9:.4f}"


def percent(share: float | None, signed: bool = False) -> str:
    """Format a share in percent, below 10 % with one decimal; `signed`: with a plus."""
    if share is None:
        return DASH
    digits = 1 if abs(share) < 0.1 else 0
    sign = "+" if signed and abs(share) >= 0.0005 else ""
    return f"{share * 100:{sign}.{digits}f} %".replace("-0.0", "0.0")


def off(share: float | None) -> str:
    """Format a relative error in percent, with its sign."""
    return percent(share, signed=True)


def figure(value: float) -> str:
    """Format a number with four significant figures; large ones without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def interval(pair: Sequence[float] | None, factor: float = 1e6) -> str:
    """Format an interval, in microseconds by default."""
    return DASH if pair is None else f"[{figure(pair[0] * factor)}, {figure(pair[1] * factor)}]"


def ranks(numbers: Iterable[int]) -> str:
    """Name ranks in their order, each once: ``rank 3``, ``ranks 3, 5``."""
    found = sorted(set(numbers))
    return f"rank{'s' * (len(found) > 1)} {', '.join(map(str, found))}"
