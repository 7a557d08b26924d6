"""Parse and format sizes, times and rates; one table of units for every option and every file.

Sizes are in bytes: kB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB and the bare K, M, G, T of ``--sizes`` are
powers of 1024.
Rates need a unit: bit/s (also b/s, bps) or B/s (also Bps), with k, M, G, T for powers of 1000 whatever their case
(a bandwidth in millibits makes no sense), or Ki, Mi, Gi, Ti for powers of 1024. Times need a unit, unless they are 0.
Whatever is formatted here can be parsed here.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from emulator.errors import UsageError

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?)\s*(.*)", re.DOTALL)
_SIZE_UNIT = re.compile(r"(?P<prefix>[kKmMgGtT])(?P<rest>i?[bB])?|B?")
_RATE_UNIT = re.compile(r"(?P<prefix>[kKmMgGtT]i?)?(?P<unit>(?i:bits?|bytes?)|b|B)(?:/s|ps)")
_LARGEST_SIZE = 1 << 62

SECONDS = {
    "ps": "1e-12", "ns": "1e-9", "us": "1e-6", "µs": "1e-6", "μs": "1e-6", "ms": "1e-3",
    "s": "1", "ks": "1e3", "sec": "1", "second": "1", "seconds": "1", "min": "60", "minute": "60", "minutes": "60",
    "h": "3600", "hour": "3600", "hours": "3600", "d": "86400", "day": "86400", "days": "86400",
    "week": "604800", "weeks": "604800", "year": "31557600", "years": "31557600",
}  # fmt: skip
"""Seconds of each unit of time, as exact decimals; a year has 365.25 days."""

TIME_HELP = "ns, us, ms, s, min, h, d or years"
SIZE_HELP = "kB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB and the bare K, M, G, T of 1024"


def _split(text: str) -> tuple[Decimal | None, str]:
    """Split a quantity into number and unit; no number if it has none."""
    match = _NUMBER.fullmatch(text.strip())
    return (Decimal(match[1]), match[2]) if match else (None, text)


def parse_size(text: str) -> int:
    """Bytes of ``"8"``, ``"64K"`` and ``"64 KiB"`` (65536), or ``"64 kB"`` (64000)."""
    number, unit = _split(text)
    match = _SIZE_UNIT.fullmatch(unit)
    # "Mb" is a megabit to most, and eight times less than what "mb" and "MB" mean.
    if number is None or match is None or unit in ("Kb", "Mb", "Gb", "Tb"):
        raise UsageError(f"a size is a number of bytes ({SIZE_HELP}), got {text!r}: write e.g. 64K or '350 MB'")
    base = 1000 if match["rest"] in ("b", "B") else 1024
    size = number * base ** (" kmgt".index((match["prefix"] or " ").lower()))
    if not 0 <= size <= _LARGEST_SIZE or size != int(size):
        raise UsageError(f"a size must be a whole number of bytes, got {text!r}: write e.g. 64K")
    return int(size)


def parse_sizes(text: str) -> list[int]:
    """Sizes in bytes of a list ``"8,1K,64K"`` or of a range ``"8:8M"`` (each twice the last)."""
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
            first *= 2
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


def parse_time(text: str | float) -> float:
    """Seconds (>= 0) of ``"50 us"``, ``"1.5 ms"``, ``"2 min"``, ``"1 d"``, ``"5 years"``; only 0 needs no unit."""
    number, unit = _split(str(text))
    factor = SECONDS.get(unit, "1" if number == 0 and not unit else None)
    seconds = math.nan if number is None or factor is None else float(number * Decimal(factor))
    if not 0 <= seconds < math.inf:
        raise UsageError(f"a time is a number >= 0 with its unit ({TIME_HELP}), got {text!r}: write e.g. '50 us'")
    return seconds


def check_compute(seconds: float) -> None:
    """Reject a declared time of computing that is negative or no number."""
    if not seconds >= 0:
        raise UsageError(f"compute takes seconds >= 0, got {seconds}")


def parse_rate(text: str | float) -> float:
    """Bytes per second (> 0) of ``"10 Gbit/s"`` or ``"500 mbps"`` (bits), ``"1.25 GB/s"`` (bytes)."""
    number, unit = _split(str(text))
    match = _RATE_UNIT.fullmatch(unit)
    rate = math.nan
    if number is not None and match is not None:
        prefix = match["prefix"] or " "
        base = 1024 if prefix.endswith("i") else 1000
        bits = match["unit"] == "b" or match["unit"].lower().startswith("bit")
        rate = float(number * base ** " kmgt".index(prefix[0].lower()) / (8 if bits else 1))
    if not 0 < rate < math.inf:
        raise UsageError(
            f"a bandwidth is a number > 0 in bit/s or B/s with k, M, G or T, got {text!r}: write e.g. '10 Gbit/s'"
        )
    return rate


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


def parse_pace(text: str | float) -> float | str:
    """Wall seconds per emulated second, such as ``20``, or the words ``auto`` and ``none``."""
    if text in ("auto", "none"):
        return str(text)
    try:
        pace = float(text)
    except ValueError:
        pace = math.nan
    if not 0 < pace < math.inf:
        raise UsageError(f"a pace is auto, none or a factor > 0, got {text!r}: --pace 20 runs 20 times slower")
    return pace


def format_size(size: int) -> str:
    """``65536`` as ``64K``: the shortest exact form, in powers of 1024."""
    for power, unit in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)


def _with_prefix(value: float, unit: str, digits: int, least: int, most: int) -> str:
    """A value with `digits` digits and one of SI's prefixes, from 1000 ** least to 1000 ** most."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power, places = divmod(int(exponent), 3)
    if not least <= power <= most:
        return f"{mantissa}e{int(exponent)} {unit}"
    number = f"{float(mantissa) * 10**places:.{max(0, digits - 1 - places)}f}"
    return f"{number} {'pnum kMGT'[power + 4].strip()}{unit}"


_NOISE_S = 1e-13  # less is what rounding leaves of a difference of times


def format_time(seconds: float, digits: int = 3) -> str:
    """``5e-05`` as ``50.0 us``; from 1000 s on in minutes, hours, days or years, as people write them."""
    if abs(seconds) < _NOISE_S:
        return "0 s"
    if 999.5 <= seconds < 1e12:  # which is 1000 with three figures
        unit = next((unit for most, unit in ((1e4, "min"), (1e6, "h"), (1e8, "d")) if seconds < most), "years")
        return _with_prefix(seconds / float(SECONDS[unit]), unit, digits, 0, 0)
    return _with_prefix(seconds, "s", digits, -4, 1)


def format_rate(bytes_per_second: float) -> str:
    """``1.25e9`` as ``1.25 GB/s``."""
    return _with_prefix(bytes_per_second, "B/s", 3, 0, 4)
