"""Sizes, times and rates as people write them.

Sizes count bytes, and K, M, G are powers of 1024 (``64K`` is 65536), as in every collective
benchmark. Times and rates follow SI: prefixes are powers of 1000, ``bit/s`` and ``B/s`` are told apart.
"""

from __future__ import annotations

import math
import re

from emulator.errors import UsageError

_SIZE_FACTORS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of ``"64K"``, ``"8"``, ``"1.5M"``, ``"2 GiB"``; K, M, G are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"a size is a number of bytes with an optional K, M or G, got {text!r}: write e.g. 64K")
    size = float(match[1]) * _SIZE_FACTORS[match[2].upper()]
    if size != int(size):
        raise UsageError(f"a size must be a whole number of bytes, got {text!r}: write e.g. 64K")
    return int(size)


def parse_sizes(text: str, *, factor: int = 2) -> list[int]:
    """Sizes in bytes of a list ``"8,1K,64K"`` or of a range ``"8:8M"`` (each `factor` times the last)."""
    sizes: list[int] = []
    for part in text.split(","):
        if ":" not in part:
            sizes.append(parse_size(part))
            continue
        ends = part.split(":")
        if len(ends) != 2:
            raise UsageError(f"a range of sizes is FIRST:LAST, got {part!r}: write e.g. 8:8M")
        first, last = parse_size(ends[0]), parse_size(ends[1])
        if first < 1 or last < first:
            raise UsageError(f"a range of sizes needs 1 <= FIRST <= LAST, got {part!r}: write e.g. 8:8M")
        while first <= last:
            sizes.append(first)
            first *= factor
    return sorted(set(sizes))


def parse_ranks(text: str) -> list[int]:
    """Rank counts of a list such as ``"2,4,8,16"``, each at least 1, in rising order."""
    try:
        counts = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise UsageError(f"ranks are whole numbers separated by commas, got {text!r}: write e.g. 2,4,8") from None
    if counts[0] < 1:
        raise UsageError(f"a rank count must be at least 1, got {counts[0]}: write e.g. 2,4,8")
    return counts


def _quantity(text: str, what: str, example: str) -> tuple[float, str]:
    from quantiphy import InvalidNumber, Quantity

    try:
        quantity = Quantity(text.strip())
    except InvalidNumber:
        raise UsageError(f"{what} is a number with a unit, got {text!r}: write e.g. {example!r}") from None
    return float(quantity), quantity.units


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_time(text: str | float) -> float:
    """Seconds of ``"50 us"``, ``"1.5 ms"``, ``"2 s"``, ``"1 min"`` or a plain number of seconds; >= 0."""
    scales = {"s": 1.0, "min": 60.0, "h": 3600.0}
    if isinstance(text, int | float) or _is_number(text):
        value, unit = float(text), "s"
    elif text.strip().endswith("min"):  # an SI reader takes the m for milli
        value, unit = _quantity(text.strip().removesuffix("min"), "a time", "50 us")[0], "min"
    else:
        value, unit = _quantity(text, "a time", "50 us")
    if unit not in scales or not math.isfinite(value) or value < 0:
        raise UsageError(f"a time is a number >= 0 with ns, us, ms, s, min or h, got {text!r}: write e.g. '50 us'")
    return value * scales[unit]


def parse_rate(text: str) -> float:
    """Bytes per second of ``"10 Gbit/s"`` (bits) or ``"1.25 GB/s"`` (bytes); > 0, prefixes are powers of 1000."""
    value, unit = _quantity(str(text), "a bandwidth", "10 Gbit/s")
    bits = {"bit/s": 8.0, "b/s": 8.0, "bps": 8.0, "bits/s": 8.0, "B/s": 1.0, "Bps": 1.0}
    if unit not in bits or not math.isfinite(value) or value <= 0:
        raise UsageError(
            f"a bandwidth is a number > 0 in bit/s or B/s with k, M or G, got {text!r}: write e.g. '10 Gbit/s'"
        )
    return value / bits[unit]


def parse_fraction(text: str | float) -> float:
    """A share in [0, 1] of ``"1.5 %"`` or ``0.015``."""
    raw = str(text).strip()
    try:
        value = float(raw[:-1]) / 100 if raw.endswith("%") else float(raw)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UsageError(f"a share lies between 0 % and 100 %, got {text!r}: write e.g. '1.5 %'")
    return value


def format_size(size: int) -> str:
    """``65536`` as ``64K``: the shortest exact form, in powers of 1024."""
    for unit in "GMK":
        if size and size % _SIZE_FACTORS[unit] == 0:
            return f"{size // _SIZE_FACTORS[unit]}{unit}"
    return str(size)


def _si(value: float, unit: str, digits: int) -> str:
    from quantiphy import Quantity

    return Quantity(value, unit).render(prec=digits - 1, form="si", strip_zeros=False)


def format_time(seconds: float, digits: int = 3) -> str:
    """``5e-05`` as ``50.0 us``."""
    if seconds == 0:
        return "0 s"
    return _si(seconds, "s", digits).replace("µ", "u").replace("μ", "u")


def format_rate(bytes_per_second: float, digits: int = 3) -> str:
    """``1.25e9`` as ``1.25 GB/s``."""
    return _si(bytes_per_second, "B/s", digits)
